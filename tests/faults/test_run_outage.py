"""A whole run whose mentor refuses, dies or hangs: it ends as planned, and stops when asked to."""

from __future__ import annotations

import dataclasses
import signal
import socket
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import torch

from mentorgrad.model.advice import AnswerStatus
from mentorgrad.model.event import Created, EventKind, MentorLost, ProposalsReceived, StageStarted
from mentorgrad.model.query import EventQuery
from mentorgrad.model.run import RunState
from mentorgrad.model.spec import (
    Acceptance,
    Fallback,
    Function,
    MentorChoice,
    Optimizer,
    RunSpec,
    Stages,
)
from run_store.memory_store import MemoryRunStore
from trainer_service import execution
from trainer_service.composition import run_parts
from trainer_service.control import StopKind, Stopper
from trainer_service.execution import ARTIFACT, Parts, execute
from trainer_service.job import WorkerJob
from trainer_service.mentors import remote
from trainer_service.mentors.remote import Patience

SPEC = RunSpec(
    objective=Function("rastrigin", 2),
    optimizer=Optimizer(learning_rate=0.05),
    stages=Stages(count=3, steps=15),
    mentor=MentorChoice(
        "small", proposals=3, fallback=Fallback.RANDOM_TOKENS, timeout=timedelta(seconds=5)
    ),
    acceptance=Acceptance(finalists=1, probe_steps=3),
    seed=4,
)
FOREVER = dataclasses.replace(
    SPEC, mentor=dataclasses.replace(SPEC.mentor, timeout=timedelta(hours=1))
)
PATIENCE = Patience(acknowledge=600.0, absent=0.5, longest_pause=0.2)


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(remote, "Patience", lambda: PATIENCE)
    monkeypatch.setattr(execution, "SESSION_SECONDS", 600.0)


class Rig:
    """One run by the worker's own parts; what its mentor does can be listened to."""

    def __init__(self, address: str, spec: RunSpec) -> None:
        self.store = MemoryRunStore()
        self.run_id = self.store.create(Created(spec=spec))[0].run_id
        self.stopper = Stopper()
        self.asked = threading.Event()
        """The mentor was asked, or waited for: now is the time for a stop."""
        self.state_at_close: RunState | None = None
        job = WorkerJob(run_id=self.run_id, store="-", owner="-", mentors={"small": address})
        self._parts = run_parts(job)
        self.before: dict[str, Callable[[], None]] = {}
        """Mentor's method → what is called before it."""

    def parts(self) -> Parts:
        return dataclasses.replace(self._parts, mentor=self._mentor)

    def _mentor(self, run: Any, objective: Any) -> Any:
        mentor: Any = self._parts.mentor(run, objective)
        for name, call in {"close": self._note_state, **self.before}.items():
            setattr(mentor, name, _preceded(call, getattr(mentor, name)))
        return mentor

    def _note_state(self) -> None:
        self.state_at_close = self.store.get_run(self.run_id).state

    def execute(self) -> RunState:
        run = self.store.get_run(self.run_id)
        lease = self.store.claim(self.run_id, "test", timedelta(hours=1))
        return execute(self.store, run, lease, self.parts(), self.stopper)

    def execute_until_asked(self, kind: StopKind) -> RunState:
        """Runs in a thread and wants a stop when the mentor was asked, over and over, as the side
        thread of a worker does."""
        states: list[RunState] = []
        thread = threading.Thread(target=lambda: states.append(self.execute()), daemon=True)
        thread.start()
        assert self.asked.wait(60)
        for _ in range(600):
            self.stopper.request(kind)
            thread.join(0.1)
            if states:
                break
        (state,) = states
        return state

    def payloads(self, kind: EventKind) -> list[Any]:
        events = self.store.events(self.run_id, EventQuery(kinds=(kind,)))
        return [event.payload for event in events]


def _preceded(first: Callable[[], None], then: Callable[..., Any]) -> Callable[..., Any]:
    def both(*arguments: Any, **named: Any) -> Any:
        first()
        return then(*arguments, **named)

    return both


class Second:
    """Does something when it is called for the second time."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._calls = 0
        self._act = act

    def __call__(self) -> None:
        self._calls += 1
        if self._calls == 2:
            self._act()


@pytest.mark.parametrize(
    ("trouble", "statuses", "says"),
    [
        ("refused", ["unavailable", "unavailable"], "no mentor at"),
        ("killed", ["usable", "unavailable"], "no mentor at"),
        ("hung", ["usable", "timed_out"], "no answer from"),
    ],
)
def test_a_run_ends_as_planned_without_its_mentor(
    mentor_process: Callable[..., Any],
    free_port: int,
    monkeypatch: pytest.MonkeyPatch,
    trouble: str,
    statuses: list[str],
    says: str,
) -> None:
    if trouble == "refused":
        monkeypatch.setattr(execution, "SESSION_SECONDS", 0.2)
        rig = Rig(f"127.0.0.1:{free_port}", SPEC)
    else:
        process = mentor_process()
        number = signal.SIGKILL if trouble == "killed" else signal.SIGSTOP
        rig = Rig(process.address, SPEC)
        rig.before["propose"] = Second(lambda: process.signal(number))
    assert rig.execute() is RunState.SUCCEEDED

    run = rig.store.get_run(rig.run_id)
    assert (run.state, run.step) == (RunState.SUCCEEDED, 45)
    assert rig.store.read_artifact(rig.run_id, ARTIFACT)
    stages: list[StageStarted] = rig.payloads(EventKind.STAGE_STARTED)
    assert [stage.stage for stage in stages] == [0, 1, 2]
    (lost,) = rig.payloads(EventKind.MENTOR_LOST)
    assert isinstance(lost, MentorLost)
    assert lost.mentor == "small"
    assert lost.reason.startswith(statuses[-1])
    assert says in lost.reason
    answers: list[ProposalsReceived] = rig.payloads(EventKind.PROPOSALS_RECEIVED)
    assert [a.answer.status.value for a in answers if not a.is_fallback] == statuses
    instead = [a for a in answers if a.is_fallback]
    assert len(instead) == sum(status != "usable" for status in statuses)
    assert all(a.answer.status is AnswerStatus.USABLE for a in instead)
    assert len(rig.payloads(EventKind.RESTART_DECIDED)) == 2
    usage = run.usage
    assert (usage.mentor_calls, usage.fallbacks) == (2, len(instead))


STOPS = [(StopKind.CANCEL, RunState.CANCELLED), (StopKind.PAUSE, RunState.PAUSED)]


@pytest.mark.parametrize(("kind", "state"), STOPS)
def test_a_stop_while_the_mentor_hangs_is_recorded_before_it_is_closed(
    mentor_process: Callable[..., Any], kind: StopKind, state: RunState
) -> None:
    process = mentor_process()
    rig = Rig(process.address, FOREVER)

    def hang() -> None:
        process.signal(signal.SIGSTOP)
        rig.asked.set()

    rig.before["propose"] = hang
    assert rig.execute_until_asked(kind) is state
    assert rig.state_at_close is state
    assert rig.store.get_run(rig.run_id).step == 15
    assert rig.payloads(EventKind.PROPOSALS_RECEIVED) == []
    saved = rig.payloads(EventKind.CHECKPOINT_SAVED)
    assert len(saved) == (kind is StopKind.PAUSE)


@pytest.mark.parametrize(("kind", "state"), STOPS)
def test_a_stop_while_the_session_is_waited_for_needs_no_mentor(
    kind: StopKind, state: RunState
) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        rig = Rig(f"127.0.0.1:{listener.getsockname()[1]}", FOREVER)
        rig.before["wait_open"] = rig.asked.set
        assert rig.execute_until_asked(kind) is state
    assert rig.state_at_close is state
    assert rig.payloads(EventKind.STAGE_STARTED) == []
