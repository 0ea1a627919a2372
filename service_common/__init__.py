"""Code shared by both services: gRPC server, authorization, logs, metrics, certificates."""
