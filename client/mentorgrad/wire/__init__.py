"""gRPC layer shared by the SDK and the services: codec, error mapping, channels, sessions."""
