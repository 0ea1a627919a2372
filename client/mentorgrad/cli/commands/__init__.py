"""The commands: a module per command or command group."""
