"""The run store: persists runs as append-only event logs, in SQLite, Postgres or memory."""
