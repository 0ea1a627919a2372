"""Objectives: what a run optimises. This `__init__` and `torch_free` import no torch."""
