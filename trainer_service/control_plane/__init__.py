"""The control plane: validates, queues, schedules, cancels and imports runs. Imports no torch."""
