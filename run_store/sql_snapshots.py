"""Reads the blocks of snapshots of the SQL store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy import bindparam

from run_store import dialects, sql_blocks
from run_store import snapshot_blocks as sizes
from run_store.snapshot_blocks import SUMMARY, BlockIndex, BlockMaker, SnapshotBlock
from run_store.sql_base import SqlBase
from run_store.tables import block_summaries, runs, snapshot_blocks

_NAMED_AT_ONCE = 500
"""Blocks named by one statement; SQLite limits the number of values."""


class SqlSnapshots(SqlBase):
    """SQL implementation of `run_store.snapshot_blocks.BlockReader`."""

    def block_index(self, run_id: str) -> BlockIndex:
        """See `BlockReader.block_index`."""
        with self._reading() as connection:
            dialects.see_one_state(connection)
            self._row(connection, _RUN, run_id)
            joined = (
                connection.execute(_JOINED, {"run": run_id}, execution_options=dialects.IN_BINARY)
                .scalars()
                .all()
            )
            # One of those that are joined, too: it says where the others begin.
            later = {"run": run_id, "from": len(joined) * sizes.PER_SUMMARY - 1}
            rows = connection.execute(_LATER, later).all()
            found = [*joined, *(row.summary for row in rows if row.number > later["from"])]
            summaries = np.frombuffer(b"".join(found), SUMMARY)
            maker = BlockMaker()
            last = rows[-1] if rows else None
            recent = [*maker.add_all(sql_blocks.after(connection, run_id, last)), *maker.rest()]
        made = [block.summary for block in recent if block.summary is not None]
        return BlockIndex(
            np.concatenate([summaries, *made]),
            len(summaries),
            tuple(recent),
        )

    def blocks(self, run_id: str, numbers: Sequence[int]) -> dict[int, SnapshotBlock]:
        """See `BlockReader.blocks`."""
        rows = self._named(_BLOCKS, run_id, numbers)
        return {number: SnapshotBlock.decode(*row) for number, *row in rows}

    def losses(self, run_id: str, numbers: Sequence[int]) -> dict[int, np.ndarray]:
        """See `BlockReader.losses`."""
        rows = self._named(_LOSSES, run_id, numbers)
        return {number: SnapshotBlock.losses_of(losses) for number, losses in rows}

    def _named(
        self, statement: sa.Select[Any], run_id: str, numbers: Sequence[int]
    ) -> Iterator[Any]:
        """The rows of stored blocks."""
        with self._reading() as connection:
            for start in range(0, len(numbers), _NAMED_AT_ONCE):
                part = numbers[start : start + _NAMED_AT_ONCE]
                named = dialects.one_of(connection, snapshot_blocks.c.number, part)
                yield from connection.execute(
                    statement.where(named), {"run": run_id}, execution_options=dialects.IN_BINARY
                ).all()


_RUN = sa.select(runs.c.run_id).where(runs.c.run_id == bindparam("run"))
_JOINED = (
    sa.select(block_summaries.c.summaries)
    .where(block_summaries.c.run_id == bindparam("run"))
    .order_by(block_summaries.c.number)
)
_blocks = snapshot_blocks.c
_LATER = (
    sa.select(_blocks.number, _blocks.end_seq, _blocks.end_row, _blocks.summary)
    .where(_blocks.run_id == bindparam("run"), _blocks.number >= bindparam("from"))
    .order_by(_blocks.number)
)
_BLOCKS = sa.select(
    _blocks.number, _blocks.parts, _blocks.losses, _blocks.ends, _blocks.snapshots
).where(_blocks.run_id == bindparam("run"))
_LOSSES = sa.select(_blocks.number, _blocks.losses).where(_blocks.run_id == bindparam("run"))
