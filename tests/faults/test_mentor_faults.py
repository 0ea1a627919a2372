"""Whole runs over a bad line to their mentor: they end as planned, and advice comes back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import torch

from campaigns.faults.local_mentors import Mentors
from campaigns.faults.proxy import Proxy
from campaigns.faults.run_harness import PATIENCE, SPEC, RunHarness
from mentor_service import servicer
from mentorgrad.domain.advice import AnswerStatus
from mentorgrad.domain.event import EventKind
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import Stages
from trainer_service.mentors import remote
from trainer_service.running import execution

FOUR_STAGES = dataclasses.replace(
    SPEC,
    stages=Stages(count=4, steps=5),
    mentor=dataclasses.replace(SPEC.mentor, timeout=timedelta(minutes=5)),
)


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(remote, "Patience", lambda: PATIENCE)
    monkeypatch.setattr(execution, "SESSION_SECONDS", 600.0)


@pytest.fixture
def mentors() -> Iterator[Mentors]:
    found = Mentors()
    yield found
    found.close()


class Nth:
    """Does something when it is called for the n-th time."""

    def __init__(self, **acts: Callable[[], object]) -> None:
        self._acts = acts
        self._calls = 0

    def __call__(self) -> None:
        names = ["first", "second", "third"]
        self._acts.get(names[self._calls], lambda: None)()
        self._calls += 1


class Line:
    """A run whose mentor is behind a proxy, and what is done to that before each question."""

    def __init__(self, mentors: Mentors) -> None:
        port, self.backend = mentors.start()
        self.proxy = Proxy(port)
        self.harness = RunHarness(self.proxy.address, FOUR_STAGES)

    def run(self, **acts: Callable[[], object]) -> list[str]:
        """Executes the run; returns what came of its questions, the fallback's answers aside."""
        self.harness.before["propose"] = Nth(**acts)
        assert self.harness.execute() is RunState.SUCCEEDED
        run = self.harness.store.get_run(self.harness.run_id)
        assert run.step == 20
        received = self.harness.payloads(EventKind.PROPOSALS_RECEIVED)
        answers = [item.answer for item in received if not item.is_fallback]
        assert [answer.request_id for answer in answers] == ["s0", "s1", "s2"], "each counted once"
        usable = sum(answer.status is AnswerStatus.USABLE for answer in answers)
        assert (run.usage.mentor_calls, run.usage.usable_answers) == (3, usable)
        assert run.usage.fallbacks == 3 - usable
        assert len(self.harness.payloads(EventKind.RESTART_DECIDED)) == 3
        return [answer.status.value for answer in answers]

    def notices(self) -> list[str]:
        """What the log says of the mentor's absence."""
        kinds = (EventKind.MENTOR_LOST, EventKind.MENTOR_BACK)
        events = self.harness.store.events(self.harness.run_id)
        return [event.kind.value for event in events if event.kind in kinds]


@pytest.fixture
def line(mentors: Mentors) -> Iterator[Line]:
    found = Line(mentors)
    yield found
    found.proxy.close()


@pytest.mark.parametrize(
    "fault", [pytest.param("cut", marks=pytest.mark.campaign), "reset", "half-closed"]
)
def test_a_line_that_breaks_is_opened_again_for_the_same_question(line: Line, fault: str) -> None:
    breaks = {
        "cut": line.proxy.cut,
        "reset": lambda: line.proxy.cut(reset=True),
        "half-closed": line.proxy.half_close,
    }
    assert line.run(second=breaks[fault], third=breaks[fault]) == ["usable"] * 3
    assert line.notices() == []


def test_a_mentor_that_refuses_for_a_while_is_lost_and_comes_back(line: Line) -> None:
    def listen_again() -> None:
        line.proxy.accept()
        assert line.harness.mentor.wait_open(120)

    assert line.run(second=line.proxy.refuse, third=listen_again) == [
        "usable",
        "unavailable",
        "usable",
    ]
    assert line.notices() == ["mentor_lost", "mentor_back"]


def test_a_half_open_line_costs_one_answer_and_no_more(line: Line) -> None:
    """Both ends think that they are connected, and nothing comes through."""

    def stall() -> None:
        line.proxy.flows, line.harness.hurry = False, timedelta(seconds=0.5)

    def flow() -> None:
        line.proxy.flows, line.harness.hurry = True, timedelta(0)

    assert line.run(second=stall, third=flow) == ["usable", "timed_out", "usable"]
    assert line.notices() == ["mentor_lost", "mentor_back"]


@pytest.mark.parametrize(("delay", "piece"), [(0.001, 512), (0.02, 1 << 16)])
def test_a_thin_or_a_long_line_only_takes_longer(line: Line, delay: float, piece: int) -> None:
    line.proxy.delay, line.proxy.piece = delay, piece
    assert line.run() == ["usable"] * 3
    assert line.notices() == []


def test_another_model_in_the_mentors_place_is_in_the_log(line: Line, mentors: Mentors) -> None:
    port, other = mentors.start(model="another")

    def replace() -> None:
        line.proxy.target = port
        line.proxy.cut()

    assert line.run(second=replace) == ["usable"] * 3
    received = line.harness.payloads(EventKind.PROPOSALS_RECEIVED)
    models = [{record.model for record in item.answer.records} for item in received]
    assert models == [{"scripted"}, {"another"}, {"another"}]
    assert (len(line.backend.questions), len(other.questions)) == (1, 2)


def test_a_mentor_that_answers_twice_is_counted_once(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = servicer._Call._answer
    answered: list[str] = []

    async def answer_twice(call: Any, request: Any) -> None:
        for _ in range(2):
            await answer(call, request)
            answered.append(request.request_id)

    monkeypatch.setattr(servicer._Call, "_answer", answer_twice)
    assert line.run() == ["usable"] * 3
    assert sorted(answered) == ["s0", "s0", "s1", "s1", "s2", "s2"]
    assert line.notices() == []
