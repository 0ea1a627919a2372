"""A mentor that is told the candidates with their scores shuffled: does the trajectory matter?

Every candidate is told with the score of another. The assignment is a uniform permutation of the
scores so far at any time (Fisher and Yates, "inside out"): a candidate that arrives takes the score
of a drawn one of those before it, or keeps its own, and that one, which is told anew, takes the new
one. What is drawn depends on the seed and on the order of arrival alone.

Nothing else that is told says which candidate is good: train losses of snapshots are exchanged for
earlier ones; of a proposal's outcome neither the score nor the place in a race is told, only
whether it could be scored; and a race's end does not name the proposal it came from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mentorgrad.domain.advice import (
    Answer,
    Batch,
    Outcomes,
    ProposalOutcome,
    ProposalRequest,
    ProposalStatus,
    Wants,
)
from mentorgrad.domain.run import Candidate, CandidateSource, Score, Snapshot
from trainer_service.protocols import Mentor, Scored
from trainer_service.seeds import derive

_SCORED = (ProposalStatus.APPLIED, ProposalStatus.LOST)
"""Outcomes that say how good a proposal was."""


@dataclass
class _Told:
    """A candidate with the figures that it goes under."""

    candidate: Candidate
    """With its own score."""
    embedding: np.ndarray | None
    """Its own: it says what the words mean, not how good they are."""
    score: Score
    """Of some candidate."""
    exemplar_losses: np.ndarray | None
    """The same one's."""


class ShuffledMentor:
    """See the module; satisfies `trainer_service.protocols.Mentor`.

    Args:
        mentor: Who is told.
        seed: The run's.
    """

    def __init__(self, mentor: Mentor, seed: int) -> None:
        self._mentor = mentor
        self._seed = seed
        self._told: dict[str, _Told] = {}
        self._order: list[str] = []
        self._losses: list[float] = []

    @property
    def wants(self) -> Wants:
        """See `Mentor`."""
        return self._mentor.wants

    def wait_open(self, timeout: float) -> bool:
        """See `Mentor`."""
        return self._mentor.wait_open(timeout)

    def observe(self, batch: Batch) -> None:
        """Tells it with the scores of others, and then anew those who gave them."""
        changed: dict[str, _Told] = {}
        for index, candidate in enumerate(batch.candidates):
            row = _row(batch.exemplar_losses, index)
            changed |= self._arrive(candidate, _row(batch.embeddings, index), row)
        new = [changed.pop(candidate.candidate_id) for candidate in batch.candidates]
        snapshots = tuple(map(self._snapshot, batch.snapshots))
        self._mentor.observe(_batch(replace(batch, snapshots=snapshots), new))
        if changed:
            self._mentor.observe(_batch(Batch(stage=batch.stage), list(changed.values())))

    def propose(
        self, request: ProposalRequest, incumbent: Scored, pool: Sequence[Scored]
    ) -> Answer:
        """See `Mentor`; what it was not told yet of the pool it is told with other scores too."""
        untold = [s.candidate for s in pool if s.candidate.candidate_id not in self._told]
        if untold:
            self.observe(Batch(stage=request.stage, candidates=tuple(untold)))
        return self._mentor.propose(
            request, self._exchanged(incumbent), [self._exchanged(scored) for scored in pool]
        )

    def report(self, outcomes: Outcomes) -> None:
        """Reports which proposals could be scored, and under which scores they go."""
        self._mentor.report(
            replace(outcomes, outcomes=tuple(map(self._outcome, outcomes.outcomes)))
        )

    def cancel(self) -> None:
        """See `Mentor`."""
        self._mentor.cancel()

    def close(self) -> None:
        """See `Mentor`."""
        self._mentor.close()

    # -- within -------------------------------------------------------------------------------

    def _arrive(
        self, candidate: Candidate, embedding: np.ndarray | None, losses: np.ndarray | None
    ) -> dict[str, _Told]:
        """Takes a candidate in; those to be told, by id."""
        name = candidate.candidate_id
        known = self._told.get(name)
        if known is not None:  # told again, as after a resume
            return {name: known}
        new = _Told(candidate, embedding, candidate.score, losses)
        self._told[name] = new
        self._order.append(name)
        drawn = self._order[derive(self._seed, "shuffled", len(self._order)) % len(self._order)]
        other = self._told[drawn]
        new.score, other.score = other.score, new.score
        new.exemplar_losses, other.exemplar_losses = other.exemplar_losses, new.exemplar_losses
        return {name: new, drawn: other}

    def _snapshot(self, snapshot: Snapshot) -> Snapshot:
        self._losses.append(snapshot.train_loss)
        count = len(self._losses)
        loss = self._losses[derive(self._seed, "shuffled", "snapshot", count) % count]
        return replace(snapshot, train_loss=loss)

    def _exchanged(self, scored: Scored) -> Scored:
        told = self._told.get(scored.candidate.candidate_id)
        return scored if told is None else Scored(_as_told(told), scored.parameters)

    def _outcome(self, outcome: ProposalOutcome) -> ProposalOutcome:
        told = self._told.get(outcome.proposal_id)
        status = ProposalStatus.NOT_CHOSEN if outcome.status in _SCORED else outcome.status
        score = told.score if told is not None else None
        return ProposalOutcome(outcome.proposal_id, status, score, None, outcome.detail)


def _batch(batch: Batch, told: Sequence[_Told]) -> Batch:
    return replace(
        batch,
        candidates=tuple(map(_as_told, told)),
        embeddings=_stacked([item.embedding for item in told]),
        exemplar_losses=_stacked([item.exemplar_losses for item in told]),
    )


def _as_told(told: _Told) -> Candidate:
    candidate = replace(told.candidate, score=told.score)
    if candidate.source is CandidateSource.SNAPSHOT:  # a race's end would name its winner
        candidate = replace(candidate, parents=())
    return candidate


def _row(rows: np.ndarray | None, index: int) -> np.ndarray | None:
    return None if rows is None else rows[index]


def _stacked(rows: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """[rows, width]; None where a row is missing, for then it says nothing."""
    present = [row for row in rows if row is not None]
    return np.stack(present) if present and len(present) == len(rows) else None
