"""Where the tensors of logs lie that are on their way into the store."""

from __future__ import annotations

import time
import weakref
from typing import Any

import numpy as np

from mentorgrad.domain.event import RunEvent, Segment
from mentorgrad.schema import evolve

_PIECE_BYTES = 16 * 1024 * 1024
"""numpy asks for huge pages for arrays of at least 4 MiB."""

_IDLE_PIECES = 4
"""Most pieces that are idle."""

IDLE_SECONDS = 10.0
"""How long a piece is kept for the next import, at least."""

_ALIGNED = 64
"""Tensors begin at multiples of so many bytes of their piece; more than any element takes."""


class BlockCache:
    """Pieces of memory for tensors, each used again when no array lies in it any more.

    Fresh memory is what a large log costs most: the system clears every page of it.
    """

    def __init__(self) -> None:
        self._idle: list[tuple[float, np.ndarray[Any, Any]]] = []  # since when; the longest first

    def piece(self, size: int) -> np.ndarray[Any, Any]:
        """Bytes of any content, at least `size` of them."""
        if size > _PIECE_BYTES:
            return np.empty(size, np.uint8)
        whole = self._idle.pop()[1] if self._idle else np.empty(_PIECE_BYTES, np.uint8)
        # Not a plain view: numpy would have arrays in it refer to the whole, past the piece.
        piece = np.frombuffer(whole.data, np.uint8)
        weakref.finalize(piece, self._returned, whole).atexit = False
        return piece

    def _returned(self, whole: np.ndarray[Any, Any]) -> None:
        if len(self._idle) < _IDLE_PIECES:
            self._idle.append((time.monotonic(), whole))

    def trim(self) -> bool:
        """Gives back to the system what has been idle for `IDLE_SECONDS`; whether any is left."""
        before = time.monotonic() - IDLE_SECONDS
        self._idle = [(since, whole) for since, whole in self._idle if since > before]
        return bool(self._idle)


class TensorArena:
    """Where the tensors of one log lie, side by side in large pieces of memory.

    Args:
        memory: Gives the pieces.
    """

    def __init__(self, memory: BlockCache) -> None:
        self._memory = memory
        self._piece = np.empty(0, np.uint8)
        self._taken = 0

    def keep(self, event: RunEvent) -> RunEvent:
        """The same event, with its tensor in here."""
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
