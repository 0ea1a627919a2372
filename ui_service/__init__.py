"""The page: a client of the gRPC API that shows runs in a browser. It records nothing."""
