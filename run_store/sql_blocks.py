"""Keeps the blocks of snapshots in step with the events, in the transaction that writes these."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.engine import Connection

from mentorgrad.domain.event import EventKind, Resumed, RunEvent, Segment
from run_store import row_inserts, sql_rows
from run_store import snapshot_blocks as sizes
from run_store.snapshot_blocks import BlockMaker, EncodedSegment
from run_store.sql_base import FEW_ROWS
from run_store.tables import block_summaries, events, snapshot_blocks

_APPENDED_AT_ONCE = 4
"""Complete blocks for which an append writes them: so that few appends touch further pages."""

_WRITTEN_AT_ONCE = 256
"""Blocks written by one statement; together about a MiB."""


def extend(
    connection: Connection,
    run_id: str,
    new: Sequence[RunEvent],
    rows: sql_rows.Rows,
    maker: BlockMaker | None,
) -> BlockMaker | None:
    """Adds the snapshots of new events, which are written, to the run's blocks; what the events
    superseded leaves them.

    Args:
        connection: Connection in a transaction.
        run_id: The run.
        new: The events.
        rows: Their rows.
        maker: The run's incomplete block; None: not known.

    Returns:
        The run's incomplete block; None: not known.
    """
    checkpoints = [e.payload.checkpoint_seq for e in new if isinstance(e.payload, Resumed)]
    if checkpoints:
        _drop_after(connection, run_id, min(checkpoints))
        return catch_up(connection, run_id)
    if not any(isinstance(event.payload, Segment) for event in new):
        return maker
    if maker is None:
        return catch_up(connection, run_id)
    found = (
        (row["seq"], row["data"], 0)
        for row in rows[events]
        if row["kind"] == EventKind.SEGMENT.value
    )
    _write(connection, run_id, maker, found, _APPENDED_AT_ONCE)
    return maker


def catch_up(connection: Connection, run_id: str) -> BlockMaker:
    """Adds all effective snapshots that are in no block yet to the run's blocks.

    Returns:
        The run's incomplete block.
    """
    last = connection.execute(_LAST, {"run": run_id}).first()
    maker = BlockMaker(last.number + 1 if last else 0)
    _write(connection, run_id, maker, after(connection, run_id, last))
    return maker


def fill(connection: Connection) -> None:
    """Makes the blocks of all runs of a store that has none, being older than blocks."""
    with connection.execute(_ALL_SEGMENTS, execution_options=FEW_ROWS) as found:
        for run_id, rows in itertools.groupby(found, operator.attrgetter("run_id")):
            _write(connection, run_id, BlockMaker(), ((row.seq, row.data, 0) for row in rows))


def after(connection: Connection, run_id: str, last: Any) -> Iterator[EncodedSegment]:
    """The effective segments that are not completely in blocks.

    Args:
        connection: Connection in a transaction.
        run_id: The run.
        last: Row of the last block, with `end_seq` and `end_row`; None: there is none.
    """
    seq, row = (last.end_seq, last.end_row) if last else (0, 0)
    values = {"run": run_id, "from": seq if row else seq + 1}
    with connection.execute(_SEGMENTS, values, execution_options=FEW_ROWS) as found:
        for event in found:
            yield event.seq, event.data, row if event.seq == seq else 0


def _write(
    connection: Connection,
    run_id: str,
    maker: BlockMaker,
    found: Iterable[EncodedSegment],
    least: int = 1,
) -> None:
    """Inserts the blocks that segments complete, once there are `least`."""
    for block in maker.add_all(found):
        maker.complete.append(block)
        if len(maker.complete) == _WRITTEN_AT_ONCE:
            _insert(connection, run_id, maker)
    if len(maker.complete) >= least:
        _insert(connection, run_id, maker)


def _insert(connection: Connection, run_id: str, maker: BlockMaker) -> None:
    """Inserts complete blocks, and the rows of summaries that these complete."""
    first, maker.number = maker.number, maker.number + len(maker.complete)
    rows = [
        {"run_id": run_id, "number": number, **block.encode()}
        for number, block in enumerate(maker.complete, first)
    ]
    maker.complete = []
    row_inserts.insert_rows(connection, snapshot_blocks, rows)
    joined = [
        {"run_id": run_id, "number": number, "summaries": _joined(connection, run_id, number)}
        for number in range(first // sizes.PER_SUMMARY, maker.number // sizes.PER_SUMMARY)
    ]
    row_inserts.insert_rows(connection, block_summaries, joined)


def _joined(connection: Connection, run_id: str, number: int) -> bytes:
    span = {
        "run": run_id,
        "from": number * sizes.PER_SUMMARY,
        "until": (number + 1) * sizes.PER_SUMMARY,
    }
    return b"".join(connection.execute(_SUMMARIES, span).scalars())


def _drop_after(connection: Connection, run_id: str, seq: int) -> None:
    """Deletes the blocks that end after an event."""
    kept = connection.execute(_LAST_UNTIL, {"run": run_id, "seq": seq}).scalar()
    count = 0 if kept is None else kept + 1
    for table, first in ((snapshot_blocks, count), (block_summaries, count // sizes.PER_SUMMARY)):
        connection.execute(
            sa.delete(table).where(table.c.run_id == run_id, table.c.number >= first)
        )


_RUN: sa.BindParameter[str] = bindparam("run")
_blocks = snapshot_blocks.c
_LAST = (
    sa.select(_blocks.number, _blocks.end_seq, _blocks.end_row)
    .where(_blocks.run_id == _RUN)
    .order_by(_blocks.number.desc())
    .limit(1)
)
_LAST_UNTIL = _LAST.where(_blocks.end_seq <= bindparam("seq"))
_SUMMARIES = (
    sa.select(_blocks.summary)
    .where(
        _blocks.run_id == _RUN,
        _blocks.number >= bindparam("from"),
        _blocks.number < bindparam("until"),
    )
    .order_by(_blocks.number)
)
_ALL_SEGMENTS = (
    sa.select(events.c.run_id, events.c.seq, events.c.data)
    .where(events.c.kind == EventKind.SEGMENT.value, events.c.superseded.is_(False))
    .order_by(events.c.run_id, events.c.seq)
)
_SEGMENTS = _ALL_SEGMENTS.where(events.c.run_id == _RUN, events.c.seq >= bindparam("from"))
