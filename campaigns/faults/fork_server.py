"""Workers and services as real processes that start in milliseconds, to be killed many times.

``python -m campaigns.faults.fork_server`` does the slow imports once and forks what it is told to
run, so that a kill costs only the recovery. The forked processes run the worker's own `main` and
the service's own `Scheduler`, over a real store; only the executor differs, since the product
spawns its workers. The fork server computes with one thread and opens no channel, which makes
forking safe.

    fork server ──fork──▶ service (scheduler) ──fork──▶ fork parent ──fork──▶ worker

A service has threads, so its workers are forked from a separate process, the fork parent. It dies
with its service, so the worker finds its parent gone as it would in production.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import gc
import importlib
import io
import json
import os
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import torch

from campaigns.faults.kill_cases import Kill
from mentorgrad.domain.agent import Agent
from mentorgrad.domain.run import DesiredState
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import MentorgradError
from run_store import sql_agents
from run_store.open import open_store
from run_store.protocols import Lease
from service_common import logs
from trainer_service import worker
from trainer_service.agent import heartbeat, scheduler
from trainer_service.job import WorkerJob
from trainer_service.objectives import build as objectives
from trainer_service.running import stop_control
from trainer_service.running.recorder import Recorder
from trainer_service.running.stop_control import StopRequest

ROOT = Path(__file__).parents[2]
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


@dataclass
class Campaign:
    """One run, and all that is done to it."""

    database: str
    """SQLite file."""
    run_id: str
    """A queued run in it."""
    folder: str
    """For the list of kills."""
    kills: list[Kill]
    """In order; one an attempt."""
    tear: bool = False
    """Whether the end of the write-ahead log is torn off after each kill."""
    cut_checkpoint: bool = False
    """Whether the newest checkpoint loses half of its bytes after each kill."""
    service: int = 0
    """Process id of the present service."""
    fork_parent: int = 0
    """Process id of its workers' parent."""

    @property
    def url(self) -> str:
        return f"sqlite:///{self.database}"

    @property
    def done(self) -> Path:
        return Path(self.folder) / f"{self.run_id}.kills"

    def done_kills(self) -> list[dict[str, Any]]:
        """Those that happened: victim, time, worker."""
        lines = self.done.read_text().splitlines() if self.done.exists() else []
        return [json.loads(line) for line in lines]


class ForkServer:
    """The fork server's process, as a test holds it."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "fork_server.log"
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "campaigns.faults.fork_server"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                text=True,
                env=os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
            )
        self._hear()

    def run(self, database: Path, run_id: str, kills: Sequence[Kill] = (), **more: Any) -> Any:
        """Has a queued run executed and killed; returns the report when all is quiet again."""
        folder = str(self.log.parent)
        campaign = Campaign(str(database), run_id, folder, list(kills), **more)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(campaign)) + "\n")
        self._process.stdin.flush()
        return self._hear()

    def _hear(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self.log.read_text()
        heard = json.loads(line)
        assert "error" not in heard, (heard, self.log.read_text())
        return heard

    def close(self) -> None:
        try:
            self._process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise


# -- in the fork server ---------------------------------------------------------------------------


def main() -> None:
    logs.configure("info")
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    _hasten()
    _say({"ready": os.getpid()})
    for line in sys.stdin:
        document = json.loads(line)
        kills = [Kill(**kill) for kill in document.pop("kills")]
        _say(_conduct(Campaign(kills=kills, **document)))


def _hasten() -> None:
    """Does once what every worker would, and makes all that waits impatient."""
    for name in ("composition", "optimizers.first_order", "run_composition", "running.telemetry"):
        importlib.import_module(f"trainer_service.{name}")
    objectives.build_objective = _remember_objectives()  # type: ignore[assignment]
    stop_control.LEASE = worker.LEASE = scheduler.LEASE = timedelta(seconds=1)
    stop_control.HEARTBEAT_SECONDS = 0.1
    # As seldom as a lease allows: a service looks so often for as long as its run lasts.
    stop_control.POLL_SECONDS = 0.05
    scheduler.POLL_SECONDS = 0.1
    heartbeat.BEAT_SECONDS, heartbeat.LEASE = 0.1, scheduler.LEASE
    sql_agents.SILENT = scheduler.LEASE
    worker.AGENT_SILENCE = 0.0


def _remember_objectives() -> Callable[..., Any]:
    """`build_objective`, once per objective: forked workers share what the server has built."""
    build, made = objectives.build_objective, dict[str, Any]()

    def remembered(spec: RunSpec, **options: Any) -> Any:
        key = repr((spec.objective, spec.task, spec.seed))
        if key not in made:
            made[key] = build(spec, **options)
        return made[key]

    return remembered


def _conduct(campaign: Campaign) -> dict[str, Any]:
    """Services, one after the other, until one of them sees the run's end."""
    store = open_store(campaign.url)
    spec = store.get_run(campaign.run_id).spec
    store.close()
    if spec.task is not None:
        importlib.import_module("sklearn.linear_model")  # of the baselines
    objectives.build_objective(spec, device=torch.device("cpu"))
    gc.freeze()  # a child that collects would copy all of this
    code, torn, cut = None, 0, 0
    while code != 0:
        campaign.service = os.fork()
        if campaign.service == 0:
            _be_service(campaign)
        code = os.waitstatus_to_exitcode(os.waitpid(campaign.service, 0)[1])
        if code not in (0, -signal.SIGKILL):
            return {"error": f"the service ended with {code}"}
        if code != 0 and (campaign.tear or campaign.cut_checkpoint):
            _reap_orphans()
            torn += campaign.tear and _tear(Path(campaign.database + "-wal"))
            cut += campaign.cut_checkpoint and _cut_checkpoint(campaign)
    codes = _reap_orphans()
    done = campaign.done_kills()
    stopped = [codes[kill["worker"]] for kill in done if kill["victim"] == "stopped"]
    return {"kills": done, "stopped": stopped, "torn": torn, "cut": cut}


def _reap_orphans() -> dict[int, int]:
    """Waits for all that a dead service left; exit code by process id."""
    codes = {}
    while True:
        try:
            pid, status = os.wait()
        except ChildProcessError:
            return codes
        codes[pid] = os.waitstatus_to_exitcode(status)


def _tear(log: Path) -> bool:
    """Half of the last page is not there."""
    if not log.exists() or log.stat().st_size < 4096:
        return False
    os.truncate(log, log.stat().st_size - 2048)
    return True


def _cut_checkpoint(campaign: Campaign) -> bool:
    """What a disk may do to bytes behind the database's back."""
    with contextlib.closing(sqlite3.connect(campaign.database)) as connection, connection:
        changed = connection.execute(
            "UPDATE blobs SET data = substr(data, 1, size / 2) WHERE rowid ="
            " (SELECT max(b.rowid) FROM blobs b JOIN events e ON e.run_id = b.run_id"
            " WHERE b.run_id = ? AND e.kind = 'checkpoint_saved'"
            " AND instr(e.data, CAST(b.name AS BLOB)))",
            (campaign.run_id,),
        )
        return changed.rowcount == 1


def _be_service(campaign: Campaign) -> NoReturn:
    try:
        campaign.service = os.getpid()
        here, there = socket.socketpair()
        campaign.fork_parent = os.fork()
        if campaign.fork_parent == 0:
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            here.close()
            _run_fork_parent(campaign, there)
        there.close()
        asyncio.run(_serve(campaign, here))
        os._exit(0)
    finally:
        os._exit(70)


async def _serve(campaign: Campaign, fork_parent: socket.socket) -> None:
    store = open_store(campaign.url)
    executor = ForkParent(campaign, *await asyncio.open_connection(sock=fork_parent))
    runs = scheduler.Scheduler(store, executor, ["cpu"], per_device=1, max_restarts=10**6)
    runs.start()
    agent = Agent(name=f"service-{os.getpid()}")
    await heartbeat.AgentHeartbeat(store, lambda: agent, runs).start()
    while not store.progress(campaign.run_id)[1].is_final:
        _let_go_on(campaign)
        await asyncio.sleep(0.1)
    _let_go_on(campaign)  # the run may have ended between two looks


def _let_go_on(campaign: Campaign) -> None:
    """Workers that were stopped go on when another one has their run."""
    for kill in campaign.done_kills():
        if kill["victim"] == "stopped" and _attempt(campaign) > kill["attempt"]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(kill["worker"], signal.SIGCONT)


_STOP = """
import os, signal, sqlite3, sys
store = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
store.execute("BEGIN IMMEDIATE")
os.kill(int(sys.argv[2]), signal.SIGSTOP)
store.execute("ROLLBACK")
os.kill(int(sys.argv[3]), signal.SIGKILL)
"""
"""Stops a worker while it holds no lock of SQLite's, which nobody could take from it."""


class ForkParent:
    """An `Executor` and, for its one worker at a time, a `WorkerHandle`."""

    def __init__(
        self, campaign: Campaign, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.run_id, self.devices = campaign.run_id, ("cpu",)
        self.attempt, self.has_begun = 0, False
        self._campaign = campaign
        self._reader, self._writer = reader, writer

    async def start(self, lease: Lease, devices: Sequence[str]) -> ForkParent:
        self.attempt, self.has_begun = lease.attempt, False
        job = WorkerJob(
            lease.run_id,
            self._campaign.url,
            lease.attempt,
            parent=self._campaign.fork_parent,
        )
        self._writer.write(job.to_line())
        await self._writer.drain()
        return self

    async def wait(self) -> int:
        while True:
            line = (await self._reader.readline()).strip()
            if not line:  # the worker begins a line of its own before each
                continue
            said = json.loads(line)
            if "ended" in said:
                return int(said["ended"])
            self.has_begun = True

    def alive(self) -> bool:
        return True

    def is_silent(self) -> bool:
        return self.has_begun  # it renews its lease itself

    def tell(self, desired: DesiredState) -> None: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...

    async def close(self) -> None: ...


def _run_fork_parent(campaign: Campaign, service: socket.socket) -> NoReturn:
    try:
        with service.makefile("rwb") as pipe:
            for line in pipe:
                pid = os.fork()
                if pid == 0:
                    os.dup2(service.fileno(), 1)
                    _be_worker(campaign, line)
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                pipe.write(json.dumps({"ended": code}).encode() + b"\n")
                pipe.flush()
        os._exit(0)
    finally:
        os._exit(70)


def _be_worker(campaign: Campaign, job: bytes) -> NoReturn:
    try:
        sys.stdin = io.TextIOWrapper(io.BytesIO(job))
        worker.StopRequest = functools.partial(Doomed, campaign)  # type: ignore[assignment, misc]
        os._exit(worker.main([]))
    finally:
        os._exit(70)


class Doomed(StopRequest):
    """Kills its worker, or the service, or both, when the attempt has come so far."""

    def __init__(self, campaign: Campaign) -> None:
        super().__init__()
        self._campaign = campaign
        done = len(campaign.done_kills())
        self._kill = campaign.kills[done] if done < len(campaign.kills) else None
        self._checks = self._blobs = 0
        self._happened, self._refused = threading.Event(), threading.Event()
        if self._kill is not None and self._kill.blob:
            self._watch_blobs()
        if self._kill is not None and self._kill.victim == "disk":
            self._watch_writes()

    def check(self) -> None:
        super().check()
        self._checks += 1
        if self._kill is not None and self._checks == self._kill.checks:
            if self._kill.victim == "stopped":  # the run is not to end before
                self._strike()
            else:
                threading.Thread(target=self._strike, daemon=True).start()
        if self._kill is not None and self._kill.checks:
            while self._checks > self._kill.checks + self._kill.ahead:
                super().check()
                if self._happened.wait(0.01):
                    break

    def _watch_blobs(self) -> None:
        import sqlalchemy as sa

        @sa.event.listens_for(sa.engine.Engine, "after_cursor_execute")
        def after(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
            if statement.startswith("INSERT INTO blobs"):
                self._blobs += 1
                if self._kill is not None and self._blobs == self._kill.blob:
                    self._strike()

    def _watch_writes(self) -> None:
        write = Recorder._store_batch

        def watched(recorder: Recorder, batch: Any) -> None:
            try:
                write(recorder, batch)
            except MentorgradError:
                self._refused.set()
                raise

        Recorder._store_batch = watched  # type: ignore[method-assign]

    def _fill_disk(self) -> None:
        """No file grows any further until a write was refused; the log is on that disk too."""
        least, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, most))
        self._happened.set()
        self._refused.wait(60)
        time.sleep(0.1)
        resource.setrlimit(resource.RLIMIT_FSIZE, (least, most))

    def _strike(self) -> None:
        assert self._kill is not None
        time.sleep(self._kill.delay)
        victim, here = self._kill.victim, os.getpid()
        said = {"victim": victim, "time": time.time(), "worker": here}
        said["attempt"] = _attempt(self._campaign)
        with self._campaign.done.open("a") as done:
            done.write(json.dumps(said) + "\n")
        if victim == "disk":
            self._fill_disk()
        elif victim == "stopped":
            stop = [_STOP, self._campaign.database, str(here), str(self._campaign.service)]
            subprocess.run([sys.executable, "-c", *stop], check=True)
            self._happened.set()
        else:
            if victim != "worker":
                os.kill(self._campaign.service, signal.SIGKILL)
            if victim != "service":
                os.kill(here, signal.SIGKILL)


def _attempt(campaign: Campaign) -> int:
    with contextlib.closing(sqlite3.connect(campaign.database)) as connection:
        row = connection.execute("SELECT attempt FROM runs WHERE run_id = ?", (campaign.run_id,))
        return int(row.fetchone()[0])


def _prctl(option: int, value: int) -> None:
    assert ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0


def _say(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
