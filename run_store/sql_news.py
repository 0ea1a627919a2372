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
from run_store import invariants, sql_rows
from run_store.run_news import RunNews
from run_store.sql_base import FEW_ROWS, SqlBase
from run_store.stored_events import StoredEvent
from run_store.tables import runs
from run_store.visibility import visible

_AT_ONCE = 2_000
"""Maximum events read by one statement."""

_BIGINT_MAX = 2**63 - 1


class SqlNews(SqlBase):
    """SQL implementation of `run_store.run_news.NewsReader`."""

    def news(self, seen: Mapping[str, int], most: int) -> Mapping[str, RunNews]:
        """See `NewsReader.news`. One query for all runs, and one for the events of those in which
        there are any."""
        seen = {run_id: seq for run_id, seq in seen.items() if invariants.is_run_id(run_id)}
        if not seen:
            return {}
        with self._reading() as connection:
            is_given = runs.c.run_id.in_(sa.select(_keys(connection, seen)))
            statement = _STATES.where(is_given, *visible(runs, self._viewer))
            found = connection.execute(statement).all()
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
    statement: sa.TextClause = _EVENTS_SQLITE
    values: dict[str, Any] = {"given": json.dumps(dict(after))}
    if _is_postgres(connection):
        statement, values["count"] = _EVENTS_POSTGRES, _BIGINT_MAX
    with connection.execute(statement, values, execution_options=FEW_ROWS) as rows:
        return {
            run_id: [sql_rows.stored_event(run_id, row, annotations[run_id]) for row in of_run]
            for run_id, of_run in itertools.groupby(rows, attrgetter("run_id"))
        }


def _keys(connection: Connection, numbers: Mapping[str, int]) -> sa.ColumnElement[Any]:
    """The runs of a mapping as a column: one value, whatever their count."""
    text = sa.literal(json.dumps(dict(numbers)), sa.Text)
    if _is_postgres(connection):
        each = sa.func.json_each_text(sa.cast(text, sa.JSON)).table_valued("key", "value")
        return sa.collate(each.c.key, "C")
    return sa.func.json_each(text).table_valued("key", "value").c.key


def _is_postgres(connection: Connection) -> bool:
    return connection.dialect.name == "postgresql"


_STATES = sa.select(runs.c.run_id, runs.c.last_seq, runs.c.state, runs.c.annotation)
# Neither of them ever reads all events, whatever the statistics say: SQLite reads the left side of
# a CROSS JOIN first, and Postgres looks up each run because of the limit.
_EVENTS_SQLITE = sa.text("""
    SELECT e.run_id, e.seq, e.kind, e.data AS event
    FROM json_each(:given) g CROSS JOIN events e
    WHERE e.run_id = g.key AND e.seq > g.value
    ORDER BY e.run_id, e.seq
""")
_EVENTS_POSTGRES = sa.text("""
    SELECT e.run_id, e.seq, e.kind, e.data AS event
    FROM json_each_text(CAST(:given AS json)) g CROSS JOIN LATERAL (
        SELECT * FROM events o
        WHERE o.run_id = g.key COLLATE "C" AND o.seq > CAST(g.value AS bigint)
        ORDER BY o.seq LIMIT :count
    ) e
    ORDER BY e.run_id, e.seq
""")
