"""What a worker keeps of frozen models' results between its runs. Imports no torch."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Iterable
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class KeptResults:
    """Tensors by everything that they depend on, up to a number of bytes.

    Those that were used least recently go first. What is kept saves time alone: a run computes the
    same numbers, and counts the same, without it. Safe for several threads; nobody may change a
    tensor in place.

    Args:
        most_bytes: Maximum bytes of all tensors together; 0: nothing is kept.
    """

    def __init__(self, most_bytes: int = 0) -> None:
        self._most_bytes = most_bytes
        self._lock = Lock()
        self._known: OrderedDict[str, tuple[Tensor, ...]] = OrderedDict()
        self._bytes = 0

    @property
    def bytes(self) -> int:
        """Bytes of all tensors that are kept."""
        return self._bytes

    def limit(self, most_bytes: int) -> None:
        """Sets the maximum bytes."""
        with self._lock:
            self._most_bytes = most_bytes
            self._drop()

    def get(self, key: object, compute: Callable[[], Iterable[Tensor]]) -> tuple[Tensor, ...]:
        """Tensors that are known, or else computed and kept.

        Args:
            key: Everything that they depend on, to the last bit; JSON can express it.
            compute: Makes them; two threads that ask for the same at once both call it.
        """
        name = hashlib.sha256(json.dumps(key).encode()).hexdigest()
        with self._lock:
            if name in self._known:
                self._known.move_to_end(name)
                return self._known[name]
        made = tuple(compute())
        with self._lock:
            if name not in self._known:
                self._known[name] = made
                self._bytes += _bytes(made)
            self._drop()
        return made

    def _drop(self) -> None:
        """Drops the least recently used until the rest fits."""
        while self._known and self._bytes > self._most_bytes:
            _, oldest = self._known.popitem(last=False)
            self._bytes -= _bytes(oldest)


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)
