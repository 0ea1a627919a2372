"""Makes the rows of the runs' index for runs that are there already; used by a migration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mentorgrad.domain.run import Run
from mentorgrad.schema import evolve
from mentorgrad.wire import codec
from run_store import row_inserts, run_index, run_terms
from run_store.tables import field_terms
from run_store.tables import run_terms as postings

_PAGE = 500
"""Runs that are in memory at once."""

_RUNS = sa.table("runs", sa.column("run_id"), sa.column("experiment_id"), sa.column("projection"))


def fill(connection: Connection) -> None:
    """Adds all runs to the index, and the labels of their specs to their current state."""
    for page in _pages(connection):
        terms: list[dict[str, Any]] = []
        values: dict[int, dict[str, Any]] = {}
        runs: list[Run] = []
        for row in page:
            run = codec.decode(Run, row.projection)
            if run.spec.labels and not run.labels:
                run = evolve(run, labels=run.spec.labels)
                connection.execute(_SAVE, {"run": row.run_id, "data": codec.encode(run)})
            found = run_terms.field_values(run)
            mine = run_terms.terms_of(run, row.experiment_id, found)
            terms += run_terms.posting_rows(run, mine)
            values |= {item["term_id"]: item for item in run_terms.term_rows(found)}
            runs.append(run)
        row_inserts.insert_rows(connection, postings, terms)
        row_inserts.insert_missing(connection, field_terms, list(values.values()))
        run_index.add_texts(connection, runs)


def _pages(connection: Connection) -> Iterator[list[Any]]:
    after = ""
    while True:
        statement = sa.select(_RUNS).where(_RUNS.c.run_id > after).order_by(_RUNS.c.run_id)
        page = list(connection.execute(statement.limit(_PAGE)))
        if not page:
            return
        yield page
        after = page[-1].run_id


_SAVE = (
    sa.update(_RUNS)
    .where(_RUNS.c.run_id == sa.bindparam("run"))
    .values(projection=sa.bindparam("data"))
)
