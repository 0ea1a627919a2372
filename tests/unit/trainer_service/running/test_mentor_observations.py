"""What a mentor is told beside words and scores: embeddings, and losses on shown train rows."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mentorgrad.domain.advice import Answer, AnswerStatus, Batch, Proposal, ProposalRequest, Wants
from mentorgrad.domain.objective import Function
from mentorgrad.domain.run import Candidate, RunState, Score
from mentorgrad.domain.spec import Acceptance, MentorChoice, Optimizer, RunSpec, Stages
from tests.contract.test_resume import StopsAt, create, effective, go
from tests.support.numerics import prompt_tuning_on, tiny, tiny_encoder, tiny_task
from tests.unit.trainer_service.running.test_alternation import (
    SPEC,
    Done,
    Scripted,
    parts,
    shared_store,
)
from trainer_service.mentors.fallback import FallbackMentor
from trainer_service.protocols import Scored
from trainer_service.running.mentor_observations import (
    EXEMPLAR_CHARACTERS,
    MentorObservations,
)
from trainer_service.running.stop_control import StopKind
from trainer_service.seeds import balanced_rows
from trainer_service.tasks.data import Row

WORDS = RunSpec(
    optimizer=Optimizer(learning_rate=0.1, batch_size=8),
    stages=Stages(count=3, steps=3, candidates=2),
    mentor=MentorChoice("small", proposals=2, exemplars=5),
    acceptance=Acceptance(finalists=1, probe_steps=2),
    seed=5,
)
"""On the tiny objective, whatever its own objective and task say."""
TWO_STAGES = dataclasses.replace(WORDS, stages=Stages(count=2, steps=3, candidates=2))


class Reader(Scripted):
    """Proposes a word for every row that it is shown as mistaken."""

    def __init__(self, wants: Wants) -> None:
        super().__init__()
        self.wants = wants

    def propose(
        self, request: ProposalRequest, incumbent: Scored, pool: Sequence[Scored]
    ) -> Answer:
        self.requests.append(request)
        wrong = [shown for shown in request.exemplars if shown.predicted != shown.label]
        words = [shown.text.split()[0] for shown in wrong] or ["good"]
        proposals = tuple(Proposal("", text=word) for word in words[: request.count])
        return Answer(request.request_id, AnswerStatus.USABLE, proposals)


ALL = Wants(embeddings=True, exemplars=True)


def executed(spec: RunSpec, wants: Wants, built: Any = None) -> tuple[Done, Reader]:
    mentor, objective = Reader(wants), built or tiny()
    done = Done(spec, parts(mentor=lambda *_: mentor, objective=lambda *_: objective))
    assert done.state is RunState.SUCCEEDED
    return done, mentor


@pytest.mark.slow
def test_candidates_come_with_their_meaning_and_their_losses() -> None:
    built = tiny()
    done, mentor = executed(WORDS, ALL, built)
    told = [batch for batch in mentor.batches if batch.candidates]
    assert sum(len(batch.candidates) for batch in told) == len(done.candidates())
    for batch in told:
        assert batch.embeddings is not None
        assert batch.exemplar_losses is not None
        assert batch.embeddings.dtype == batch.exemplar_losses.dtype == np.float32
        assert batch.exemplar_losses.shape == (len(batch.candidates), 5)
        norms = np.linalg.norm(batch.embeddings, axis=1)
        np.testing.assert_allclose(norms, np.ones(len(batch.candidates)), rtol=1e-5)
    losses = {
        candidate.candidate_id: row
        for batch in told
        for candidate, row in zip(batch.candidates, batch.exemplar_losses, strict=True)
    }
    for request in mentor.requests:
        shown = [exemplar.loss for exemplar in request.exemplars]
        np.testing.assert_allclose(shown, losses[request.incumbent_id], rtol=1e-4)
    shown_texts = {tuple(e.text for e in request.exemplars) for request in mentor.requests}
    assert len(shown_texts) == 1, "the same rows in the whole run"
    assert built.problem.task is not None
    texts = {row.joined for row in built.problem.task.train}
    assert set(next(iter(shown_texts))) <= texts


@pytest.mark.slow
def test_showing_rows_is_no_evaluation_and_changes_no_score() -> None:
    shown, _ = executed(WORDS, Wants(exemplars=True))
    hidden, mentor = executed(
        dataclasses.replace(WORDS, mentor=dataclasses.replace(WORDS.mentor, exemplars=0)), ALL
    )
    assert_no_rows(mentor)
    # Until the first answer the runs are the same.
    ours, theirs = ([c.score for c in done.candidates()][:4] for done in (shown, hidden))
    assert ours == theirs
    candidates = [
        c for c in shown.candidates() if not (c.candidate_id.endswith("/start") and c.stage)
    ]
    races = shown.run.usage.probe_steps // 2
    assert shown.run.usage.evaluations == len(candidates) + races


def assert_no_rows(mentor: Reader) -> None:
    assert all(request.exemplars == () for request in mentor.requests)
    assert all(batch.exemplar_losses is None for batch in mentor.batches)


@pytest.mark.slow
@pytest.mark.parametrize("wants", [Wants(), Wants(embeddings=True)])
def test_a_mentor_is_told_no_more_than_it_wants(wants: Wants) -> None:
    _, mentor = executed(TWO_STAGES, wants)
    assert_no_rows(mentor)
    told = {batch.embeddings is not None for batch in mentor.batches if batch.candidates}
    assert told == {wants.embeddings}


def test_points_have_a_meaning_and_no_rows() -> None:
    mentor = Reader(ALL)
    spec = dataclasses.replace(SPEC, mentor=MentorChoice("small", exemplars=4))
    Done(spec, parts(mentor=lambda *_: mentor))
    told = [batch for batch in mentor.batches if batch.candidates]
    assert all(batch.embeddings.shape[1] == 3 for batch in told)
    assert all(batch.exemplar_losses is None for batch in told)
    assert isinstance(spec.objective, Function)


def test_label_words_stay_hidden_where_the_card_is() -> None:
    task = tiny_task()
    rows = tuple(dataclasses.replace(row, text="x\0" * 400) for row in task.train)
    built = prompt_tuning_on(
        dataclasses.replace(task, train=rows), tiny_encoder("bert"), n_tokens=3
    )
    incumbent = Scored(Candidate("c", score=Score(1.0)), built.language.initial(torch.Generator()))
    for hidden, allowed in ((False, {"other", "worth"}), (True, {"class 1", "class 2"})):
        choice = MentorChoice("small", exemplars=4, hide_card=hidden)
        mentor = FallbackMentor("small", Reader(ALL))
        observations = MentorObservations(RunSpec(mentor=choice), built, mentor)
        shown = observations.exemplars(incumbent)
        assert len(shown) == 4
        assert {e.label for e in shown} | {e.predicted for e in shown} <= allowed
        assert all(len(e.text) == EXEMPLAR_CHARACTERS and "\0" not in e.text for e in shown)


@given(
    labels=st.lists(st.integers(0, 4), max_size=60),
    count=st.integers(0, 64),
    seed=st.integers(0, 2**63 - 1),
)
def test_rows_are_drawn_evenly_over_the_classes(labels: list[int], count: int, seed: int) -> None:
    rows = [Row(str(i), label) for i, label in enumerate(labels)]
    chosen = balanced_rows(rows, count, seed, "exemplars")
    assert chosen == balanced_rows(rows, count, seed, "exemplars")
    assert len(chosen) == len(set(chosen)) == min(count, len(rows))
    drawn, there = Counter(labels[i] for i in chosen), Counter(labels)
    for label, number in there.items():
        for other in there:
            # No class has two more than another that still has rows to give.
            assert drawn[other] <= drawn[label] + 1 or drawn[label] == number


@pytest.mark.slow
def test_a_run_that_shows_rows_is_resumed_exactly() -> None:
    def how() -> Any:
        return parts(mentor=lambda *_: Reader(ALL), objective=lambda *_: tiny())

    store = shared_store()
    whole, control = create(store, WORDS), StopsAt()
    assert go(store, whole, control, how()) is RunState.SUCCEEDED
    stops = range(1, control.asked, max(1, control.asked // 2))
    for n, kind in zip(stops, itertools.cycle((StopKind.PAUSE, StopKind.LOST)), strict=False):
        run_id = create(store, WORDS)
        assert go(store, run_id, StopsAt(n, kind), how()) is not RunState.SUCCEEDED
        if kind is StopKind.LOST:
            store.transition(run_id, RunState.INTERRUPTED, "the worker died", attempt=1)
        assert go(store, run_id, StopsAt(), how()) is RunState.SUCCEEDED
        assert effective(store, run_id) == effective(store, whole)


@pytest.mark.slow
def test_a_resumed_run_tells_everything_again() -> None:
    mentor, store = Reader(ALL), shared_store()
    how = parts(mentor=lambda *_: mentor, objective=lambda *_: tiny())
    run_id = create(store, WORDS)
    assert go(store, run_id, StopsAt(8), how) is RunState.PAUSED
    mentor.batches.clear()
    assert go(store, run_id, StopsAt(), how) is RunState.SUCCEEDED
    first: Batch = mentor.batches[0]
    assert first.candidates[0].candidate_id == "s0/start"
    assert len(first.embeddings) == len(first.exemplar_losses) == len(first.candidates)
