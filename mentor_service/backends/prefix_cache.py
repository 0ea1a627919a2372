"""Which questions' prefixes a model's memory holds, and how much room is left beside them.

Each slot is one sequence of the memory and holds the tokens of one earlier question. A new question
goes on from the longest prefix that any slot shares with it: in the slot itself where the question
only adds to it, in another slot that shares the prefix's cells where it goes another way. So
sessions that take turns each find their own, and nothing that is still there is evaluated again.
A question that is asked again stays in its slot, and is evaluated from its last token on.

Cells are counted, not slots only: those that two slots share count once, and the slots least
recently used go when there is no room.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

import numpy as np


class SequenceMemory(Protocol):
    """What a model has read, by sequence."""

    def copy(self, source: int, target: int, length: int) -> None:
        """Lets the empty sequence `target` share the first `length` tokens of `source`."""
        ...

    def cut(self, sequence: int, length: int) -> None:
        """Leaves the first `length` tokens of a sequence; cells that no other one shares are
        free."""
        ...


@dataclass(eq=False)
class CachedPrefix:
    """One question that was read, or the part of it that was."""

    sequence: int
    """Its number in the memory."""
    tokens: list[int] = field(default_factory=list)
    """What the sequence holds."""
    cells: list[int] = field(default_factory=list)
    """A name for the cell of each token; slots that share a cell name it alike."""

    def shared(self, tokens: Sequence[int]) -> int:
        """Length of the prefix that the slot shares with `tokens`."""
        length = min(len(self.tokens), len(tokens))
        differing = np.flatnonzero(np.asarray(self.tokens[:length]) != np.asarray(tokens[:length]))
        return int(differing[0]) if len(differing) else length


class PrefixCache:
    """See the module. For one thread.

    Args:
        memory: Where sequences 0 to `slots` - 1 are this object's alone.
        slots: Most questions kept; at least two, one to go on from and one to go on in.
        cells: Tokens that the memory holds in all; shared ones count once.
        divisible: Whether a sequence can be shared in part. Recurrent models cannot: they only
            go on from the end of what they read.
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
        """A slot that holds the longest prefix there is of a question, and nothing else.

        At least the last token is left out, since only evaluating it tells what comes next. The
        caller evaluates the rest, and tells `grew` of every piece of it.
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
        """The slot that shares most with a question but its last token, and how much."""
        best: CachedPrefix | None = None
        most = (0, False)
        for slot in self._slots:
            shared = slot.shared(tokens[:-1])
            # Of equals, one that the question only adds to or repeats: it needs no further slot.
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
        """Notes that `tokens` were evaluated at the end of a slot."""
        slot.tokens.extend(tokens)
        slot.cells.extend(next(self._names) for _ in tokens)

    def room(self, slot: CachedPrefix, needed: int) -> int:
        """Makes room beside a slot at the cost of the others, as far as that is necessary.

        Args:
            slot: Stays.
            needed: Cells wanted.

        Returns:
            Cells that are free; fewer than `needed` when even the others' end does not give them.
        """
        while (free := self.cells - self.used()) < needed and len(self._slots) > 1:
            self._drop(next(other for other in self._slots if other is not slot))
        return free

    def used(self) -> int:
        """Cells that the slots take."""
        return len(set().union(*(slot.cells for slot in self._slots)))

    def clear(self) -> None:
        """Forgets everything."""
        while self._slots:
            self._drop(self._slots[0])

    def _cut(self, slot: CachedPrefix, length: int) -> None:
        self._memory.cut(slot.sequence, length)
        del slot.tokens[length:], slot.cells[length:]

    def _drop(self, slot: CachedPrefix) -> None:
        self._memory.cut(slot.sequence, 0)
        self._slots.remove(slot)
        self._free.append(slot.sequence)
