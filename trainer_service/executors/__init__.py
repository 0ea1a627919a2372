"""Executors, which start worker processes."""
