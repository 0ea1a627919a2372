"""Shuffles the scores that a mentor receives, to test whether the trajectory matters.

At any time the scores sent so far are a uniform random permutation of the true ones ("inside-out"
Fisher-Yates shuffle): a new candidate swaps its score with a randomly drawn earlier candidate or
keeps its own, and the earlier candidate is sent again with its new score. The draws depend only on
the seed and on the order of arrival.

No other data reveals which candidate is good. Train losses of snapshots are replaced by earlier
ones. A proposal's outcome contains its shuffled score and whether the proposal could be scored, but
neither its true score nor its place in a race. The end of a race does not name the winning
proposal, and proposed settings come without the loss that a race took them to.
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
"""Outcomes that reveal how good a proposal was."""


@dataclass
class _Told:
    """A candidate and the scores that the mentor receives for it."""

    candidate: Candidate
    """The candidate, with its true score."""
    embedding: np.ndarray | None
    """Its own embedding, not shuffled: it does not depend on the score."""
    score: Score
    """Shuffled score."""
    exemplar_losses: np.ndarray | None
    """Losses of the candidate that the shuffled score belongs to."""


class ShuffledMentor:
    """Mentor wrapper that shuffles scores; implements `trainer_service.protocols.Mentor`.

    Args:
        mentor: The wrapped mentor.
        seed: Seed of the run.
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
        """Sends the batch with shuffled scores, then re-sends candidates whose scores changed."""
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
        """See `Mentor`; first sends unsent candidates of the pool, with shuffled scores."""
        untold = [s.candidate for s in pool if s.candidate.candidate_id not in self._told]
        if untold:
            self.observe(Batch(stage=request.stage, candidates=tuple(untold)))
        return self._mentor.propose(
            request, self._exchanged(incumbent), [self._exchanged(scored) for scored in pool]
        )

    def report(self, outcomes: Outcomes) -> None:
        """Reports which proposals could be scored, with their shuffled scores."""
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
        """Adds a candidate and swaps scores; returns the candidates to send, by id."""
        name = candidate.candidate_id
        known = self._told.get(name)
        if known is not None:  # sent again, as after a resume
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
    candidate = replace(told.candidate, score=told.score, probe_loss=None)
    if candidate.source is CandidateSource.SNAPSHOT:  # the parent would reveal the race's winner
        candidate = replace(candidate, parents=())
    return candidate


def _row(rows: np.ndarray | None, index: int) -> np.ndarray | None:
    return None if rows is None else rows[index]


def _stacked(rows: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Stacks rows to [rows, width]; None if any row is missing."""
    present = [row for row in rows if row is not None]
    return np.stack(present) if present and len(present) == len(rows) else None
