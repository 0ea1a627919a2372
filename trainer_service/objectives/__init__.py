"""What can be optimised. This package's `__init__` and `names` import no torch."""
