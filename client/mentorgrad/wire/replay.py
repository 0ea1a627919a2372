"""Bounded buffer of the data to send again to a mentor after a reconnect."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from mentorgrad.domain.advice import Batch, Outcomes
from mentorgrad.domain.run import Candidate, Snapshot

_KEPT_CANDIDATES = 1_000
_KEPT_SNAPSHOTS = 500
_KEPT_OUTCOMES = 100
_REPLAY_PIECE = 200
"""Maximum snapshots or candidates per replayed batch."""
_PIECE_BYTES = 1024 * 1024
"""Maximum bytes of arrays per batch on the wire."""


_Rows = tuple[np.ndarray | None, np.ndarray | None]
"""A candidate's embedding and its losses on the exemplars."""


class ReplayBuffer:
    """Keeps the best candidates, the latest snapshots and the latest outcomes. Not thread-safe."""

    def __init__(self) -> None:
        self._candidates: OrderedDict[str, tuple[Candidate, _Rows]] = OrderedDict()
        self._snapshots: deque[tuple[int, Snapshot]] = deque(maxlen=_KEPT_SNAPSHOTS)
        self._outcomes: deque[Outcomes] = deque(maxlen=_KEPT_OUTCOMES)

    def keep(self, batch: Batch) -> None:
        """Adds a batch, without its raw parameters."""
        self._snapshots.extend((batch.stage, snapshot) for snapshot in batch.snapshots)
        for candidate, rows in _with_rows(batch):
            self._candidates[candidate.candidate_id] = candidate, rows
        if len(self._candidates) > _KEPT_CANDIDATES:
            kept = self._candidates.items()
            worst = sorted(kept, key=lambda item: -item[1][0].score.rank)
            for candidate_id, _ in worst[: _KEPT_CANDIDATES // 4]:
                del self._candidates[candidate_id]

    def keep_outcomes(self, outcomes: Outcomes) -> None:
        """Adds outcomes of proposals."""
        self._outcomes.append(outcomes)

    def missing(self, pool: Sequence[Candidate]) -> tuple[Candidate, ...]:
        """The candidates of `pool` that are not in the buffer."""
        return tuple(item for item in pool if item.candidate_id not in self._candidates)

    def replay(self) -> Iterator[Batch | Outcomes]:
        """Yields everything kept, in batches."""
        snapshots = list(self._snapshots)
        start = 0
        for end in range(1, len(snapshots) + 1):
            full = end - start == _REPLAY_PIECE
            if full or end == len(snapshots) or snapshots[end][0] != snapshots[start][0]:
                piece = tuple(snapshot for _, snapshot in snapshots[start:end])
                yield Batch(stage=snapshots[start][0], snapshots=piece)
                start = end
        yield from _candidate_batches(0, list(self._candidates.values()))
        yield from self._outcomes


def pieces(batch: Batch) -> Iterator[Batch]:
    """Splits a batch whose arrays are too large for one message."""
    arrays = (batch.embeddings, batch.exemplar_losses)
    beside = sum(rows.nbytes for rows in arrays if rows is not None)
    if beside > _PIECE_BYTES:
        told = list(_with_rows(batch))
        batch = replace(batch, candidates=(), embeddings=None, exemplar_losses=None)
        if batch.snapshots:
            yield from pieces(batch)
        yield from _candidate_batches(batch.stage, told)
        return
    if batch.parameters is None or batch.parameters.nbytes <= _PIECE_BYTES:
        yield batch
        return
    rows = max(1, _PIECE_BYTES * len(batch.parameters) // batch.parameters.nbytes)
    for start in range(0, len(batch.parameters), rows):
        end = start + rows
        last = end >= len(batch.parameters)
        yield Batch(
            stage=batch.stage,
            snapshots=batch.snapshots[start:end],
            parameters=batch.parameters[start:end],
            candidates=batch.candidates if last else (),
            embeddings=batch.embeddings if last else None,
            exemplar_losses=batch.exemplar_losses if last else None,
        )


def _with_rows(batch: Batch) -> Iterator[tuple[Candidate, _Rows]]:
    """Each candidate with its rows; without rows if their number does not match."""
    count = len(batch.candidates)
    arrays = [
        array if array is not None and len(array) == count else None
        for array in (batch.embeddings, batch.exemplar_losses)
    ]
    for index, candidate in enumerate(batch.candidates):
        embedding, losses = (None if array is None else array[index] for array in arrays)
        yield candidate, (embedding, losses)


def _candidate_batches(stage: int, told: Sequence[tuple[Candidate, _Rows]]) -> Iterator[Batch]:
    """Groups candidates into batches with rows of equal shape that fit a message."""
    start = 0
    for end in range(1, len(told) + 1):
        each = max(1, sum(row.nbytes for row in told[start][1] if row is not None))
        full = end - start >= min(_REPLAY_PIECE, max(1, _PIECE_BYTES // each))
        if full or end == len(told) or _shapes(told[end][1]) != _shapes(told[start][1]):
            piece = told[start:end]
            embeddings, losses = (
                None if column[0] is None else np.stack(column)
                for column in zip(*(rows for _, rows in piece), strict=True)
            )
            candidates = tuple(candidate for candidate, _ in piece)
            yield Batch(
                stage=stage, candidates=candidates, embeddings=embeddings, exemplar_losses=losses
            )
            start = end


def _shapes(rows: _Rows) -> list[tuple[int, ...] | None]:
    return [None if row is None else row.shape for row in rows]
