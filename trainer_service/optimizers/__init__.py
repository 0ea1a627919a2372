"""Optimizers of a run's steps."""
