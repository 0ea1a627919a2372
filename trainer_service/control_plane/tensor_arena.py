"""Memory for the tensors of imported logs: large blocks that are reused between imports."""

from __future__ import annotations

import time
import weakref
from typing import Any

import numpy as np

from mentorgrad.domain.event import RunEvent, Segment
from mentorgrad.schema import evolve

_PIECE_BYTES = 16 * 1024 * 1024
"""Size of a block. numpy requests huge pages for arrays of at least 4 MiB."""

_IDLE_PIECES = 4
"""Maximum number of idle blocks."""

IDLE_SECONDS = 10.0
"""Minimum time for which an idle block is kept for the next import."""

_ALIGNED = 64
"""Alignment of tensors within their block, in bytes; at least the size of any element."""


class BlockCache:
    """Blocks of memory for tensors; a block is reused when no array refers to it any more.

    Reuse matters because the operating system zeroes every fresh page, which is the largest cost
    of a large import.
    """

    def __init__(self) -> None:
        self._idle: list[tuple[float, np.ndarray[Any, Any]]] = []  # since when; the longest first

    def piece(self, size: int) -> np.ndarray[Any, Any]:
        """An uninitialised block, uint8 [at least `size`]."""
        if size > _PIECE_BYTES:
            return np.empty(size, np.uint8)
        whole = self._idle.pop()[1] if self._idle else np.empty(_PIECE_BYTES, np.uint8)
        # Not a plain view: arrays within a view would keep `whole` alive instead of the view.
        piece = np.frombuffer(whole.data, np.uint8)
        weakref.finalize(piece, self._returned, whole).atexit = False
        return piece

    def _returned(self, whole: np.ndarray[Any, Any]) -> None:
        if len(self._idle) < _IDLE_PIECES:
            self._idle.append((time.monotonic(), whole))

    def trim(self) -> bool:
        """Frees the blocks that were idle for `IDLE_SECONDS`; returns whether any are left."""
        before = time.monotonic() - IDLE_SECONDS
        self._idle = [(since, whole) for since, whole in self._idle if since > before]
        return bool(self._idle)


class TensorArena:
    """Stores the tensors of one log side by side in large blocks.

    Args:
        memory: Provides the blocks.
    """

    def __init__(self, memory: BlockCache) -> None:
        self._memory = memory
        self._piece = np.empty(0, np.uint8)
        self._taken = 0

    def keep(self, event: RunEvent) -> RunEvent:
        """The same event, with its tensor copied into this arena (read-only)."""
        segment = event.payload
        if not isinstance(segment, Segment) or segment.parameters is None:
            return event
        return evolve(event, payload=evolve(segment, parameters=self._copy(segment.parameters)))

    def _copy(self, array: np.ndarray) -> np.ndarray[Any, Any]:
        end = self._taken + array.nbytes
        if end > self._piece.size:
            self._piece = self._memory.piece(array.nbytes)
            self._taken, end = 0, array.nbytes
        kept = self._piece[self._taken : end].view(array.dtype).reshape(array.shape)
        kept[...] = array
        kept.flags.writeable = False
        self._taken = -(-end // _ALIGNED) * _ALIGNED
        return kept
