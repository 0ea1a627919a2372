"""Draws several replies without replacement: no two are equal, and likely ones come first.

Stochastic beam search after "Stochastic Beams and Where to Find Them" (Kool et al., ICML 2019,
arXiv 1903.06059): each partial reply has its log-probability perturbed by a Gumbel variable, drawn
such that the maximum over its continuations equals its own value; the k partial replies of the
largest values go on. The result is a sample of k replies without replacement from the model.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mentor_service.backends.prefix_cache import SequenceMemory
from mentor_service.similarity import exact_forms

CUT = "length"
"""Finish reason of a reply that reached the limit of tokens."""

EXCLUDED = "excluded"
"""Finish reason of a reply that is ruled out; it is not returned."""


@dataclass(frozen=True)
class PartialReply:
    """A partial or finished reply."""

    parent: int
    """Index of the branch that it continues, in the last list of live branches."""
    reply: tuple[int, ...]
    """Its tokens."""
    log_probability: float
    """Log-probability of its tokens."""
    value: float
    """The log-probability, perturbed."""
    text: str = ""
    """Text of a finished reply."""
    finish: str = ""
    """Finish reason; empty: not finished."""


Choices = tuple[NDArray[np.intp], NDArray[np.float64]]
"""Tokens that may come next, and their log-probabilities."""


class DistinctReplies:
    """The replies in progress.

    Args:
        most: Maximum replies.
        width: Maximum replies in progress; more than `most`, so that the places of those that are
            ruled out, equal or cut are not lost.
        random: Random generator.
        ended: Returns text and finish reason of a reply's tokens; an empty reason: it goes on;
            `EXCLUDED`: it is ruled out. What is ruled out keeps its probability: what leads to it
            becomes rare, instead of going on in another way.
        known: Texts that are ruled out in the same way.
        forms: Forms of a text; texts that share one count as equal.
    """

    def __init__(
        self,
        most: int,
        width: int,
        random: np.random.Generator,
        ended: Callable[[tuple[int, ...]], tuple[str, str]],
        known: Iterable[str] = (),
        forms: Callable[[str], Collection[Hashable]] = exact_forms,
    ) -> None:
        self.live = [PartialReply(0, (), 0.0, 0.0)]
        """Unfinished replies, to be continued by `extend`."""
        self._most, self._width = most, width
        self._random = random
        self._ended = ended
        self._forms = forms
        self._known = frozenset(form for text in known for form in forms(text))
        self._finished: list[PartialReply] = []
        self._cut: list[PartialReply] = []

    @property
    def finished(self) -> list[PartialReply]:
        """Finished replies, no two of which count as equal, by descending values; those that
        were cut come last, and only if there are not enough others."""
        return [*self._finished, *self._cut][: self._most]

    def extend(self, choices: Sequence[Choices]) -> None:
        """Continues the live replies by a token each, and keeps the best of all.

        Args:
            choices: What may come next, for each live reply.
        """
        grown = [
            PartialReply(number, (*branch.reply, int(token)), likelihood, value)
            for number, (branch, (ids, logs)) in enumerate(zip(self.live, choices, strict=True))
            for token, likelihood, value in zip(ids, *self._perturbed(branch, logs), strict=True)
        ]
        best = sorted([*self._finished, *grown], key=lambda one: -one.value)
        self.live, self._finished = [], []
        said = set(self._known)
        for branch in best:
            # No continuation has a larger value than its branch: enough finished replies end it.
            if len(self._finished) == self._most:
                break
            if branch.finish or len(self.live) < self._width:
                self._sort(branch, said)

    def _sort(self, branch: PartialReply, said: set[Hashable]) -> None:
        if not branch.finish:
            text, finish = self._ended(branch.reply)
            branch = replace(branch, text=text, finish=finish)
        if not branch.finish:
            self.live.append(branch)
        elif branch.finish == CUT:
            self._cut.append(branch)
        elif branch.finish != EXCLUDED and said.isdisjoint(forms := self._forms(branch.text)):
            said.update(forms)
            self._finished.append(branch)

    def _perturbed(
        self, branch: PartialReply, logs: NDArray[np.float64]
    ) -> tuple[list[float], list[float]]:
        """Log-probabilities of the continuations, and their perturbed values."""
        likelihoods = branch.log_probability + logs
        free = likelihoods + self._random.gumbel(size=len(logs))
        # Equation 23 of the paper: moves the maximum to the branch's own value, stably.
        with np.errstate(divide="ignore"):
            gap = branch.value - free + np.log1p(-np.exp(free - free.max()))
        values = branch.value - np.maximum(gap, 0.0) - np.log1p(np.exp(-np.abs(gap)))
        return likelihoods.tolist(), values.tolist()


class ReplySequences:
    """The sequences of the live branches in a model's memory.

    Args:
        memory: The memory.
        every: Sequences to use, one per live branch at most; empty before and after.
        origin: Sequence of the text that the replies continue; only read.
    """

    def __init__(self, memory: SequenceMemory, every: range, origin: int) -> None:
        self._memory = memory
        self._every = every
        self._held = [origin]

    def follow(self, branches: Sequence[PartialReply], length: int) -> list[int]:
        """Gives each branch a sequence with the tokens of its parent: one takes the parent's, the
        others share its cells; the sequences of parents without any are emptied.

        Args:
            branches: The live branches.
            length: Tokens of a parent.

        Returns:
            The branches' sequences.
        """
        heirs = {branch.parent: number for number, branch in reversed([*enumerate(branches)])}
        kept = {self._held[parent] for parent in heirs} & set(self._every)
        free = [sequence for sequence in self._every if sequence not in kept]
        for sequence in free:
            self._memory.cut(sequence, 0)
        found = []
        for number, branch in enumerate(branches):
            sequence = self._held[branch.parent]
            if heirs[branch.parent] != number or sequence not in kept:
                source, sequence = sequence, free.pop()
                self._memory.copy(source, sequence, length)
            found.append(sequence)
        self._held = found
        return found

    def clear(self) -> None:
        """Empties the sequences."""
        for sequence in self._every:
            self._memory.cut(sequence, 0)
