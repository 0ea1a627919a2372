"""Keys and values of a task's rows, in front of a soft prompt: what is kept of them, and where."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property

import structlog
from torch import Tensor

from trainer_service.objectives.calibrated_problem import CONTENT_FREE
from trainer_service.objectives.causal_prompt import pass_limits
from trainer_service.objectives.causal_prompt.inputs import Inputs
from trainer_service.objectives.causal_prompt.scorer import CausalScorer
from trainer_service.objectives.causal_prompt.text_states import (
    Context,
    States,
    StateStore,
    alike,
    batched,
)
from trainer_service.objectives.length_batches import similar_batches
from trainer_service.tasks.data import Split

log = structlog.get_logger(__name__)

Known = Callable[[tuple[object, ...], Callable[[], Iterable[Tensor]]], tuple[Tensor, ...]]
"""(what a pass over tokens depends on, how to compute it) → its results, which this or an earlier
run has computed."""


class RowStates:
    """Keys and values of each row's text, of the opening in front of all texts, and of fillers
    behind a text. With the prompt in front of the texts, those of the opening alone.

    What is kept is decided before anything is asked for: it must not depend on when that is.

    Args:
        inputs: Template and labels as tokens.
        ids: Token ids of the rows' own parts.
        scorer: Computes keys and values.
        positions: Tokens of a prompt.
        most_bytes: Maximum bytes that are kept.
        known: Results that are shared with other runs.
        check: Called between batches; may raise to abort.
    """

    def __init__(
        self,
        inputs: Inputs,
        ids: Mapping[Split, Sequence[Sequence[int]]],
        scorer: CausalScorer,
        positions: int,
        most_bytes: int,
        known: Known,
        check: Callable[[], None],
    ) -> None:
        self._inputs, self._ids, self._scorer = inputs, ids, scorer
        self._positions, self._known, self._check = positions, known, check
        self._left = most_bytes
        self._opening: States | None = None
        if inputs.opening:
            (self._opening,) = self._shared([inputs.opening], 1)
        self._stores = {split: self._store(split) for split in (Split.TRAIN, Split.SELECTION)}
        self._can_fill = {split: self._reserve_fillers(split) for split in self._stores}
        self._filled: dict[Split, Sequence[States]] = {}
        if inputs.is_after and ids[Split.TRAIN]:
            log.info(
                "text_states_kept",
                train_rows=self.kept_rows[Split.TRAIN],
                selection_rows=self.kept_rows[Split.SELECTION],
                all_rows=sum(len(ids[split]) for split in self._stores),
                bytes=most_bytes - self._left,
                limit=most_bytes,
            )

    @property
    def kept_rows(self) -> dict[Split, int]:
        """Number of rows whose texts' keys and values are kept; the others' are computed anew."""
        return {split: len(store) for split, store in self._stores.items()}

    @cached_property
    def token_bytes(self) -> int:
        """Bytes of one token's keys and values."""
        made: States = self._scorer.states([self._inputs.tokens.plain_ids("\n")[:1]])[0]
        return int(made.nbytes)

    # -- in front of inputs -------------------------------------------------------------------

    def opening(self, rows: int) -> Context | None:
        """The opening in front of so many inputs; None: the template has none."""
        return None if self._opening is None else alike(self._opening, rows)

    def context(self, split: Split, rows: Sequence[int], fillers: int = 0) -> Context:
        """Opening and texts of rows, with so many fillers behind each; see `can_fill`."""
        context = batched(self.store(split).get(rows), self._opening)
        if not fillers:
            return context
        filled = self._fillers(split)
        return context.filled([filled[row][..., :fillers, :] for row in rows])

    def content_free_context(self) -> Context:
        """Opening and the rows without content, by which scores are calibrated."""
        return batched(self._content_free, self._opening)

    @cached_property
    def _content_free(self) -> Sequence[States]:
        ids = [self._inputs.own_ids(row) for row in CONTENT_FREE]
        return self._shared(ids, len(ids))

    # -- texts --------------------------------------------------------------------------------

    def store(self, split: Split) -> StateStore:
        """The keys and values of a split's texts."""
        if split not in self._stores:  # test rows, at the end of the run
            self._stores[split] = self._store(split)
            self._can_fill[split] = self._reserve_fillers(split)
        return self._stores[split]

    def _store(self, split: Split) -> StateStore:
        store = StateStore(
            self._ids[split],
            self._computed,
            self._left,
            pass_limits.MOST_TOKENS,
            self.token_bytes if self._inputs.is_after else 0,
            self._shared,
        )
        self._left -= store.bytes
        return store

    def _shared(self, rows: Sequence[Sequence[int]], count: int) -> tuple[States, ...]:
        """Keys and values of the first rows of a batch, as this or an earlier run computed them.

        Rounding depends on a batch's rows, so they are known by all of them.
        """
        key = (self._opening_ids, rows, count)
        return self._known(key, lambda: self._computed(rows)[:count])

    def _computed(self, rows: Sequence[Sequence[int]]) -> list[States]:
        self._check()
        return self._scorer.states(rows, self.opening(len(rows)))

    @property
    def _opening_ids(self) -> Sequence[int] | None:
        return None if self._opening is None else self._inputs.opening

    # -- fillers ------------------------------------------------------------------------------

    def can_fill(self, split: Split) -> bool:
        """Whether there is memory for a whole prompt of fillers behind each text of a split."""
        self.store(split)
        return self._can_fill[split]

    def _reserve_fillers(self, split: Split) -> bool:
        """See `can_fill`; for all rows of a split, or none."""
        rows = len(self._ids[split])
        if not self._inputs.is_after or len(self._stores[split]) < rows:
            return False
        needed = rows * self._positions * self.token_bytes
        if needed > self._left:
            return False
        self._left -= needed
        return True

    def _fillers(self, split: Split) -> Sequence[States]:
        """Keys and values of a whole prompt of fillers behind each row's text."""
        if split not in self._filled:
            sizes = [len(row) for row in self._ids[split]]
            made: dict[int, States] = {}
            for batch in similar_batches(sizes, pass_limits.MOST_TOKENS, self._positions):
                made |= zip(batch, self._filled_batch(split, batch), strict=True)
            self._filled[split] = [made[row] for row in range(len(made))]
        return self._filled[split]

    def _filled_batch(self, split: Split, rows: Sequence[int]) -> tuple[States, ...]:
        ids = [self._inputs.tokens.filler_id] * self._positions

        def compute() -> list[States]:
            self._check()
            return self._scorer.states([ids] * len(rows), self.context(split, rows))

        return self._known(
            (self._opening_ids, [self._ids[split][row] for row in rows], ids), compute
        )
