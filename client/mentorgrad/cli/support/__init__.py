"""Code shared by several commands: options, output, child processes, event texts."""
