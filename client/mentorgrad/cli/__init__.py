"""The `mentorgrad` command: one small module a group of commands."""
