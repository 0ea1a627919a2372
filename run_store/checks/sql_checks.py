"""All checks of a store in SQL, on one state of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mentorgrad.errors import DataLoss
from run_store import dialects
from run_store.checks import blocks, contents, database
from run_store.checks import runs as run_checks
from run_store.checks.finding import StoreFinding
from run_store.sql_base import FEW_ROWS
from run_store.sql_care import SqlCare
from run_store.sql_sizes import measure
from run_store.tables import run_sizes


class SqlChecks(SqlCare):
    """SQL implementation of `run_store.care.StoreCare`."""

    def findings(self, *, quick: bool = False) -> Iterator[StoreFinding]:
        """See `StoreCare.findings`."""
        with self._reading() as connection:
            dialects.see_one_state(connection)
            if not quick:
                yield from database.check_file(connection)
            yield from database.check_references(connection)
            with connection.execute(run_checks.ALL, execution_options=FEW_ROWS) as rows:
                for row in rows:
                    yield from _of_run(connection, row, quick)
            if not quick:
                yield from contents.check_uploads(connection)


def _of_run(connection: Connection, row: Any, quick: bool) -> Iterator[StoreFinding]:
    try:
        yield from run_checks.check_log(connection, row)
        run = run_checks.decoded(row)
        yield from run_checks.check_columns(row, run)
        yield from run_checks.check_index(connection, row, run)
        if quick:
            return
        yield from blocks.check_blocks(connection, row.run_id)
        yield from contents.check_bytes(connection, row.run_id)
        yield from _check_size(connection, row.run_id)
    except DataLoss as error:
        yield StoreFinding("run", row.run_id, error.message)


def _check_size(connection: Connection, run_id: str) -> Iterator[StoreFinding]:
    """Whether the recorded size of an ended run is the one that it has."""
    statement = sa.select(run_sizes).where(run_sizes.c.run_id == run_id)
    if (known := connection.execute(statement).one_or_none()) is None:
        return
    (found,) = measure(connection, [run_id])
    if (known.owner, known.raw_bytes, known.other_bytes) != tuple(found)[1:]:
        yield StoreFinding("size", run_id, "another size is recorded than it has")
