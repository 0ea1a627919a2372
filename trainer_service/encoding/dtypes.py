"""Number formats of the weights and activations of frozen models."""

from __future__ import annotations

import torch

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""The formats by name."""


def dtype_name(dtype: str, device: torch.device) -> str:
    """``auto`` → ``bfloat16`` on CUDA and ``float32`` elsewhere; another name as it is."""
    if dtype != "auto":
        return dtype
    return "bfloat16" if device.type == "cuda" else "float32"


def other_dtype(dtype: str, field: str = "dtype") -> str:
    """What to do about numbers that are not finite in a dtype; `field` is how it is called."""
    wider = {"float16": "bfloat16 or float32", "bfloat16": "float32"}.get(dtype)
    return f"set {field} to {wider}" if wider else "use another model"
