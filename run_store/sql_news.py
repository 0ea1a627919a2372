"""Reads what is new in many runs at once, from the SQL store."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mentorgrad.domain.run import RunState
from run_store import sql_rows
from run_store.run_news import RunNews
from run_store.sql_base import FEW_ROWS, SqlBase
from run_store.stored_events import StoredEvent
from run_store.tables import events, runs
from run_store.visibility import visible

_AT_ONCE = 2_000
"""Maximum events read by one statement."""


class SqlNews(SqlBase):
    """SQL implementation of `run_store.run_news.NewsReader`."""

    def news(self, seen: Mapping[str, int], most: int) -> Mapping[str, RunNews]:
        """See `NewsReader.news`. One query for all runs, and one for the events of those in which
        there are any."""
        if not seen:
            return {}
        with self._reading() as connection:
            given, key = _given(connection, seen)
            statement = _STATES.join_from(runs, given, runs.c.run_id == key)
            found = connection.execute(statement.where(*visible(runs, self._viewer))).all()
            # Of more new events than are wanted, only the newest.
            first = {
                row.run_id: max(seen[row.run_id], row.last_seq - most)
                for row in found
                if row.last_seq > seen[row.run_id]
            }
            annotations = {row.run_id: row.annotation for row in found}
            new: dict[str, Sequence[StoredEvent]] = {}
            for part in _parts(first, {row.run_id: row.last_seq for row in found}):
                new |= _events(connection, part, annotations)
        return {row.run_id: _news(row, new.get(row.run_id, ())) for row in found}


def _news(row: Any, new: Sequence[StoredEvent]) -> RunNews:
    # On Postgres, the second query may see later events than the first.
    last_seq = max(row.last_seq, new[-1].seq if new else 0)
    return RunNews(last_seq, RunState(row.state), new)


def _parts(first: Mapping[str, int], last: Mapping[str, int]) -> list[dict[str, int]]:
    """Divides runs so that those of one part have few new events together."""
    parts: list[dict[str, int]] = []
    room = 0
    for run_id, after in first.items():
        count = last[run_id] - after
        if count > room:
            parts.append({})
            room = _AT_ONCE
        parts[-1][run_id] = after
        room -= count
    return parts


def _events(
    connection: Connection, after: Mapping[str, int], annotations: Mapping[str, bytes | None]
) -> dict[str, Sequence[StoredEvent]]:
    given, key = _given(connection, after)
    is_new = (events.c.run_id == key) & (events.c.seq > sa.cast(given.c.value, sa.BigInteger))
    statement = _EVENTS.join_from(events, given, is_new)
    with connection.execute(statement, execution_options=FEW_ROWS) as rows:
        return {
            run_id: [sql_rows.stored_event(run_id, row, annotations[run_id]) for row in of_run]
            for run_id, of_run in itertools.groupby(rows, attrgetter("run_id"))
        }


def _given(
    connection: Connection, numbers: Mapping[str, int]
) -> tuple[sa.TableValuedAlias, sa.ColumnElement[Any]]:
    """Runs with a number each as a table, and its column of the runs: one value, whatever their
    count."""
    text = sa.literal(json.dumps(dict(numbers)), sa.Text)
    if connection.dialect.name == "postgresql":
        given = sa.func.json_each_text(sa.cast(text, sa.JSON)).table_valued("key", "value")
        return given, sa.collate(given.c.key, "C")
    given = sa.func.json_each(text).table_valued("key", "value")
    return given, given.c.key


_STATES = sa.select(runs.c.run_id, runs.c.last_seq, runs.c.state, runs.c.annotation)
_EVENTS = sa.select(
    events.c.run_id, events.c.seq, events.c.kind, events.c.data.label("event")
).order_by(events.c.run_id, events.c.seq)
