"""Measures runs: the bytes of their contents, without reading these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.engine import Connection

from mentorgrad.domain.run import RunState
from run_store import row_inserts
from run_store.tables import (
    blobs,
    block_summaries,
    candidates,
    events,
    run_sizes,
    runs,
    snapshot_blocks,
    trajectory_segments,
)

MEASURED_AT_ONCE = 20
"""Runs whose sizes are measured in one transaction."""

FINAL = tuple(state for state in RunState if state.is_final)
"""States of runs that have ended."""


def measure(connection: Connection, run_ids: Sequence[str]) -> Sequence[sa.Row[Any]]:
    """Rows of `run_sizes` of those of the runs that exist, measured."""
    return connection.execute(_SIZES.where(runs.c.run_id.in_(run_ids))).all()


def keep_sizes(connection: Connection, run_ids: Sequence[str]) -> None:
    """Measures runs that have ended and stores their sizes, which change no more; called under
    `CREATE_LOCK`, so that none of them is deleted meanwhile."""
    rows = [dict(row._mapping) for row in measure(connection, run_ids)]
    row_inserts.insert_missing(connection, run_sizes, rows)


def unmeasured(connection: Connection, owner: str, count: int) -> Sequence[str]:
    """Up to `count` runs of an owner that have ended and have no stored size."""
    statement = (
        sa.select(runs.c.run_id)
        .select_from(runs.outerjoin(run_sizes))
        .where(runs.c.owner == owner, runs.c.state.in_(FINAL), run_sizes.c.run_id.is_(None))
        .limit(count)
    )
    return connection.execute(statement).scalars().all()


def stored_size(connection: Connection, owner: str) -> int:
    """Bytes of those runs of an owner whose sizes are stored."""
    row = connection.execute(STORED_SIZES.where(run_sizes.c.owner == owner)).one_or_none()
    return 0 if row is None else int(row.bytes)


def _total(
    table: sa.Table, amount: sa.ColumnElement[Any], *conditions: Any
) -> sa.ScalarSelect[Any]:
    """The sum of an amount over the rows of a table, of the run of the outer statement."""
    found = sa.select(sa.func.coalesce(sa.func.sum(amount), 0))
    return found.where(table.c.run_id == runs.c.run_id, *conditions).scalar_subquery()


def length(*columns: sa.ColumnElement[bytes]) -> sa.ColumnElement[int]:
    """Bytes of some columns together."""
    first, *others = (sa.func.length(column, type_=sa.BigInteger) for column in columns)
    return sum(others, start=first)


_block = snapshot_blocks.c
_RAW = _total(trajectory_segments, length(trajectory_segments.c.data)) + _total(
    blobs, blobs.c.size, blobs.c.checkpoint.is_(True)
)
# Without the row of the run itself, which changes when its labels are edited.
_OTHER = (
    _total(events, length(events.c.data))
    + _total(candidates, length(candidates.c.data))
    + _total(
        snapshot_blocks,
        length(_block.summary, _block.parts, _block.losses, _block.ends, _block.snapshots),
    )
    + _total(block_summaries, length(block_summaries.c.summaries))
    + _total(blobs, blobs.c.size, blobs.c.checkpoint.is_(False))
)
_SIZES = sa.select(
    runs.c.run_id,
    runs.c.owner,
    sa.cast(_RAW, sa.BigInteger).label("raw_bytes"),
    sa.cast(_OTHER, sa.BigInteger).label("other_bytes"),
)
RAW_BYTES = sa.select(sa.cast(_RAW, sa.BigInteger).label("raw_bytes")).where(
    runs.c.run_id == bindparam("run")
)
"""Statement for the bytes of raw data of one run."""

STORED_SIZES = sa.select(
    run_sizes.c.owner,
    (sa.func.sum(run_sizes.c.raw_bytes) + sa.func.sum(run_sizes.c.other_bytes)).label("bytes"),
).group_by(run_sizes.c.owner)
"""Statement for the bytes of the runs whose sizes are stored, by owner."""
