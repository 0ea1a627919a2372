"""The objectives: what a run can optimise. `__init__` and `torch_free` import no torch."""
