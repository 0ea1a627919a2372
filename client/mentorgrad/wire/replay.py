"""What a session with a mentor is told anew after a break."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence

from mentorgrad.model.advice import Batch, Outcomes
from mentorgrad.model.run import Candidate, Snapshot

_KEPT_CANDIDATES = 1_000
_KEPT_SNAPSHOTS = 500
_KEPT_OUTCOMES = 100
_REPLAY_PIECE = 200
"""Snapshots or candidates of one replayed batch."""
_PIECE_BYTES = 1024 * 1024
"""Raw parameters of one batch on the wire."""


class Memory:
    """What was told so far, within bounds: best candidates and latest snapshots. Not locked."""

    def __init__(self) -> None:
        self._candidates: OrderedDict[str, Candidate] = OrderedDict()
        self._snapshots: deque[tuple[int, Snapshot]] = deque(maxlen=_KEPT_SNAPSHOTS)
        self._outcomes: deque[Outcomes] = deque(maxlen=_KEPT_OUTCOMES)

    def keep(self, batch: Batch) -> None:
        """Remembers a batch, without its raw parameters."""
        self._snapshots.extend((batch.stage, snapshot) for snapshot in batch.snapshots)
        for candidate in batch.candidates:
            self._candidates[candidate.candidate_id] = candidate
        if len(self._candidates) > _KEPT_CANDIDATES:
            worst = sorted(self._candidates.values(), key=lambda item: -item.score.loss)
            for candidate in worst[: _KEPT_CANDIDATES // 4]:
                del self._candidates[candidate.candidate_id]

    def keep_outcomes(self, outcomes: Outcomes) -> None:
        """Remembers what became of proposals."""
        self._outcomes.append(outcomes)

    def missing(self, pool: Sequence[Candidate]) -> tuple[Candidate, ...]:
        """Those of `pool` that were never told."""
        return tuple(item for item in pool if item.candidate_id not in self._candidates)

    def replay(self) -> Iterator[Batch | Outcomes]:
        """Everything kept, in batches."""
        snapshots = list(self._snapshots)
        start = 0
        for end in range(1, len(snapshots) + 1):
            full = end - start == _REPLAY_PIECE
            if full or end == len(snapshots) or snapshots[end][0] != snapshots[start][0]:
                piece = tuple(snapshot for _, snapshot in snapshots[start:end])
                yield Batch(stage=snapshots[start][0], snapshots=piece)
                start = end
        candidates = list(self._candidates.values())
        for start in range(0, len(candidates), _REPLAY_PIECE):
            yield Batch(candidates=tuple(candidates[start : start + _REPLAY_PIECE]))
        yield from self._outcomes


def pieces(batch: Batch) -> Iterator[Batch]:
    """The batch, in several if its raw parameters are too many for one message."""
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
        )
