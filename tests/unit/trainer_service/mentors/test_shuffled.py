"""Shuffled scores: every candidate goes under another's, and nothing gives the own one away."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mentorgrad.domain.advice import (
    AdviseOpen,
    Answer,
    AnswerStatus,
    Batch,
    Outcomes,
    ProposalOutcome,
    ProposalRequest,
    ProposalStatus,
    Wants,
)
from mentorgrad.domain.run import Candidate, CandidateSource, Run, Score, Snapshot
from mentorgrad.domain.spec import MentorChoice, RunSpec
from mentorgrad.wire.credentials import Credentials
from service_common.callers import LOCAL
from tests.support.numerics import objective
from tests.unit.trainer_service.running.test_alternation import SPEC, Scripted, parts, with_mentor
from tests.unit.trainer_service.running.test_alternation import Done as Executed
from tests.unit.trainer_service.running.test_overlapped import Points
from trainer_service import run_composition
from trainer_service.job import WorkerJob
from trainer_service.mentors.shuffled import ShuffledMentor
from trainer_service.protocols import Scored


class Told:
    """Remembers the last word on every candidate, as a mentor's session does."""

    wants = Wants()

    def __init__(self) -> None:
        self.candidates: dict[str, Candidate] = {}
        self.rows: dict[str, tuple[Any, Any]] = {}
        self.snapshots: list[Snapshot] = []
        self.outcomes: list[Outcomes] = []
        self.asked: list[tuple[Scored, Sequence[Scored]]] = []

    def wait_open(self, timeout: float) -> bool:
        return True

    def observe(self, batch: Batch) -> None:
        self.snapshots += batch.snapshots
        for i, candidate in enumerate(batch.candidates):
            self.candidates[candidate.candidate_id] = candidate
            losses, vectors = batch.exemplar_losses, batch.embeddings
            self.rows[candidate.candidate_id] = (
                None if losses is None else float(losses[i, 0]),
                None if vectors is None else float(vectors[i, 0]),
            )

    def propose(
        self, request: ProposalRequest, incumbent: Scored, pool: Sequence[Scored]
    ) -> Answer:
        self.asked.append((incumbent, pool))
        return Answer(request.request_id, AnswerStatus.REFUSED)

    def report(self, outcomes: Outcomes) -> None:
        self.outcomes.append(outcomes)

    def cancel(self) -> None: ...

    def close(self) -> None: ...


def candidate(i: int, **fields: Any) -> Candidate:
    return Candidate(f"c{i}", text=f"word {i}", score=Score(float(i), i / 100, 7), **fields)


def batches(sizes: Sequence[int]) -> list[Batch]:
    """Candidates 0, 1, ... in batches of these sizes; their figures all say their number."""
    made, first = [], 0
    for size in sizes:
        numbers = range(first, first + size)
        figures = np.array([[float(i)] for i in numbers], np.float32)
        made.append(
            Batch(
                candidates=tuple(map(candidate, numbers)),
                exemplar_losses=figures,
                embeddings=figures,
            )
        )
        first += size
    return made


def told(sizes: Sequence[int], seed: int = 1) -> Told:
    mentor = Told()
    shuffled = ShuffledMentor(mentor, seed)
    for batch in batches(sizes):
        shuffled.observe(batch)
    return mentor


def test_the_loss_that_a_race_took_settings_to_is_withheld() -> None:
    mentor, proposed = Told(), {"learning_rate_factor": 2}
    raced = candidate(1, settings=proposed, probe_loss=0.5)
    ShuffledMentor(mentor, 1).observe(Batch(candidates=(raced,)))
    (shown,) = mentor.candidates.values()
    assert (shown.settings, shown.probe_loss) == (proposed, None)


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=8), seed=st.integers(0, 2**63 - 1))
def test_at_any_time_the_scores_are_a_permutation(sizes: list[int], seed: int) -> None:
    mentor = Told()
    shuffled = ShuffledMentor(mentor, seed)
    for count, batch in enumerate(batches(sizes), 1):
        shuffled.observe(batch)
        known = mentor.candidates.values()
        assert sorted(c.score.loss for c in known) == list(range(sum(sizes[:count])))
    for c in mentor.candidates.values():
        number = int(c.candidate_id[1:])
        assert c.text == f"word {number}"
        assert c.score == Score(c.score.loss, c.score.loss / 100, 7), "scores move as a whole"
        assert mentor.rows[c.candidate_id] == (c.score.loss, number), "losses move, meaning stays"


@pytest.mark.slow
def test_how_they_come_in_batches_does_not_matter_and_the_seed_does() -> None:
    def scores(sizes: Sequence[int], seed: int = 1) -> list[float]:
        candidates = told(sizes, seed).candidates
        return [candidates[f"c{i}"].score.loss for i in range(40)]

    assert scores([40]) == scores([1] * 40) == scores([3, 30, 7])
    assert scores([40]) != scores([40], seed=2)
    correlations = [
        abs(float(np.corrcoef(scores([8] * 5, seed), range(40))[0, 1])) for seed in range(8)
    ]
    assert np.mean(correlations) < 0.3


def test_outcomes_say_whether_a_proposal_could_be_scored_and_no_more() -> None:
    mentor = Told()
    shuffled = ShuffledMentor(mentor, 3)
    shuffled.observe(batches([10])[0])
    given_scores = {name: c.score for name, c in mentor.candidates.items()}
    statuses = [
        ProposalStatus.APPLIED,
        ProposalStatus.LOST,
        ProposalStatus.NOT_CHOSEN,
        ProposalStatus.TOO_LONG,
    ]
    outcomes = tuple(
        ProposalOutcome(f"c{i}", status, Score(float(i)), 0.1 * i, "why")
        for i, status in enumerate(statuses)
    )
    shuffled.report(Outcomes("s0", (*outcomes, ProposalOutcome("x", ProposalStatus.EMPTY))))
    (reported,) = mentor.outcomes
    assert [o.status for o in reported.outcomes] == [
        *[ProposalStatus.NOT_CHOSEN] * 3,
        ProposalStatus.TOO_LONG,
        ProposalStatus.EMPTY,
    ]
    assert all(o.probe_loss is None for o in reported.outcomes)
    assert [o.score for o in reported.outcomes] == [
        *[given_scores[f"c{i}"] for i in range(4)],
        None,
    ]


def test_what_is_asked_carries_the_same_scores() -> None:
    mentor = Told()
    shuffled = ShuffledMentor(mentor, 3)
    shuffled.observe(batches([6])[0])
    pool = [Scored(candidate(i), None) for i in range(9)]  # type: ignore[arg-type]
    shuffled.propose(ProposalRequest("s0"), pool[8], pool)
    ((incumbent, sent),) = mentor.asked
    assert [scored.candidate for scored in sent] == [mentor.candidates[f"c{i}"] for i in range(9)]
    assert incumbent.candidate == mentor.candidates["c8"]
    assert sorted(scored.candidate.score.loss for scored in sent) == list(range(9))


def test_train_losses_are_exchanged_and_a_races_end_hides_its_winner() -> None:
    mentor = Told()
    shuffled = ShuffledMentor(mentor, 3)
    shuffled.observe(
        Batch(
            snapshots=tuple(Snapshot(i, float(i), text=f"word {i}") for i in range(30)),
            candidates=(
                candidate(0, parents=("p1",)),
                candidate(1, parents=("p1",), source=CandidateSource.PROPOSAL),
            ),
        )
    )
    assert [s.text for s in mentor.snapshots] == [f"word {i}" for i in range(30)]
    losses = [s.train_loss for s in mentor.snapshots]
    assert set(losses) <= set(map(float, range(30)))
    assert sum(loss == i for i, loss in enumerate(losses)) < 15
    assert [c.parents for c in mentor.candidates.values()] == [(), ("p1",)]


@pytest.mark.slow
def test_a_run_decides_by_the_true_scores_all_the_same() -> None:
    def run(shuffled: bool) -> tuple[Executed, Points]:
        mentor = Points()
        made: Any = ShuffledMentor(mentor, SPEC.seed) if shuffled else mentor
        spec = dataclasses.replace(SPEC, mentor=MentorChoice("small", proposals=4))
        return Executed(spec, parts(mentor=lambda *_: made)), mentor

    (plain, _), (other, told_to) = run(False), run(True)
    # This mentor's answers do not depend on scores, so the run is the same.
    assert [c.score for c in other.candidates()] == [c.score for c in plain.candidates()]
    assert all(o.probe_loss is None for told in told_to.told for o in told.outcomes)


# -- how a mentor is opened -------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("shuffled", [False, True])
def test_the_spec_says_what_is_hidden(
    monkeypatch: pytest.MonkeyPatch, hidden: bool, shuffled: bool
) -> None:
    opened: list[AdviseOpen] = []

    asked_for: list[str] = []

    def remote(name: str, target: str, how: AdviseOpen, credentials: Credentials) -> Scripted:
        opened.append(how)
        asked_for.append(credentials.on_behalf_of)
        return Scripted()

    monkeypatch.setattr(run_composition, "RemoteMentor", remote)
    choice = MentorChoice("small", shuffled=shuffled, hide_card=hidden)
    job = WorkerJob("-", store="-", mentors={"small": "localhost:1"})
    built = objective("label_prompt")
    open_mentor = run_composition.run_parts(job).mentor
    for owner in ("alice", LOCAL.owner, ""):
        run = Run("r1", spec=RunSpec(mentor=choice), owner=owner)
        assert isinstance(open_mentor(run, built), ShuffledMentor) is shuffled
    # Of a service that is open to all, the runs are nobody's in particular.
    assert asked_for == ["alice", "", ""]
    card = opened[0].card
    assert card.objective == "label_prompt"
    assert (card.description, card.labels) == (
        ("", ()) if hidden else (built.card.description, built.card.labels)
    )
    # They do not name the task.
    assert (card.proposal, card.place) == (built.card.proposal, built.card.place)
    assert card.proposal
    assert card.place


def test_the_wrapped_mentor_sees_a_whole_run() -> None:
    inner = Scripted(*[AnswerStatus.REFUSED] * 3)
    done = with_mentor(ShuffledMentor(inner, 5))  # type: ignore[arg-type]
    seen = {c.candidate_id for batch in inner.batches for c in batch.candidates}
    assert seen == {c.candidate_id for c in done.candidates()}
    assert inner.closed
