"""The trainer service: creates, executes and records runs."""
