"""Several real processes write to one database at once: nothing is lost, nothing is half there."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mentorgrad.domain.event import Created, Segment
from mentorgrad.domain.query import EventQuery, RunFilter, View
from mentorgrad.domain.run import RunState
from mentorgrad.errors import Conflict
from mentorgrad.wire.codec import encode_event
from run_store.open import open_store
from tests.support.folding import replay

MINUTE = timedelta(minutes=1)
ROOT = Path(__file__).parents[2]

# Imports once and forks, for each URL that it reads, three writers and one that crashes. The
# writers open a new store at once, then make the same request, want the same run, and write runs of
# their own. The other dies by SIGKILL in the middle of its second append: rows are written, the
# commit is not reached.
SCRIPT = """
import sys, json, multiprocessing, os, signal
from datetime import timedelta
sys.path.insert(0, sys.argv[1])
from run_store import migrate
from run_store.open import open_store
from mentorgrad.errors import PreconditionFailed
from mentorgrad.domain.event import Created, Finished
from mentorgrad.domain.run import RunState, RunResult
from tests.support.event_maker import EventMaker
minute = timedelta(minutes=1)

def write(url, pipe):
    store = open_store(url)
    pipe.send("ready")
    contested = pipe.recv()
    try:
        claimed = store.claim(contested, str(os.getpid()), minute).attempt
    except PreconditionFailed as error:
        claimed = error.reason
    shared, _ = store.create(Created(request_id="shared"))
    run_ids = []
    for _ in range(2):
        run, _ = store.create(Created())
        lease = store.claim(run.run_id, str(os.getpid()), minute)
        make = EventMaker(run.run_id, lease.last_seq, 1)
        for chunk in range(6):
            step = chunk * 5
            store.append(run.run_id, 1, [make(make.segment(step + 1, step + 5)),
                                         make(make.scored(chunk, 1.0 / (chunk + 1)))])
            store.heartbeat(run.run_id, 1, minute)
        store.put_blob(run.run_id, 1, "prompt", run.run_id.encode())
        store.append(run.run_id, 1, [make(Finished(RunState.SUCCEEDED, RunResult()))])
        run_ids.append(run.run_id)
    pipe.send({"shared": shared.run_id, "runs": run_ids, "claimed": claimed})
    store.close()

def crash(url, pipe):
    store = open_store(url)
    pipe.send("ready")
    pipe.recv()
    run, _ = store.create(Created())
    lease = store.claim(run.run_id, "crasher", minute)
    make = EventMaker(run.run_id, lease.last_seq, 1)
    store.append(run.run_id, 1, [make(make.segment(1, 5)), make(make.scored(0, 0.5))])
    pipe.send(run.run_id)
    events = [make(make.segment(6, 60, shape=(64, 64))), make(make.scored(1, 0.25))]
    store._makers.take = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    store.append(run.run_id, 1, events)

fork = multiprocessing.get_context("fork")

def conduct(url):
    pipes, processes = [], []
    for target in (write, write, write, crash):
        here, there = fork.Pipe()
        processes.append(fork.Process(target=target, args=(url, there)))
        processes[-1].start()
        pipes.append(here)
    assert [pipe.recv() for pipe in pipes] == ["ready"] * 4
    print("ready", flush=True)
    contested = sys.stdin.readline().strip()
    for pipe in pipes:
        pipe.send(contested)
    said = [pipe.recv() for pipe in pipes]
    for process in processes:
        process.join()
    codes = [process.exitcode for process in processes]
    print(json.dumps({"reports": said[:3], "crashed": said[3], "codes": codes}), flush=True)

while url := sys.stdin.readline().strip():
    conduct(url)
"""


@dataclass(frozen=True)
class Written:
    """What the processes said."""

    url: str
    contested: str
    """The run that all writers wanted."""
    reports: list[Any]
    """Of the writers."""
    crashed: str
    """The run of the process that died."""


@pytest.fixture(scope="module")
def conductor() -> Iterator[subprocess.Popen[str]]:
    """The process that runs the script."""
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(ROOT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    ) as process:
        yield process


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def written(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    conductor: subprocess.Popen[str],
) -> Written:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('written')}/runs.db"
    else:
        url = request.getfixturevalue("module_postgres_url")
    assert conductor.stdin is not None
    assert conductor.stdout is not None
    print(url, file=conductor.stdin, flush=True)
    assert conductor.stdout.readline() == "ready\n"
    with contextlib.closing(open_store(url)) as store:
        contested = store.create(Created())[0].run_id
    print(contested, file=conductor.stdin, flush=True)
    answer = json.loads(conductor.stdout.readline())
    assert answer["codes"] == [0, 0, 0, -signal.SIGKILL]
    return Written(url, contested, answer["reports"], answer["crashed"])


def test_several_processes_lose_nothing(written: Written, event_maker: Any) -> None:
    store = open_store(written.url)
    outcomes = sorted(str(report["claimed"]) for report in written.reports)
    assert outcomes == ["1", "TRANSITION_FORBIDDEN", "TRANSITION_FORBIDDEN"]
    assert store.progress(written.contested) == (2, RunState.RUNNING)
    assert len({report["shared"] for report in written.reports}) == 1
    run_ids = {run_id for report in written.reports for run_id in report["runs"]}
    finished = store.list_runs(RunFilter(states=(RunState.SUCCEEDED,))).runs
    assert {run.run_id for run in finished} == run_ids
    assert len(run_ids) == 6
    assert len(store.list_runs().runs) == 9
    for run in finished:
        log = list(store.events(run.run_id, EventQuery(view=View.FULL)))
        assert [event.seq for event in log] == list(range(1, 16))
        assert run == replay(run.run_id, log)
        segments = [event.payload for event in log if isinstance(event.payload, Segment)]
        assert [segment.step_end for segment in segments] == list(range(5, 31, 5))
        for chunk, event in enumerate(e for e in log if isinstance(e.payload, Segment)):
            make = event_maker(run.run_id, event.seq - 1, 1)
            assert encode_event(event) == encode_event(
                make(make.segment(chunk * 5 + 1, chunk * 5 + 5))
            )
        assert store.read_artifact(run.run_id, "prompt") == run.run_id.encode()
        assert len(store.list_candidates(run.run_id).candidates) == 6
    store.close()


def test_a_crash_in_mid_append_leaves_nothing_half(written: Written, event_maker: Any) -> None:
    run_id, store = written.crashed, open_store(written.url)
    log = list(store.events(run_id, EventQuery(view=View.FULL)))
    assert [event.seq for event in log] == [1, 2, 3, 4]
    assert store.get_run(run_id) == replay(run_id, log)
    assert len(store.trajectory(run_id).snapshots) == 5
    assert len(store.list_candidates(run_id).candidates) == 1
    # And the next attempt goes on at once: no lock was left behind.
    store.transition(run_id, RunState.INTERRUPTED, attempt=1)
    lease = store.claim(run_id, "next", MINUTE)
    make = event_maker(run_id, lease.last_seq, lease.attempt)
    store.append(run_id, 2, [make(make.segment(6, 8))])
    assert store.get_run(run_id).step == 8
    store.close()


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/runs.db"
    else:
        yield request.getfixturevalue("postgres_url")


def test_a_worker_that_was_given_up_is_fenced(url: str, event_maker: Any) -> None:
    """Two openings stand for two hosts: the old worker comes back after the run was taken over."""
    old, new = open_store(url), open_store(url)
    run, _ = old.create(Created())
    lease = old.claim(run.run_id, "old", timedelta(0))
    make = event_maker(run.run_id, lease.last_seq, 1)
    old.append(run.run_id, 1, [make(make.segment(1, 5))])
    assert [item.run_id for item in new.expired()] == [run.run_id]
    new.transition(run.run_id, RunState.INTERRUPTED, "lease ran out", attempt=1)
    taken = new.claim(run.run_id, "new", MINUTE)
    for call in (
        lambda: old.append(run.run_id, 1, [make(make.segment(6, 7))]),
        lambda: old.heartbeat(run.run_id, 1, MINUTE),
        lambda: old.put_blob(run.run_id, 1, "prompt", b"stale"),
    ):
        with pytest.raises(Conflict) as caught:
            call()
        assert caught.value.reason == "STALE_ATTEMPT"
    assert old.progress(run.run_id) == (taken.last_seq, RunState.RUNNING)
    assert new.artifacts(run.run_id) == ()
    old.close()
    new.close()
