"""The run store: runs, persisted as append-only logs of events, and their artifacts."""
