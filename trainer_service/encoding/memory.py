"""Turns a lack of memory into a typed error."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from mentorgrad.errors import ResourceExhausted

OUT_OF_MEMORY = "OUT_OF_MEMORY"
"""Error reason: the device or the machine has too little memory."""

# The CPU allocator of torch raises a plain RuntimeError.
_SIGNS = ("can't allocate memory", "not enough memory", "out of memory")


@contextlib.contextmanager
def memory_for(purpose: str, remedy: str) -> Iterator[None]:
    """Runs a block that may need more memory than there is.

    Args:
        purpose: What the block does, for the message.
        remedy: What the user can change.

    Raises:
        ResourceExhausted: There is not enough memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is a RuntimeError
        is_lack = isinstance(error, (MemoryError, torch.OutOfMemoryError))
        if not is_lack and not any(sign in str(error) for sign in _SIGNS):
            raise
        raise ResourceExhausted(
            f"not enough memory to {purpose}; {remedy}", reason=OUT_OF_MEMORY
        ) from error
