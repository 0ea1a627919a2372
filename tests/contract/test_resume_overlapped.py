"""A run whose mentor thinks while it goes on is resumed as exactly as one that waits."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch

from mentorgrad.domain.advice import Answer, AnswerStatus, ProposalRequest
from mentorgrad.domain.event import EventKind, ProposalsReceived
from mentorgrad.domain.query import EventQuery
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import MentorChoice, MentorMode
from run_store.protocols import RunStore
from run_store.temporary_store import TemporaryRunStore
from tests.contract.test_resume import SPEC, StopsAt, create, effective, go, longer, parts
from trainer_service.mentors.controls import RandomTokens
from trainer_service.objectives.torch_free import ARTIFACT
from trainer_service.protocols import Scored
from trainer_service.running.execution import Parts
from trainer_service.running.stop_control import StopKind

LAG = 5
OVERLAPPED = dataclasses.replace(
    SPEC, mentor=MentorChoice("small", proposals=5, mode=MentorMode.OVERLAPPED)
)


class AfterSteps:
    """A question that is answered when so many steps were taken since it was first asked."""

    def __init__(self, lag: int, answer: Answer) -> None:
        self._lag = lag
        self._answer = answer

    def is_answered(self, lag: int) -> bool:
        return lag >= self._lag

    def answer(self) -> Answer:
        return self._answer


def how(asked: list[ProposalRequest], lag: int = LAG) -> Parts:
    """Points by the seed, `lag` steps after they were asked for."""

    def ask(
        mentor: Any, request: ProposalRequest, incumbent: Scored, pool: Sequence[Scored]
    ) -> AfterSteps:
        asked.append(request)
        return AfterSteps(lag, mentor.propose(request, incumbent, pool))

    return dataclasses.replace(
        parts(), mentor=lambda _, built: RandomTokens(built.language), ask=ask
    )


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def store() -> Iterator[RunStore]:
    opened = TemporaryRunStore()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def whole() -> tuple[list[Any], bytes, list[ProposalRequest]]:
    """An uninterrupted run: its log, its artifact, and what it asked."""
    torch.set_num_threads(1)
    store, asked = TemporaryRunStore(), list[ProposalRequest]()
    run_id = create(store, OVERLAPPED)
    assert go(store, run_id, StopsAt(), how(asked)) is RunState.SUCCEEDED
    return effective(store, run_id), store.read_artifact(run_id, ARTIFACT), asked


def received(store: RunStore, run_id: str) -> list[tuple[str, AnswerStatus, int]]:
    """Of all attempts."""
    query = EventQuery(kinds=(EventKind.PROPOSALS_RECEIVED,))
    return [
        (event.payload.answer.request_id, event.payload.answer.status, event.payload.lag_steps)
        for event in store.events(run_id, query)
        if isinstance(event.payload, ProposalsReceived)
    ]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_run(
    whole: tuple[list[Any], bytes, list[ProposalRequest]], store: RunStore
) -> None:
    log, artifact, asked = whole
    again: list[ProposalRequest] = []
    run_id = create(store, OVERLAPPED)
    assert go(store, run_id, StopsAt(), how(again)) is RunState.SUCCEEDED
    assert effective(store, run_id) == log
    assert store.read_artifact(run_id, ARTIFACT) == artifact
    assert again == asked
    assert received(store, run_id) == [(f"s{i}", AnswerStatus.USABLE, LAG) for i in range(2)]


@pytest.mark.slow
def test_paused_while_the_mentor_thinks_it_asks_the_same_again_and_goes_on_exactly(
    whole: tuple[list[Any], bytes, list[ProposalRequest]], store: RunStore
) -> None:
    log, artifact, requests = whole
    asked: list[ProposalRequest] = []
    run_id = create(store, OVERLAPPED)
    # Steps 1-12 of stage 0, 13-17 while the mentor thinks, a race of 12, and so on.
    assert go(store, run_id, StopsAt(16), how(asked)) is RunState.PAUSED
    assert store.get_run(run_id).step == 13
    assert go(store, run_id, StopsAt(3), how(asked)) is RunState.PAUSED
    assert store.get_run(run_id).step == 14
    assert asked[0] == asked[1] == requests[0]
    assert received(store, run_id) == []
    pauses = 0
    while go(store, run_id, StopsAt(17), how(asked)) is RunState.PAUSED:
        pauses += 1
    assert pauses > 2
    assert effective(store, run_id) == log
    assert store.read_artifact(run_id, ARTIFACT) == artifact


@pytest.mark.slow
@pytest.mark.parametrize("lag", [0, longer(1), LAG + 20])
def test_an_answer_in_the_log_is_there_again_after_the_same_steps(
    whole: tuple[list[Any], bytes, list[ProposalRequest]], store: RunStore, lag: int
) -> None:
    log, artifact, _ = whole
    run_id = create(store, OVERLAPPED)
    # Dead in the first race: the answer is in the log, and no checkpoint knows of the question.
    assert go(store, run_id, StopsAt(25, StopKind.LOST), how([])) is RunState.RUNNING
    assert received(store, run_id) == [("s0", AnswerStatus.USABLE, LAG)]
    store.transition(run_id, RunState.INTERRUPTED, "the worker died", attempt=1)
    asked: list[ProposalRequest] = []
    # This time the mentor would be quicker or slower with its first answer.
    slow = how(asked, lag)
    slow = dataclasses.replace(
        slow, ask=lambda *q: how(asked, LAG if q[1].request_id == "s1" else lag).ask(*q)
    )
    assert go(store, run_id, StopsAt(), slow) is RunState.SUCCEEDED
    assert [request.request_id for request in asked] == ["s1"]
    assert effective(store, run_id) == log
    assert store.read_artifact(run_id, ARTIFACT) == artifact


@pytest.mark.slow
def test_a_question_given_up_stays_given_up(store: RunStore) -> None:
    never = how([], 10_000)
    whole, broken = create(store, OVERLAPPED), create(store, OVERLAPPED)
    control = StopsAt()
    assert go(store, whole, control, never) is RunState.SUCCEEDED
    assert received(store, whole) == [("s0", AnswerStatus.CANCELLED, 80 - 12)]
    assert go(store, broken, StopsAt(control.asked - 1, StopKind.LOST), never) is RunState.RUNNING
    store.transition(broken, RunState.INTERRUPTED, "the worker died", attempt=1)
    assert go(store, broken, StopsAt(), never) is RunState.SUCCEEDED
    assert effective(store, broken) == effective(store, whole)
    assert store.read_artifact(broken, ARTIFACT) == store.read_artifact(whole, ARTIFACT)
