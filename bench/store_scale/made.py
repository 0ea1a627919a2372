"""Makes large stores quickly: rows are written in bulk, as recording would have left them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from bench.store_append import postgres
from mentorgrad.domain.event import Created
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import RunSpec
from mentorgrad.v1 import event_pb2, run_pb2
from run_store import row_inserts, sql_blocks
from run_store.open import open_store
from run_store.sql_store import SqlRunStore
from run_store.tables import events, runs

SPIKE_EVERY = 9_973
"""Every so many steps the loss is that of a spike."""

_AT_ONCE = 64 * 1024
"""Snapshots written by one statement."""


@contextlib.contextmanager
def store_of(database: str, folder: Path) -> Iterator[SqlRunStore]:
    """An empty store in ``sqlite`` or in a temporary server of ``postgres``."""
    with contextlib.ExitStack() as stack:
        url = f"sqlite:///{folder / 'scale.sqlite'}"
        if database == "postgres":
            url = stack.enter_context(postgres(folder / "postgres"))
        store = open_store(url)
        assert isinstance(store, SqlRunStore)
        stack.callback(store.close)
        yield store


def long_run(
    store: SqlRunStore, snapshots: int, per_segment: int, words: str = "", *, blocks: bool = True
) -> str:
    """A run of many snapshots without raw parameters; returns its id.

    Args:
        store: The store.
        snapshots: Number of snapshots.
        per_segment: Snapshots per segment.
        words: Words of each snapshot.
        blocks: Whether its blocks are made too; a store from before blocks has none.
    """
    run, _ = store.create(Created(RunSpec(name=f"{snapshots} by {per_segment}")))
    seq = store.claim(run.run_id, "bench", timedelta(minutes=10)).last_seq
    with store._writing_much() as connection:
        rows = []
        for first in range(1, snapshots + 1, per_segment):
            seq += 1
            last = min(first + per_segment, snapshots + 1)
            rows.append(
                {
                    "run_id": run.run_id,
                    "seq": seq,
                    "attempt": 1,
                    "kind": "segment",
                    "time": seq * 1_000_000,
                    "superseded": False,
                    "data": _segment(run.run_id, seq, first, last, words),
                }
            )
            if len(rows) * per_segment >= _AT_ONCE:
                row_inserts.insert_rows(connection, events, rows)
                rows = []
        row_inserts.insert_rows(connection, events, rows)
        if blocks:
            sql_blocks.catch_up(connection, run.run_id)
        connection.execute(
            runs.update()
            .where(runs.c.run_id == run.run_id)
            .values(last_seq=seq, state=RunState.FAILED.value)
        )
    return run.run_id


def _segment(run_id: str, seq: int, first: int, end: int, words: str) -> bytes:
    made = [
        run_pb2.Snapshot(
            step=step,
            train_loss=9.0 if step % SPIKE_EVERY == 0 else 1 / math.sqrt(step),
            learning_rate=5e-3,
            gradient_norm=0.1,
            text=words,
        )
        for step in range(first, end)
    ]
    segment = event_pb2.Segment(step_start=first, step_end=end - 1, snapshots=made)
    event = event_pb2.RunEvent(run_id=run_id, seq=seq, attempt=1, segment=segment)
    event.time.seconds = seq
    return event.SerializeToString(deterministic=True)


def analyse(store: SqlRunStore) -> None:
    """Lets the database count its rows, as it does by itself after a while."""
    with store._writing() as connection:
        connection.exec_driver_sql("ANALYZE")
