"""Prefix cache: which questions a model's KV cache holds, so that prefixes are not evaluated again.

Each slot is one sequence of the KV cache and holds the tokens of one earlier question. A new
question starts from the longest prefix that it shares with any slot: in the slot itself if the
question extends it, otherwise in another slot that shares the prefix's cells. So alternating
sessions each find their own prefix. A repeated question stays in its slot, and only its last token
is evaluated again.

The cache counts cells as well as slots: cells shared by several slots count once, and the least
recently used slots are evicted when there is no space.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

import numpy as np


class SequenceMemory(Protocol):
    """The KV cache of a model, by sequence."""

    def copy(self, source: int, target: int, length: int) -> None:
        """Makes the empty sequence `target` share the first `length` tokens of `source`."""
        ...

    def cut(self, sequence: int, length: int) -> None:
        """Truncates a sequence to its first `length` tokens; frees cells that no other sequence
        shares."""
        ...


@dataclass(eq=False)
class CachedPrefix:
    """A slot: one question, or the part of it that was evaluated."""

    sequence: int
    """Sequence id in the KV cache."""
    tokens: list[int] = field(default_factory=list)
    """Tokens that the sequence holds."""
    cells: list[int] = field(default_factory=list)
    """Cell id of each token; slots that share a cell have the same id."""

    def shared(self, tokens: Sequence[int]) -> int:
        """Length of the common prefix with `tokens`."""
        length = min(len(self.tokens), len(tokens))
        differing = np.flatnonzero(np.asarray(self.tokens[:length]) != np.asarray(tokens[:length]))
        return int(differing[0]) if len(differing) else length


class PrefixCache:
    """Cache of evaluated prompts by prefix, with LRU eviction. Not thread-safe.

    Args:
        memory: KV cache; sequences 0 to `slots` - 1 belong to this object.
        slots: Maximum questions kept; at least two: a source and a target.
        cells: Size of the KV cache in tokens; shared ones count once.
        divisible: Whether a prefix of a sequence can be shared. In recurrent models it cannot:
            they only continue from the end of a sequence.
    """

    def __init__(
        self, memory: SequenceMemory, slots: int, cells: int, divisible: bool = True
    ) -> None:
        self.cells = cells
        self._memory = memory
        self._divisible = divisible
        self._free = list(range(slots))[::-1]
        self._slots: list[CachedPrefix] = []
        """Least recently used first."""
        self._names = count()

    def take(self, tokens: Sequence[int]) -> CachedPrefix:
        """Returns a slot that holds the longest cached prefix of a question, and nothing else.

        The prefix excludes at least the last token, which must be evaluated to get logits. The
        caller evaluates the rest, and calls `grew` for every chunk of it.
        """
        best, length = self._best(tokens)
        if best is None or length < len(best.tokens):
            if best is not None and best.tokens == list(tokens) and self._divisible:
                self._cut(best, length)
            else:
                best = self._branch(best, length)
        self._slots.remove(best)
        self._slots.append(best)
        return best

    def _best(self, tokens: Sequence[int]) -> tuple[CachedPrefix | None, int]:
        """The slot with the longest common prefix, last token excluded, and its length."""
        best: CachedPrefix | None = None
        most = (0, False)
        for slot in self._slots:
            shared = slot.shared(tokens[:-1])
            # On a tie, prefer a slot that the question extends or repeats: no new slot is needed.
            whole = len(slot.tokens) == shared or slot.tokens == list(tokens)
            usable = self._divisible or len(slot.tokens) == shared
            if usable and (shared, whole) >= most:
                best, most = slot, (shared, whole)
        return best, most[0]

    def _branch(self, source: CachedPrefix | None, length: int) -> CachedPrefix:
        """A new slot that shares the first `length` tokens of `source`."""
        if not self._free:
            self._drop(next(slot for slot in self._slots if slot is not source))
        slot = CachedPrefix(self._free.pop())
        if source is not None and length:
            self._memory.copy(source.sequence, slot.sequence, length)
            slot.tokens, slot.cells = source.tokens[:length], source.cells[:length]
        self._slots.append(slot)
        return slot

    def grew(self, slot: CachedPrefix, tokens: Sequence[int]) -> None:
        """Records that `tokens` were evaluated at the end of a slot."""
        slot.tokens.extend(tokens)
        slot.cells.extend(next(self._names) for _ in tokens)

    def room(self, slot: CachedPrefix, needed: int) -> int:
        """Frees cells by evicting other slots, as far as necessary.

        Args:
            slot: Slot that is not evicted.
            needed: Cells needed.

        Returns:
            Number of free cells; less than `needed` if evicting all others is not enough.
        """
        while (free := self.cells - self.used()) < needed and len(self._slots) > 1:
            self._drop(next(other for other in self._slots if other is not slot))
        return free

    def used(self) -> int:
        """Number of cells used by the slots."""
        return len(set().union(*(slot.cells for slot in self._slots)))

    def clear(self) -> None:
        """Evicts all slots."""
        while self._slots:
            self._drop(self._slots[0])

    def _cut(self, slot: CachedPrefix, length: int) -> None:
        self._memory.cut(slot.sequence, length)
        del slot.tokens[length:], slot.cells[length:]

    def _drop(self, slot: CachedPrefix) -> None:
        self._memory.cut(slot.sequence, 0)
        self._slots.remove(slot)
        self._free.append(slot.sequence)
