"""What several commands share: options, output, services as child processes, event texts."""
