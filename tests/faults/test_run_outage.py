"""A whole run whose mentor refuses, dies or hangs: it ends as planned, and stops when asked to."""

from __future__ import annotations

import dataclasses
import signal
import socket
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import torch

from campaigns.faults.run_harness import PATIENCE, SPEC, RunHarness, Second
from mentorgrad.domain.advice import AnswerStatus
from mentorgrad.domain.event import EventKind, MentorLost, ProposalsReceived, StageStarted
from mentorgrad.domain.run import RunState
from tests.support.mentor_process import MentorProcess
from trainer_service.mentors import remote
from trainer_service.objectives.torch_free import ARTIFACT
from trainer_service.running import execution
from trainer_service.running.stop_control import StopKind

PATIENT = dataclasses.replace(
    SPEC, mentor=dataclasses.replace(SPEC.mentor, timeout=timedelta(minutes=5))
)
FOREVER = dataclasses.replace(
    SPEC, mentor=dataclasses.replace(SPEC.mentor, timeout=timedelta(hours=1))
)


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(remote, "Patience", lambda: PATIENCE)
    monkeypatch.setattr(execution, "SESSION_SECONDS", 600.0)


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
    halted_mentor: MentorProcess,
    free_port: int,
    monkeypatch: pytest.MonkeyPatch,
    trouble: str,
    statuses: list[str],
    says: str,
) -> None:
    if trouble == "refused":
        monkeypatch.setattr(execution, "SESSION_SECONDS", 0.2)
        harness = RunHarness(f"127.0.0.1:{free_port}", PATIENT)
    else:
        process = mentor_process() if trouble == "killed" else halted_mentor
        number = signal.SIGKILL if trouble == "killed" else signal.SIGSTOP
        harness = RunHarness(process.address, PATIENT)

        def trouble_it() -> None:
            process.signal(number)
            if trouble == "hung":
                harness.hurry = timedelta(seconds=0.5)

        harness.before["propose"] = Second(trouble_it)
    assert harness.execute() is RunState.SUCCEEDED

    run = harness.store.get_run(harness.run_id)
    assert (run.state, run.step) == (RunState.SUCCEEDED, 45)
    assert harness.store.read_artifact(harness.run_id, ARTIFACT)
    stages: list[StageStarted] = harness.payloads(EventKind.STAGE_STARTED)
    assert [stage.stage for stage in stages] == [0, 1, 2]
    (lost,) = harness.payloads(EventKind.MENTOR_LOST)
    assert isinstance(lost, MentorLost)
    assert lost.mentor == "small"
    assert lost.reason.startswith(statuses[-1])
    assert says in lost.reason
    answers: list[ProposalsReceived] = harness.payloads(EventKind.PROPOSALS_RECEIVED)
    assert [a.answer.status.value for a in answers if not a.is_fallback] == statuses
    instead = [a for a in answers if a.is_fallback]
    assert len(instead) == sum(status != "usable" for status in statuses)
    assert all(a.answer.status is AnswerStatus.USABLE for a in instead)
    assert len(harness.payloads(EventKind.RESTART_DECIDED)) == 2
    usage = run.usage
    assert (usage.mentor_calls, usage.fallbacks) == (2, len(instead))


STOPS = [(StopKind.CANCEL, RunState.CANCELLED), (StopKind.PAUSE, RunState.PAUSED)]


@pytest.mark.parametrize(("kind", "state"), STOPS)
def test_a_stop_while_the_mentor_hangs_is_recorded_before_it_is_closed(
    halted_mentor: MentorProcess, kind: StopKind, state: RunState
) -> None:
    harness = RunHarness(halted_mentor.address, FOREVER)

    def hang() -> None:
        halted_mentor.signal(signal.SIGSTOP)
        harness.asked.set()

    harness.before["propose"] = hang
    assert harness.execute_until_asked(kind) is state
    assert harness.state_at_close is state
    assert harness.store.get_run(harness.run_id).step == 15
    assert harness.payloads(EventKind.PROPOSALS_RECEIVED) == []
    saved = harness.payloads(EventKind.CHECKPOINT_SAVED)
    assert len(saved) == (kind is StopKind.PAUSE)


@pytest.mark.parametrize(("kind", "state"), STOPS)
def test_a_stop_while_the_session_is_waited_for_needs_no_mentor(
    kind: StopKind, state: RunState
) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        harness = RunHarness(f"127.0.0.1:{listener.getsockname()[1]}", FOREVER)
        harness.before["wait_open"] = harness.asked.set
        assert harness.execute_until_asked(kind) is state
    assert harness.state_at_close is state
    assert harness.payloads(EventKind.STAGE_STARTED) == []
