"""The run store: the truth about runs, as append-only logs of events."""
