"""Checks whether the blocks of a run's snapshots say the same as its segments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.engine import Connection

from mentorgrad.domain.event import RunEvent
from mentorgrad.wire import codec
from run_store import snapshot_blocks as sizes
from run_store import sql_blocks
from run_store.checks.finding import StoreFinding
from run_store.snapshot_blocks import SnapshotBlock
from run_store.sql_base import FEW_ROWS
from run_store.tables import block_summaries, snapshot_blocks


class _Place(NamedTuple):
    """A snapshot of the log."""

    seq: int
    stage: int
    row: int
    is_last: bool
    message: Any


def check_blocks(connection: Connection, run_id: str) -> Iterator[StoreFinding]:
    """Compares each block with the segments, its summary with its snapshots, and the joined
    summaries with those of the blocks."""
    snapshots = _snapshots(sql_blocks.after(connection, run_id, None))
    made: list[bytes] = []
    with connection.execute(_BLOCKS, {"run": run_id}, execution_options=FEW_ROWS) as rows:
        for number, row in enumerate(rows):
            if row.number != number:
                yield StoreFinding("blocks", run_id, f"block {number} is missing")
                return
            if why := _contradiction(row, snapshots):
                yield StoreFinding("blocks", run_id, f"block {number} has {why}")
                return  # the following ones would be compared with other snapshots
            made.append(row.summary)
    wanted = [
        b"".join(made[start : start + sizes.PER_SUMMARY])
        for start in range(0, len(made) - sizes.PER_SUMMARY + 1, sizes.PER_SUMMARY)
    ]
    joined = connection.execute(_JOINED, {"run": run_id}).all()
    if [(number, data) for number, data in joined] != list(enumerate(wanted)):
        yield StoreFinding("blocks", run_id, "the joined summaries contradict those of the blocks")


def _contradiction(row: Any, snapshots: Iterator[_Place]) -> str:
    """In what a block contradicts the next snapshots of the log; empty: in nothing."""
    block = SnapshotBlock.decode(row.parts, row.losses, row.ends, row.snapshots)
    found = list(islice(snapshots, len(block)))
    places = [
        (part.seq, part.stage, part.first_row + offset)
        for part in block.parts
        for offset in range(part.length)
    ]
    if places != [(place.seq, place.stage, place.row) for place in found]:
        return "other snapshots than the segments"
    messages = b"".join(place.message.SerializeToString() for place in found)
    if messages != row.snapshots:
        return "snapshots that differ from those of the segments"
    losses = np.array([place.message.train_loss for place in found], "<f8")
    if losses.tobytes() != row.losses:
        return "other losses than its snapshots"
    steps = [place.message.step for place in found]
    if sizes.summary_of(steps, losses, len(messages)).tobytes() != row.summary:
        return "a summary that contradicts its snapshots"
    last = found[-1]
    if (row.end_seq, row.end_row) != (last.seq, 0 if last.is_last else last.row + 1):
        return "another end than its last snapshot"
    return ""


def _snapshots(segments: Iterable[sizes.EncodedSegment]) -> Iterator[_Place]:
    for seq, data, _ in segments:
        event: Any = codec.parse(codec.message_class(RunEvent)(), data)
        segment = event.segment
        last = len(segment.snapshots) - 1
        for row, message in enumerate(segment.snapshots):
            yield _Place(seq, segment.stage, row, row == last, message)


_BLOCKS = (
    sa.select(snapshot_blocks)
    .where(snapshot_blocks.c.run_id == bindparam("run"))
    .order_by(snapshot_blocks.c.number)
)
_JOINED = (
    sa.select(block_summaries.c.number, block_summaries.c.summaries)
    .where(block_summaries.c.run_id == bindparam("run"))
    .order_by(block_summaries.c.number)
)
