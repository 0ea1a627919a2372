"""What every process shares to speak over gRPC: codec, errors, channels."""
