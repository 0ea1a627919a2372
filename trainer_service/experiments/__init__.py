"""Experiments: what they compute from their runs. Nothing here imports torch."""
