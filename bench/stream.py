"""Events imported per second, relative to the same bytes through a bare gRPC stream.

The measured side is `Client.import_run` into a real trainer service. Every event has 32 KB of
parameters (two snapshots of 8 tokens x 512), and a run counts as imported when it is committed to
SQLite (write-ahead log, synchronous=NORMAL, for the peer too) and acknowledged. The bare stream
(`bench.peer_stream`) sends the same messages, serialized beforehand, through the same kind of
channel to a handler that discards them. For `sqlite_limit`, its handler inserts every message as a
row of a plain table. Rates are measured in ABBA blocks; each service has its own process.

After a large import, the store checkpoints SQLite's write-ahead log in the background. The
benchmark waits for it before the next measurement; the rate `checkpointed` includes this wait.

    python -m bench.stream [--blocks 7] [--events 2000]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import grpc
import numpy as np

from bench.paired import abba, environment
from bench.peer_stream import METHOD
from bench.services import announced
from mentorgrad.client import Client
from mentorgrad.domain.event import Created, Finished, Payload, RunEvent, Segment, StateChanged
from mentorgrad.domain.run import RunState, Snapshot
from mentorgrad.v1.trainer_service_pb2 import ImportRunRequest
from mentorgrad.wire.channels import upload_channel
from mentorgrad.wire.codec import to_message
from mentorgrad.wire.credentials import Credentials

SHAPE = (8, 512)
STORE = "runs.sqlite"
PER_EVENT = 2
"""Snapshots per event: 32 KB of float32 together."""


def log(count: int) -> list[RunEvent]:
    """A finished run of `count` segments."""
    draw = np.random.default_rng(0)
    payloads: list[Payload] = [Created(request_id="-"), StateChanged(RunState.RUNNING)]
    for first in range(1, PER_EVENT * count, PER_EVENT):
        snapshots = tuple(
            Snapshot(step, 1.0 / step, 5e-2, 0.1, "this customer writes because of a parcel", 2)
            for step in range(first, first + PER_EVENT)
        )
        parameters = draw.standard_normal((PER_EVENT, *SHAPE), dtype=np.float32)
        payloads.append(Segment(0, first, first + PER_EVENT - 1, snapshots, parameters))
    payloads.append(Finished(RunState.FAILED, error="this is a benchmark"))
    now = datetime.now(UTC)
    return [RunEvent("-", seq, 1, now, payload) for seq, payload in enumerate(payloads, start=1)]


def renamed(events: list[RunEvent], name: str) -> list[RunEvent]:
    """Returns the same log with another run id."""
    created = replace(events[0], payload=Created(request_id=name))
    return [replace(event, run_id=name) for event in (created, *events[1:])]


def settle(file: Path) -> None:
    """Waits until the write-ahead log of an SQLite file is checkpointed completely."""
    with contextlib.closing(sqlite3.connect(file)) as connection:
        while True:
            busy, pages, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if not busy and pages == copied:
                return
            time.sleep(0.002)


class Imports:
    """Imports runs into a trainer service."""

    def __init__(
        self,
        address: str,
        file: Path,
        events: list[RunEvent],
        credentials: Credentials | None = None,
    ) -> None:
        self._file = file
        self.checkpointed: list[float] = []
        self._client = Client(address, credentials=credentials)
        self._events = events
        self._count = 0

    def measure(self) -> float:
        """Events per second of one import."""
        self._count += 1
        events = renamed(self._events, f"run-{self._count}")
        began = time.perf_counter()
        run = self._client.import_run(events)
        taken = time.perf_counter() - began
        assert run.last_seq == len(events)
        settle(self._file)
        self.checkpointed.append(len(events) / (time.perf_counter() - began))
        return len(events) / taken

    def close(self) -> None:
        """Closes the connection."""
        self._client.close()


class Bare:
    """Client of a bare stream."""

    def __init__(self, address: str, events: list[RunEvent], file: Path | None = None) -> None:
        self._file = file
        self._channel = upload_channel(address)
        self._upload: grpc.StreamUnaryMultiCallable[bytes, bytes] = self._channel.stream_unary(
            METHOD
        )
        self._messages = [
            ImportRunRequest(event=to_message(event)).SerializeToString() for event in events
        ]
        self.mean_bytes = sum(map(len, self._messages)) / len(self._messages)

    def measure(self) -> float:
        """Messages per second of one stream."""
        began = time.perf_counter()
        self._upload(iter(self._messages))
        taken = time.perf_counter() - began
        if self._file is not None:
            settle(self._file)
        return len(self._messages) / taken

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()


@contextmanager
def trainer(folder: Path, *flags: str) -> Iterator[str]:
    """Starts a trainer service that accepts runs of any size; yields its address."""
    command = ["-m", "trainer_service", "serve", "--listen", "127.0.0.1:0", "--no-warm"]
    command += ["--store", f"sqlite:///{folder / STORE}", "--device", "cpu"]
    command += ["--import-limit-mib", "4096", "--log-level", "error", *flags]
    with announced(command) as said:
        yield said["address"]


def main() -> None:
    """Runs the benchmark and prints the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=7)
    parser.add_argument("--events", type=int, default=2000)
    arguments = parser.parse_args()
    events = log(arguments.events)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ours = Imports(stack.enter_context(trainer(folder)), folder / STORE, events)
        peer = ["-m", "bench.peer_stream"]
        dropped = Bare(stack.enter_context(announced(peer))["address"], events)
        file = folder / "bare.sqlite"
        peer += [str(file)]
        inserted = Bare(stack.enter_context(announced(peer))["address"], events, file)
        for side in (ours, dropped, inserted):
            stack.callback(side.close)
        result = abba(ours.measure, dropped.measure, arguments.blocks)
        limit = abba(inserted.measure, dropped.measure, arguments.blocks)
    print(
        json.dumps(
            {
                "ratio": round(result.ratio, 3),
                "sqlite_limit": round(limit.ratio, 3),
                "quartiles": {
                    "ratio": [round(result.low, 3), round(result.high, 3)],
                    "sqlite_limit": [round(limit.low, 3), round(limit.high, 3)],
                },
                "events_per_second": {
                    "imported": round(result.a),
                    "bare_stream": round(result.b),
                    "bare_inserts": round(limit.a),
                    "checkpointed": round(statistics.median(ours.checkpointed)),
                },
                "bytes_per_event": round(dropped.mean_bytes),
                "events": arguments.events,
                "blocks": arguments.blocks,
                "environment": environment("grpcio", "protobuf", "sqlalchemy"),
            }
        )
    )


if __name__ == "__main__":
    main()
