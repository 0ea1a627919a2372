"""What both services share and the SDK does not need: server, authorization, logs, certificates."""
