"""Recognises a lack of memory, and turns it into a typed error."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from mentorgrad.errors import ResourceExhausted

OUT_OF_MEMORY = "OUT_OF_MEMORY"
"""Error reason: the device or the machine has too little memory."""

# The CPU allocator of torch raises a plain RuntimeError, and so does cuBLAS for its workspace.
_SIGNS = ("can't allocate memory", "not enough memory", "out of memory", "status_alloc_failed")


def is_lack_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device or the machine has too little memory."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _SIGNS)


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
        if not is_lack_of_memory(error):
            raise
        raise ResourceExhausted(
            f"not enough memory to {purpose}; {remedy}", reason=OUT_OF_MEMORY
        ) from error
