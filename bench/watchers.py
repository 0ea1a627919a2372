"""How soon events reach many watchers of many runs, and what the watchers cost.

    python -m bench.watchers [--watchers 500] [--runs 500] [--appends 100] [--seconds 20]

A history service in a process of its own serves an SQLite store. Each watcher is a `StreamEvents`
call with `follow`, of one of the runs in turn. Meanwhile this process appends events of ten
snapshots to runs in turn, so many per second. The delivery of an event takes from its commit to its
arrival at a watcher; both are clocks of this process, which also receives for all watchers. On a
busy machine, compare it with how late a timer of this process is meanwhile (`timer_late_ms`).

The memory of a watcher is what the service's resident memory grows by, divided by the watchers; it
includes the tailers of the runs. The service's processor time is that of one second, with no
appends (`idle_cores`) and with them (`busy_cores`). The service's limit of streams is raised to the
number of watchers; by default one caller may have 256, and all callers 512.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import random
import sys
import tempfile
import threading
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
import structlog

from bench.paired import environment
from bench.services import announced
from mentorgrad.domain.event import Created, RunEvent, Segment
from mentorgrad.domain.run import Snapshot
from mentorgrad.domain.spec import RunSpec
from mentorgrad.v1 import history_service_pb2 as pb
from mentorgrad.v1 import history_service_pb2_grpc
from run_store.open import open_store
from run_store.protocols import RunStore
from run_store.servicer import SERVICE_NAME, HistoryServicer
from service_common.places import LIMITS, CallKind, Limit
from service_common.server import Server

_SETTLED = 3.0
"""Seconds after which the streams have begun, and the first events are delivered."""

_CHANNELS = 8
"""Connections that the watchers share: a server takes at most 256 calls of one."""


async def serve(url: str, watchers: int) -> None:
    """Serves the history until the process is ended."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    store = open_store(url)
    limits = dict(LIMITS) | {CallKind.SERVER_STREAM: Limit(watchers, watchers)}
    server = Server("127.0.0.1:0", [SERVICE_NAME], limits=limits)
    servicer = HistoryServicer(store, lambda: store)
    add: Any = history_service_pb2_grpc.add_HistoryServiceServicer_to_server
    add(servicer, server.grpc)
    print(json.dumps({"address": await server.start(), "pid": os.getpid()}), flush=True)
    await asyncio.Event().wait()


class Appender:
    """Appends events to runs in turn, in a thread of its own.

    Args:
        store: The store.
        runs: Number of runs.
        rate: Events per second.
    """

    def __init__(self, store: RunStore, runs: int, rate: float) -> None:
        self._store = store
        self._seqs: dict[str, int] = {}
        for number in range(runs):
            run, _ = store.create(Created(RunSpec(name=f"watched {number}")))
            self._seqs[run.run_id] = store.claim(run.run_id, "bench", timedelta(hours=1)).last_seq
        self.run_ids = list(self._seqs)
        random.Random(0).shuffle(self.run_ids)
        self._rate = rate
        self.committed: dict[tuple[str, int], float] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._append)

    def begin(self) -> None:
        """Starts appending."""
        self._thread.start()

    def end(self) -> None:
        """Stops appending."""
        self._ended.set()
        self._thread.join()

    def _append(self) -> None:
        due, count = time.perf_counter(), 0
        while not self._ended.wait(max(due - time.perf_counter(), 0)):
            run_id = self.run_ids[count % len(self.run_ids)]
            seq = self._seqs[run_id] = self._seqs[run_id] + 1
            first = 10 * seq
            snapshots = tuple(
                Snapshot(step, 1.0, 0.1, 0.1, "kind words") for step in range(first, first + 10)
            )
            segment = Segment(0, first, first + 9, snapshots)
            event = RunEvent(run_id, seq, 1, datetime.now(UTC), segment)
            self._store.append(run_id, 1, [event])
            self.committed[run_id, seq] = time.perf_counter()
            due, count = due + 1 / self._rate, count + 1


async def watch(stub: Any, run_id: str, arrived: dict[tuple[str, int], list[float]]) -> None:
    """Follows a run, and notes when its events arrive."""
    async for response in stub.StreamEvents(pb.StreamEventsRequest(run_id=run_id, follow=True)):
        arrived.setdefault((run_id, response.event.seq), []).append(time.perf_counter())


async def time_timers(late: list[float]) -> None:
    """Notes how late a timer is, again and again: what the machine is to blame for."""
    while True:
        due = time.perf_counter() + 0.02
        await asyncio.sleep(0.02)
        late.append(time.perf_counter() - due)


def quantiles(seconds: list[float]) -> dict[str, float]:
    """Median, 99th percentile and maximum, milliseconds."""
    shares = (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
    return {name: round(1000 * float(np.quantile(seconds, share)), 1) for name, share in shares}


def memory_of(pid: int) -> int:
    """Resident memory of a process, bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def processor_of(pid: int) -> float:
    """Processor time of a process, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(options: argparse.Namespace, address: str, pid: int, store: RunStore) -> Any:
    """Watches while events are appended."""
    appender = Appender(store, options.runs, options.appends)
    arrived: dict[tuple[str, int], list[float]] = {}
    apart = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    channels = [grpc.aio.insecure_channel(address, options=apart) for _ in range(_CHANNELS)]
    stub: Any = history_service_pb2_grpc.HistoryServiceStub
    stubs = [stub(channel) for channel in channels]
    first = asyncio.create_task(watch(stubs[0], appender.run_ids[0], arrived))
    await asyncio.sleep(_SETTLED)  # so that the service has what it needs for any watcher
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    before = memory_of(pid)
    tasks = []
    for number in range(options.watchers):
        one, run_id = stubs[number % _CHANNELS], appender.run_ids[number % options.runs]
        tasks.append(asyncio.create_task(watch(one, run_id, arrived)))
        await asyncio.sleep(0.005)  # a server refuses floods of calls
    await asyncio.sleep(_SETTLED)
    idle, began = processor_of(pid), time.perf_counter()
    await asyncio.sleep(_SETTLED)
    idle = (processor_of(pid) - idle) / (time.perf_counter() - began)
    arrived.clear()
    busy, began = processor_of(pid), time.perf_counter()
    late: list[float] = []
    timers = asyncio.create_task(time_timers(late))
    appender.begin()
    await asyncio.sleep(options.seconds)
    timers.cancel()
    busy = (processor_of(pid) - busy) / (time.perf_counter() - began)
    await asyncio.to_thread(appender.end)
    memory = (memory_of(pid) - before) / options.watchers
    await asyncio.sleep(_SETTLED)
    for task in tasks:
        assert not task.done(), task.exception()
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for channel in channels:
        await channel.close()
    taken = [
        moment - appender.committed[key] for key, moments in arrived.items() for moment in moments
    ]
    expected = len(appender.committed) * options.watchers // options.runs
    return {
        "watchers": options.watchers,
        "runs": options.runs,
        "appends_per_second": options.appends,
        "delivered": len(taken),
        "missing": max(expected - len(taken), 0),
        "delivery_ms": quantiles(taken),
        "timer_late_ms": quantiles(late),
        "memory_per_watcher_kib": round(memory / 1024, 1),
        "idle_cores": round(idle, 3),
        "busy_cores": round(busy, 3),
    }


def main() -> None:
    """Runs the benchmark and prints the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--watchers", type=int, default=500)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--appends", type=float, default=100.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.serve, options.watchers))
        return
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/runs.sqlite"
        with closing(open_store(url)) as store:
            command = ["-m", "bench.watchers", "--serve", url, "--watchers", str(options.watchers)]
            with announced(command) as said:
                measured = asyncio.run(measure(options, said["address"], said["pid"], store))
    print(json.dumps(measured | {"environment": environment("grpcio", "sqlalchemy")}))


if __name__ == "__main__":
    main()
