"""Checks of the database itself: its file, and rows that refer to others."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from run_store.checks.finding import StoreFinding
from run_store.tables import experiments, metadata, runs

_MOST = 100
"""Maximum findings of one kind."""


def check_file(connection: Connection) -> Iterator[StoreFinding]:
    """Whether SQLite's file is sound: its pages, and its indexes against their tables. A server of
    Postgres checks its pages itself."""
    if connection.dialect.name == "sqlite":
        for (said,) in connection.exec_driver_sql(f"PRAGMA integrity_check({_MOST})"):
            if said != "ok":
                yield StoreFinding("database", "file", str(said))


def check_references(connection: Connection) -> Iterator[StoreFinding]:
    """Whether each row that refers to another finds it."""
    for table in metadata.sorted_tables:
        for key in table.foreign_key_constraints:
            parent = key.referred_table
            pairs = [(element.parent, element.column) for element in key.elements]
            there = sa.exists().where(*(child == column for child, column in pairs))
            missing = sa.select(*(child for child, _ in pairs)).where(~there).distinct()
            for row in connection.execute(missing.limit(_MOST)):
                what = " ".join(map(str, row))
                yield StoreFinding("reference", what, f"{table.name} has it, and {parent.name} not")
    of_experiment = sa.exists().where(experiments.c.experiment_id == runs.c.experiment_id)
    orphans = sa.select(runs.c.run_id, runs.c.experiment_id).where(
        runs.c.experiment_id != "", ~of_experiment
    )
    for row in connection.execute(orphans.limit(_MOST)):
        yield StoreFinding("reference", row.run_id, f"there is no experiment {row.experiment_id}")
