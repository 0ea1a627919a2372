"""Sessions of a training loop of one's own: a real mentor process, and a real trainer to record."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from mentorgrad import errors
from mentorgrad.async_client import AsyncClient
from mentorgrad.cli.main import app
from mentorgrad.client import BackgroundLoop, Client, MentorClient
from mentorgrad.domain.advice import Accepted, AnswerStatus, ProposalOutcome, ProposalStatus, Wants
from mentorgrad.domain.event import (
    Branch,
    EventKind,
    Finished,
    RestartDecided,
    RunEvent,
    Segment,
    StageStarted,
)
from mentorgrad.domain.objective import External, LabelPrompt
from mentorgrad.domain.query import CandidateFilter, EventQuery
from mentorgrad.domain.run import CandidateSource, RunState, Score, Snapshot
from mentorgrad.domain.spec import RunSpec
from mentorgrad.mentor_client import AsyncMentorClient
from mentorgrad.run_recorder import RunRecorder
from mentorgrad.serialization import from_dict, to_dict
from mentorgrad.session import MentorSession
from mentorgrad.wire.advise_stream import Patience
from run_store.temporary_store import TemporaryRunStore
from tests.support.served_runs import served

TASK = "what a support message is about"


@pytest.fixture
def mentor(shared_mentor: Any) -> Iterator[MentorClient]:
    with MentorClient(shared_mentor.address) as client:
        yield client


@pytest.fixture
def trainer() -> Iterator[Client]:
    """A server on the facades' own loop: grpc's asyncio has one poller a process."""
    store, loop = TemporaryRunStore(), BackgroundLoop.acquire()
    context = served(store)
    _, address = loop.run(context.__aenter__())
    with Client(address) as client:
        yield client
    loop.run(context.__aexit__(None, None, None))
    loop.release()
    store.close()


def train(session: MentorSession, first: int, last: int) -> None:
    for step in range(first, last + 1):
        row = np.full((8, 4), step)
        session.push(step, 1.0 / step, text=f"words {step}", parameters=row, learning_rate=0.1)


def test_a_loop_is_advised_and_recorded(mentor: MentorClient, trainer: Client) -> None:
    with mentor.session(TASK, labels=("a", "b"), seed=3, record_to=trainer) as session:
        assert session.accepted is not None
        assert session.accepted.model == "scripted"
        assert session.wants.words
        train(session, 1, 6)
        here = session.candidate("words six", 0.5, accuracy=0.75, rows=10)
        answer = session.ask(4)
        assert answer.status is AnswerStatus.USABLE
        assert len(answer.proposals) == 4
        (record,) = answer.records
        assert "words six" in record.question
        assert TASK in record.question
        best, other, *rest = answer.proposals
        session.candidate(
            best.text, 0.25, source=CandidateSource.PROPOSAL, candidate_id=best.proposal_id
        )
        session.report(
            [
                ProposalOutcome(best.proposal_id, ProposalStatus.APPLIED, Score(0.25), 0.2),
                ProposalOutcome(other.proposal_id, ProposalStatus.LOST, Score(0.3), 0.4),
                *(ProposalOutcome(item.proposal_id) for item in rest),
            ],
            probe_steps=6,
            incumbent_probe_loss=0.45,
            reason="it was better",
        )
        assert session.stage == 0
        train(session, 7, 9)
        assert session.stage == 1
        assert session.ask(2).request_id == "s1"
        session.close(test=Score(0.3, 0.9, 20))
    run = session.run
    assert run == trainer.get_run(run.run_id if run else "")
    assert run.state is RunState.SUCCEEDED
    assert (run.stage, run.step, run.restarts_applied, run.best_selection_loss) == (1, 9, 1, 0.25)
    assert isinstance(run.spec.objective, External)
    assert run.spec.task.description == TASK
    usage = run.usage
    assert (usage.gradient_steps, usage.probe_steps, usage.evaluations) == (15, 6, 5)
    assert (usage.mentor_calls, usage.usable_answers) == (2, 2)
    assert run.result is not None
    assert run.result.returned.text == best.text
    assert run.result.test == Score(0.3, 0.9, 20)
    trajectory = trainer.trajectory(run.run_id)
    assert [snapshot.step for snapshot in trajectory.snapshots] == list(range(1, 10))
    assert trajectory.stages == (0,) * 6 + (1,) * 3
    assert trajectory.parameters is not None
    assert trajectory.parameters[:, 0, 0].tolist() == list(range(1, 10))
    decided = EventQuery(kinds=(EventKind.RESTART_DECIDED,))
    (event,) = trainer.events(run.run_id, decided)
    assert isinstance(event.payload, RestartDecided)
    assert event.payload.chosen_id == best.proposal_id
    assert event.payload.incumbent_id == here.candidate_id
    assert event.payload.branches[0] == Branch(here.candidate_id, 0.5, 0.45)
    found = trainer.list_candidates(run.run_id, CandidateFilter()).candidates
    assert [candidate.score.loss for candidate in found] == [0.25, 0.5]
    assert session.recording is not None
    assert not session.recording.exists()


def test_words_and_names_of_the_second_stage(mentor: MentorClient, trainer: Client) -> None:
    """Two questions without a step between end two stages, so no two proposals share a name."""
    with mentor.session(TASK, record_to=trainer) as session:
        session.push(1, 0.5, text="one")
        twice = [session.candidate("same", 0.5).candidate_id for _ in range(2)]
        assert twice == ["s0/step1/words", "s0/step1/words.2"]
        names = [p.proposal_id for _ in range(2) for p in session.ask(3).proposals]
        assert len(set(names)) == 6
        session.push(2, 0.5, text="two")
    assert session.run is not None
    started = trainer.events(session.run.run_id, EventQuery(kinds=(EventKind.STAGE_STARTED,)))
    assert [event.payload for event in started] == [
        StageStarted(0),
        StageStarted(1, 1),
        StageStarted(2, 1, "two"),
    ]


async def test_the_asynchronous_session_is_the_same(shared_mentor: Any, tmp_path: Path) -> None:
    store = TemporaryRunStore()
    file = tmp_path / "own.jsonl"
    async with served(store) as (_, address), AsyncClient(address) as trainer:
        async with (
            AsyncMentorClient(shared_mentor.address) as mentor,
            mentor.session(TASK, record_to=trainer, record_file=file) as session,
        ):
            session.push(1, 0.5, text="one")
            session.candidate("one", 0.7)
            asked = asyncio.create_task(session.ask(2))
            best, other = (await asked).proposals
            session.report(
                [
                    ProposalOutcome(best.proposal_id, ProposalStatus.APPLIED, Score(0.25), 0.2),
                    ProposalOutcome(other.proposal_id, ProposalStatus.LOST, Score(0.3), 0.4),
                ]
            )
        assert session.run is not None
        assert session.run.restarts_applied == 1
        assert (await trainer.get_run(session.run.run_id)).usage.mentor_calls == 1
    store.close()
    assert len(file.read_text().splitlines()) == session.run.last_seq


def test_a_recording_needs_no_trainer(
    mentor: MentorClient, trainer: Client, tmp_path: Path
) -> None:
    file = tmp_path / "own.jsonl"
    with mentor.session(TASK, record_file=file) as session:
        session.push(1, 0.5, text="one")
        session.candidate("one", 0.7)
    assert (session.run, session.recording) == (None, file)
    events = [from_dict(RunEvent, json.loads(line)) for line in file.read_text().splitlines()]
    assert trainer.import_run(events).state is RunState.SUCCEEDED


def test_numbers_of_other_libraries_are_taken_and_recorded(
    mentor: MentorClient, trainer: Client
) -> None:
    with mentor.session(TASK, record_to=trainer, seed=np.int64(3), n_tokens=np.int32(4)) as session:
        for step in np.arange(1, 4):
            row = torch.ones(2, dtype=torch.bfloat16, requires_grad=True)
            rate = torch.tensor(0.1)
            session.push(step, np.float32(0.5), text="a", parameters=row, learning_rate=rate)
        session.candidate("a", torch.tensor(0.5), accuracy=np.float16(0.5), rows=np.int64(4))
        answer = session.ask(np.int64(2), timeout=np.float32(60.0), seed=np.uint8(1))
        names = [item.proposal_id for item in answer.proposals]
        outcomes = [
            ProposalOutcome(name, ProposalStatus.LOST, Score(np.float64(0.5))) for name in names
        ]
        session.report(outcomes, probe_steps=np.int64(3), incumbent_probe_loss=np.float32(0.25))
        for wrong in (
            *({"step": True}, {"step": 1.5}, {"step": None}, {"text": "\ud83d"}, {"loss": "0.5"}),
            *({"loss": None}, {"parameters": [[1.0], [1.0, 2.0]]}, {"parameters": ["a", "b"]}),
        ):
            with pytest.raises(errors.InvalidInput, match=next(iter(wrong))):
                session.push(**{"step": 9, "loss": 0.5} | wrong)
        with pytest.raises(errors.InvalidInput, match="timeout"):
            session.ask(2, timeout=math.inf)
    assert session.run is not None
    assert (session.run.step, session.run.usage.probe_steps) == (3, 3)
    rows = trainer.trajectory(session.run.run_id).parameters
    assert rows is not None
    assert np.array_equal(rows, np.ones((3, 2)))


def test_a_loop_may_hand_over_parameters_of_some_steps(
    mentor: MentorClient, trainer: Client
) -> None:
    with mentor.session(TASK, record_to=trainer) as session:
        for step in range(1, 5):
            row = np.ones(2) if step % 2 else None
            session.push(step, 0.5, text="a", parameters=row)
    assert session.run is not None
    path = trainer.trajectory(session.run.run_id)
    assert [snapshot.step for snapshot in path.snapshots] == [1, 2, 3, 4]
    assert path.parameters is None
    one = trainer.trajectory(session.run.run_id, first_step=3, last_step=3)
    assert np.array_equal(one.parameters, np.ones((1, 2)))


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_sent_recorded_and_read_again(
    mentor: MentorClient, trainer: Client, number: float
) -> None:
    with mentor.session(TASK, record_to=trainer) as session:
        row = np.full(2, number)
        session.push(1, number, parameters=row, learning_rate=number, gradient_norm=number)
        session.candidate("a", number, accuracy=number)
        answer = session.ask(2)
        assert answer.status is AnswerStatus.USABLE
        outcomes = [
            ProposalOutcome(item.proposal_id, ProposalStatus.LOST, Score(number, number), number)
            for item in answer.proposals
        ]
        session.report(outcomes, incumbent_probe_loss=number)
        assert session.ask(2).status is AnswerStatus.USABLE
        session.close(test=Score(number, number))
    assert session.run is not None
    assert session.run.state is RunState.SUCCEEDED
    run = trainer.get_run(session.run.run_id)
    assert run.train_loss is not None
    assert repr(run.train_loss) == repr(number)
    log = list(trainer.events(run.run_id))
    assert [from_dict(RunEvent, json.loads(json.dumps(to_dict(e), allow_nan=False))) for e in log]
    assert trainer.list_candidates(run.run_id).candidates


def test_an_absent_mentor_is_a_status_and_no_error(trainer: Client, free_port: int) -> None:
    with (
        MentorClient(f"127.0.0.1:{free_port}") as mentor,
        mentor.session(TASK, record_to=trainer, patience=Patience(open=0.3, absent=0.3)) as session,
    ):
        assert session.accepted is None
        session.push(1, 0.5)
        hurried = session.ask(2, timeout=0.2)
        assert hurried.status in (AnswerStatus.TIMED_OUT, AnswerStatus.UNAVAILABLE)
        answer = session.ask(2)
        assert answer.status is AnswerStatus.UNAVAILABLE
        assert str(free_port) in answer.detail
    assert session.run is not None
    assert (session.run.state, session.run.usage.mentor_calls) == (RunState.SUCCEEDED, 2)


def test_misuse_is_an_error(mentor: MentorClient, trainer: Client, tmp_path: Path) -> None:
    with (
        pytest.raises(errors.InvalidInput, match="oracle"),
        mentor.session(TASK, strategy="oracle"),
    ):
        pass
    with pytest.raises(errors.InvalidInput, match="n_tokens"):
        mentor.session(TASK, n_tokens=0)
    with pytest.raises(errors.InvalidInput, match="external"):
        mentor.session(TASK, record_to=trainer, spec=RunSpec(objective=LabelPrompt()))
    with mentor.session(TASK) as session:
        with pytest.raises(errors.PreconditionFailed, match="not called yet"):
            session.report([])
        session.push(1, math.nan, parameters=np.zeros((8, 4)))  # a loss may diverge
        for wrong in ({"parameters": np.zeros((8, 5))}, {"text": "x" * 100_001}):
            with pytest.raises(errors.InvalidInput):
                session.push(2, 0.5, **wrong)
        with pytest.raises(errors.InvalidInput, match="step"):
            session.push(0, 0.5)
        with pytest.raises(errors.InvalidInput, match="count"):
            session.ask(0)
        with pytest.raises(errors.InvalidInput, match="parameters"):
            session.push(2, 0.5, parameters=np.zeros((2, 1 << 20)))
        assert session.ask(2).status is AnswerStatus.USABLE
        # What the mentor refuses is an answer, and the session comes back.
        assert session.ask(200).status is AnswerStatus.REFUSED
        assert session.ask(2).status is AnswerStatus.USABLE
    assert session.run is None
    early = mentor.session(TASK)
    for other in (early, session):
        for call in (lambda: other.push(3, 0.1), lambda: other.ask(1)):  # noqa: B023
            with pytest.raises(errors.PreconditionFailed):
                call()
    session.close()
    with pytest.raises(errors.PreconditionFailed), session:
        pass
    file = tmp_path / "taken.jsonl"
    file.touch()
    taken = mentor.session(TASK, record_to=trainer, record_file=file)
    with pytest.raises(errors.InvalidInput, match="record_file"), taken:
        pass


def test_raw_parameters_go_to_a_mentor_that_wants_them(
    mentor: MentorClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    with mentor.session(TASK) as session:
        monkeypatch.setattr(session._stream, "accepted", Accepted(Wants(parameters=True)))
        monkeypatch.setattr(session._stream.outbox, "tell", told.append)
        train(session, 1, 3)
        session.candidate("three", 0.5)
        session.push(4, 0.5)  # without parameters: the words alone are told
        train(session, 5, 5)
        session.candidate("five", 0.5)
    batches = [batch for batch in told if batch.snapshots]
    assert [[snapshot.step for snapshot in batch.snapshots] for batch in batches] == [
        [1, 2, 3],
        [4, 5],
    ]
    assert batches[0].parameters[:, 0, 0].tolist() == [1, 2, 3]
    assert batches[1].parameters is None


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (ValueError("the loss is odd"), RunState.FAILED, "ValueError: the loss is odd"),
        (KeyboardInterrupt(), RunState.CANCELLED, "interrupted"),
    ],
)
def test_a_loop_that_ends_early_is_recorded_as_that(
    mentor: MentorClient, trainer: Client, error: BaseException, state: RunState, reason: str
) -> None:
    session = mentor.session(TASK, record_to=trainer)

    def fail() -> None:
        with session:
            session.push(1, 0.5)
            raise error

    with pytest.raises(type(error)):
        fail()
    assert session.run is not None
    assert (session.run.state, session.run.reason, session.run.step) == (state, reason, 1)


def test_without_a_trainer_the_log_is_kept_and_can_be_imported(
    mentor: MentorClient, trainer: Client, free_port: int
) -> None:
    nobody = Client(f"127.0.0.1:{free_port}")
    with (
        pytest.raises(errors.Unavailable) as raised,
        mentor.session(TASK, record_to=nobody) as session,
    ):
        session.push(1, 0.5)
    nobody.close()
    (note,) = raised.value.__notes__
    assert str(session.recording) in note
    done = CliRunner().invoke(
        app, [*note.split(": mentorgrad ")[1].split(), "--server", trainer.target]
    )
    assert done.exit_code == 0, done.stderr
    assert "succeeded" in done.stdout
    assert session.recording is not None
    session.recording.unlink()
    session.recording.parent.rmdir()


CRASH = """
import os, signal, sys
from pathlib import Path
from mentorgrad.domain.run import Snapshot
from mentorgrad.domain.objective import External
from mentorgrad.domain.spec import RunSpec
from mentorgrad.run_recorder import RunRecorder
recorder = RunRecorder(RunSpec(objective=External("crashing")), Path(sys.argv[1]))
for step in range(1, 251):
    recorder.snapshot(0, Snapshot(step, 0.5), None)
recorder._file.write('{"run_id": "torn')
recorder._file.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_loop_had_done_can_be_imported(trainer: Client, tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    killed = subprocess.run([sys.executable, "-c", CRASH, str(file)], check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    command = ["runs", "import", str(file), "--server", trainer.target]
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code == 2
    done = CliRunner().invoke(app, [*command, "--unfinished"])
    assert done.exit_code == 0, done.stderr
    run = trainer.get_run(done.stdout.split()[0])
    assert (run.state, run.step, run.last_seq) == (RunState.FAILED, 200, 5)
    assert run.reason == "the recording ends after event 4 without a final state"


def test_a_recording_takes_no_memory_and_splits_into_segments(tmp_path: Path) -> None:
    recorder = RunRecorder(RunSpec(objective=External()), tmp_path / "long.jsonl")
    row = np.ones(16_384, dtype=np.float32)  # 64 KiB
    for step in range(1, 11):
        recorder.snapshot(step // 8, Snapshot(step, 0.5), row)
        assert recorder._bytes < 256 * 1024
    recorder.finish(Finished())
    sizes = [
        (event.payload.stage, len(event.payload.snapshots))
        for event in recorder.events()
        if isinstance(event.payload, Segment)
    ]
    assert sizes == [(0, 4), (0, 3), (1, 3)]
    assert os.path.getsize(recorder.path) > 10 * row.nbytes
