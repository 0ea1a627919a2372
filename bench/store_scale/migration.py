"""Making the blocks of a store from before there were any: of many runs, and of a long one."""

from __future__ import annotations

import argparse
import time
from typing import Any

import sqlalchemy as sa

from bench.store_scale import made
from bench.store_scale.trajectories import WORDS
from run_store import sql_blocks
from run_store.sql_store import SqlRunStore
from run_store.tables import events, runs

SNAPSHOTS, PER_SEGMENT = 250, 10
"""Of each of many runs."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this part."""
    parser.add_argument("--old-runs", type=int, default=10_000)
    parser.add_argument("--old-snapshots", type=int, default=1_000_000)


def measure(store: SqlRunStore, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for the many runs, and one for the long run."""
    found = []
    for count, snapshots in ((options.old_runs, SNAPSHOTS), (1, options.old_snapshots)):
        run_id = made.long_run(store, snapshots, PER_SEGMENT, WORDS, blocks=False)
        with store._writing_much() as connection:
            for number in range(1, count):
                for table in (runs, events):
                    connection.execute(_copy(table), {"old": run_id, "new": f"old-{number}"})
        started, used = time.perf_counter(), time.process_time()
        with store._writing_much() as connection:
            sql_blocks.fill(connection)
        row = {"runs": count, "snapshots": count * snapshots}
        row |= {"seconds": round(time.perf_counter() - started, 1)}
        found.append(row | {"cpu_seconds": round(time.process_time() - used, 1)})
        with store._writing() as connection:
            connection.execute(runs.delete())
    return found


def headline(rows: dict[str, list[dict[str, Any]]]) -> dict[str, float]:
    """The slower database's seconds for the many runs, and for the long one."""
    many, long = (max(found[at]["seconds"] for found in rows.values()) for at in (0, 1))
    return {"migrated_runs_s": many, "migrated_long_run_s": long}


def _copy(table: sa.Table) -> sa.Insert:
    """Copies the rows of run ``old`` to run ``new``."""
    changed: dict[str, Any] = {"run_id": sa.bindparam("new"), "request_id": sa.null()}
    columns = [changed.get(column.name, column) for column in table.c]
    source = sa.select(*columns).where(table.c.run_id == sa.bindparam("old"))
    return table.insert().from_select(list(table.c.keys()), source)
