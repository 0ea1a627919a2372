"""What a tune says while its run goes on, and when it stops it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from mentorgrad.cli.support.output import Output
from mentorgrad.cli.support.tune_watching import Heartbeat, TuneProgress, follow
from mentorgrad.domain.event import Created, Finished, RunEvent, Segment, StageStarted, StateChanged
from mentorgrad.domain.run import Run, RunState, Snapshot
from mentorgrad.domain.spec import Criterion, RunSpec, Stages
from mentorgrad.tune.stall import Stall
from tests.support.event_maker import EventMaker

SPEC = RunSpec(stages=Stages(count=2, steps=10))


def segment(first: int, last: int, stage: int = 0) -> Segment:
    snapshots = tuple(Snapshot(step=step, train_loss=1.0) for step in range(first, last + 1))
    return Segment(stage=stage, step_start=first, step_end=last, snapshots=snapshots)


def test_it_says_what_goes_on_and_how_long_it_takes() -> None:
    now = [0.0]
    event = EventMaker("a-run")
    progress = TuneProgress(SPEC, "ten rows", 100.0, lambda: now[0])
    assert progress.text() == "waiting for a worker, for 0 s"
    progress.see(event(Created(spec=SPEC)))
    progress.see(event(StateChanged(RunState.RUNNING)))
    now[0] = 20.0
    assert progress.text() == "loading the model and encoding the texts, for 20 s"
    progress.see(event(EventMaker.scored(0, 1.0)))
    assert progress.text() == "training, 20 s in all"
    progress.see(event(StageStarted(0)))
    progress.see(event(segment(1, 5)))
    now[0] = 30.0
    progress.see(event(segment(6, 10)))
    assert progress.text() == "10 of 20 steps, about 20 s of training left"
    now[0] = 95.0
    assert progress.text() == "10 of 20 steps, about 5 s of training left"  # until the deadline
    progress.see(event(StageStarted(1, step=10)))
    progress.see(event(segment(11, 20, stage=1)))
    assert progress.text() == "testing: ten rows; 2 min in all"


def test_a_silence_ends_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    told = threading.Event()

    def text() -> str:
        told.set()
        return "still here"

    with Heartbeat(Output(), text, 0.001):
        assert told.wait(60)
    assert capsys.readouterr().out.startswith("  ... still here\n")
    with Heartbeat(Output(), text, 3600.0) as heartbeat:
        heartbeat.heard()
    assert capsys.readouterr().out == ""


class OneRun:
    """A client of a trainer with one run, which ends as it was asked to."""

    def __init__(self, payloads: Sequence[Any], seen: int) -> None:
        event = EventMaker("a-run")
        self._events = [event(payload) for payload in payloads]
        self._seen = seen
        self.finished = 0

    def get_run(self, run_id: str) -> Run:
        return Run(run_id=run_id, last_seq=self._seen)

    def finish_run(self, run_id: str) -> None:
        self.finished += 1

    def watch(self, run_id: str) -> Iterator[RunEvent]:
        yield from self._events
        yield EventMaker("a-run", len(self._events))(Finished(RunState.SUCCEEDED))


COURSE = [
    Created(spec=SPEC),
    EventMaker.scored(0, 1.0),
    *(StageStarted(stage) for stage in range(4)),
]


@pytest.mark.parametrize(
    ("seen", "reasons"),
    [
        (0, ["no better candidate in 2 stages"]),
        (len(COURSE), []),  # it went on then, and goes on now
    ],
)
def test_a_run_that_stalls_is_finished_once(
    seen: int, reasons: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    client: Any = OneRun(COURSE, seen)
    stall = Stall(2, Criterion.LOSS, 1e9, lambda: 0.0)
    progress = TuneProgress(SPEC, "ten rows")
    told: list[str] = []
    state = follow(client, "a-run", Output(), progress, stall, told.append)
    assert state is RunState.SUCCEEDED
    assert told == reasons
    assert client.finished == len(reasons)
    out = capsys.readouterr().out
    assert ("with its best so far" in out) == (not seen)
    assert ("stage 1 of 2" in out) == (not seen)
    assert progress.finishing == (not seen)


def test_a_run_that_has_lost_its_worker_is_asked_again() -> None:
    course = [*COURSE, StateChanged(RunState.INTERRUPTED), StateChanged(RunState.RUNNING)]
    client: Any = OneRun([*course, StageStarted(3)], 0)
    stall = Stall(2, Criterion.LOSS, 1e9, lambda: 0.0)
    follow(client, "a-run", Output(), TuneProgress(SPEC, "ten rows"), stall, lambda reason: None)
    assert client.finished == 2
