"""Writes what lists find runs by, in the transactions that change the runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.engine import Connection

from mentorgrad.domain.run import Run, RunState
from run_store import row_inserts, run_terms
from run_store.tables import field_terms, run_labels, run_texts
from run_store.tables import run_terms as postings


def add(connection: Connection, run: Run, experiment_id: str) -> None:
    """Adds a new run."""
    values = run_terms.field_values(run)
    terms = run_terms.terms_of(run, experiment_id, values)
    row_inserts.insert_rows(connection, postings, run_terms.posting_rows(run, terms))
    row_inserts.insert_missing(connection, field_terms, run_terms.term_rows(values))
    add_texts(connection, [run])


def add_texts(connection: Connection, runs: Sequence[Run]) -> None:
    """Adds the texts of new runs."""
    is_numbered = connection.dialect.name == "sqlite"
    rows = [row for run in runs for row in run_terms.text_rows(run, is_numbered)]
    row_inserts.insert_rows(connection, run_texts, rows)


def moved(connection: Connection, run: Run) -> None:
    """Records the new state of a run. When it ends, also the figures that only an ended run has,
    and its place in the order of losses."""
    values = {"run": run.run_id, "state": run_terms.of_state(run.state)}
    if not run.state.is_final:
        connection.execute(_MOVE, values)
        return
    connection.execute(_END, values | {"new_rank": run_terms.rank_of(run)})
    figures = list(run_terms.figure_values(run))
    terms = {run_terms.of_field(value.field, value.text) for value in figures}
    row_inserts.insert_missing(connection, field_terms, run_terms.term_rows(figures))
    row_inserts.insert_rows(connection, postings, run_terms.posting_rows(run, terms))


def relabelled(connection: Connection, before: Run, after: Run) -> None:
    """Records edited labels, and an edited note."""
    old, new = (
        {run_terms.of_label(key, value) for key, value in run.labels.items()}
        for run in (before, after)
    )
    run_id = after.run_id
    if old - new:
        _delete(connection, postings, run_id, postings.c.term_id.in_(sorted(old - new)))
    row_inserts.insert_rows(connection, postings, run_terms.posting_rows(after, new - old))
    if old != new:
        _delete(connection, run_labels, run_id)
        row_inserts.insert_rows(connection, run_labels, label_rows(after))
    _delete(connection, run_texts, run_id)
    add_texts(connection, [after])


def label_rows(run: Run) -> list[dict[str, Any]]:
    """Rows of `run_labels`."""
    return [{"run_id": run.run_id, "key": key, "value": text} for key, text in run.labels.items()]


def _delete(connection: Connection, table: sa.Table, run_id: str, *conditions: Any) -> None:
    connection.execute(sa.delete(table).where(table.c.run_id == run_id, *conditions))


_STATES = [run_terms.of_state(state) for state in RunState]
_is_state = postings.c.term_id.in_(_STATES)
_STATE: sa.BindParameter[int] = bindparam("state", type_=sa.BigInteger)
_OF_RUN = sa.update(postings).where(postings.c.run_id == bindparam("run"))
_MOVE = _OF_RUN.where(_is_state).values(term_id=_STATE)
_END = _OF_RUN.values(
    term_id=sa.case((_is_state, _STATE), else_=postings.c.term_id), rank=bindparam("new_rank")
)
