"""Checks of runs: their logs, their columns, and what lists find them by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.engine import Connection

from mentorgrad.domain.run import Run
from mentorgrad.wire import codec
from run_store import run_index, run_terms, sql_rows
from run_store.checks.finding import StoreFinding
from run_store.paging import micros
from run_store.tables import events, field_terms, run_labels, run_texts, runs
from run_store.tables import run_terms as postings


def check_log(connection: Connection, row: Any) -> Iterator[StoreFinding]:
    """Whether the events of a run are numbered from 1 to its last one, without gaps."""
    found = connection.execute(_NUMBERS, {"run": row.run_id}).one()
    if (found.count_, found.first, found.last) != (row.last_seq, 1, row.last_seq):
        numbers = f"{found.count_} events, numbered {found.first} to {found.last}"
        said = f"has {numbers}; they should be numbered 1 to {row.last_seq} without gaps"
        yield StoreFinding("log", row.run_id, said)


def check_columns(row: Any, run: Run) -> Iterator[StoreFinding]:
    """Whether the columns of a run say the same as the run itself."""
    wanted = sql_rows.fixed_columns(run) | sql_rows.run_columns(run, row.projection)
    wrong = [name for name, value in wanted.items() if getattr(row, name) != value]
    if wrong:
        yield StoreFinding("run", row.run_id, f"the columns {', '.join(wrong)} contradict the run")


def check_index(connection: Connection, row: Any, run: Run) -> Iterator[StoreFinding]:
    """Whether lists find a run by its terms, labels and texts, and by no others."""
    values = run_terms.field_values(run)
    created, rank = micros(run.created_at) if run.created_at else 0, run_terms.rank_of(run)
    wanted = {(term, created, rank) for term in run_terms.terms_of(run, row.experiment_id, values)}
    found = {tuple(item) for item in connection.execute(_TERMS, {"run": row.run_id})}
    for items, said in ((wanted - found, "lacks"), (found - wanted, "has other")):
        if items:
            yield StoreFinding("index", row.run_id, f"{said} {len(items)} of its terms")
    fields = {item["term_id"]: item for item in run_terms.term_rows(values)}
    known = connection.execute(_FIELDS.where(field_terms.c.term_id.in_(list(fields))))
    unlike = len(fields) - sum(dict(item._mapping) == fields[item.term_id] for item in known)
    if unlike:
        yield StoreFinding("index", row.run_id, f"{unlike} values of its fields are not recorded")
    labels = {(item["key"], item["value"]) for item in run_index.label_rows(run)}
    if labels != {tuple(item) for item in connection.execute(_LABELS, {"run": row.run_id})}:
        yield StoreFinding("index", row.run_id, "other labels are recorded than it has")
    texts = [_lines(item["name"], item["other"]) for item in run_terms.text_rows(run, True)]
    if texts != [_lines(*item) for item in connection.execute(_TEXTS, {"run": row.run_id})]:
        yield StoreFinding("index", row.run_id, "other texts are searched than it has")


def _lines(name: str, other: str) -> tuple[str, list[str]]:
    """The texts of a run, its labels in any order."""
    return name, sorted(other.split("\n"))


def decoded(row: Any) -> Run:
    """The run of a row.

    Raises:
        DataLoss: It cannot be decoded.
    """
    return codec.decode(Run, row.projection)


ALL = sa.select(runs).order_by(runs.c.run_id)
"""Statement for the rows of all runs."""

_RUN: sa.BindParameter[str] = bindparam("run")
_NUMBERS = sa.select(
    sa.func.count().label("count_"),
    sa.func.min(events.c.seq).label("first"),
    sa.func.max(events.c.seq).label("last"),
).where(events.c.run_id == _RUN)
_TERMS = sa.select(postings.c.term_id, postings.c.created_at, postings.c.rank).where(
    postings.c.run_id == _RUN
)
_FIELDS = sa.select(field_terms.c.term_id, field_terms.c.field, field_terms.c.number)
_LABELS = sa.select(run_labels.c.key, run_labels.c.value).where(run_labels.c.run_id == _RUN)
_TEXTS = sa.select(run_texts.c.name, run_texts.c.other).where(run_texts.c.run_id == _RUN)
