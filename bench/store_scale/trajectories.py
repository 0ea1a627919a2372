"""500 points of a long trajectory, `view = SUMMARY`: in the store, and through the service."""

from __future__ import annotations

import argparse
import contextlib
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from bench.store_scale import made
from mentorgrad.client import BackgroundLoop, Client
from mentorgrad.domain.query import Thinning, TrajectoryQuery, View
from mentorgrad.v1 import history_service_pb2_grpc
from run_store import trajectory
from run_store.servicer import HistoryServicer
from run_store.sql_store import SqlRunStore
from service_common.server import Server

POINTS = 500
LARGEST_SEGMENT = 100_000
WORDS = "eleven plain words such as a projection of a prompt has"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this part."""
    parser.add_argument("--snapshots", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--segments", type=int, nargs="+", default=[10, 1_000, LARGEST_SEGMENT])


def measure(store: SqlRunStore, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row per run and thinning: median milliseconds of both ways to read it."""
    rows = []
    with _served(store) as client:
        for per_segment in options.segments:
            for snapshots in options.snapshots:
                run_id = made.long_run(store, snapshots, per_segment, WORDS)
                made.analyse(store)
                for thinning in Thinning:
                    case = {"snapshots": snapshots, "per_segment": per_segment}
                    rows.append(case | _times(store, client, run_id, thinning, options.repeats))
    return rows


def _times(
    store: SqlRunStore, client: Client, run_id: str, thinning: Thinning, repeats: int
) -> dict[str, Any]:
    query = TrajectoryQuery(POINTS, View.SUMMARY, thinning=thinning)

    def in_store() -> int:
        return sum(len(piece.snapshots) for piece in trajectory.pieces(store, run_id, query))

    def through_service() -> int:
        found = client.trajectory(run_id, POINTS, View.SUMMARY, thinning=thinning)
        return len(found.snapshots)

    return {
        "thinning": thinning.value,
        "points": in_store(),
        **_milliseconds("store", in_store, repeats),
        **_milliseconds("service", through_service, repeats),
    }


def _milliseconds(name: str, action: Callable[[], int], repeats: int) -> dict[str, float]:
    """Median and least time of the clock, and median time of this process's CPU: on a machine that
    others use, the median says little."""
    action()
    clock, cpu = [], []
    for _ in range(repeats):
        started, used = time.perf_counter(), time.process_time()
        action()
        clock.append((time.perf_counter() - started) * 1e3)
        cpu.append((time.process_time() - used) * 1e3)
    return {
        f"{name}_ms": round(statistics.median(clock), 1),
        f"{name}_least_ms": round(min(clock), 1),
        f"{name}_cpu_ms": round(statistics.median(cpu), 1),
    }


def headline(rows: dict[str, list[dict[str, Any]]]) -> dict[str, float]:
    """The worst answer of 10^6 snapshots through the service, and the worst growth: the time of the
    longest run over that of one a tenth as long."""
    everything = [row for found in rows.values() for row in found]
    longest = max(row["snapshots"] for row in everything)
    growth = []
    for found in rows.values():
        times = {
            (row["per_segment"], row["thinning"], row["snapshots"]): row["service_ms"]
            for row in found
        }
        growth += [
            taken / times[*case, size // 10]
            for (*case, size), taken in times.items()
            if size == longest and (*case, size // 10) in times
        ]
    worst = max(row["service_ms"] for row in everything if row["snapshots"] == longest)
    name = "thinned_ms_1e6" if longest == 1_000_000 else f"thinned_ms_{longest}"
    return {name: worst, "worst_growth": round(max(growth, default=1.0), 2)}


@contextlib.contextmanager
def _served(store: SqlRunStore) -> Iterator[Client]:
    """A client of a history service of the store, in this process."""
    loop = BackgroundLoop.acquire()

    async def serve() -> Server:
        server = Server("127.0.0.1:0", [])
        history_service_pb2_grpc.add_HistoryServiceServicer_to_server(  # type: ignore[no-untyped-call]
            HistoryServicer(store, lambda: store), server.grpc
        )
        await server.start()
        return server

    server = loop.run(serve())
    try:
        with Client(server.address) as client:
            yield client
    finally:
        loop.run(server.stop(0))
        loop.release()
