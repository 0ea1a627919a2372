"""No list of runs scans a table: the plans of all statements of filters and orders, among thousands
of runs of which the databases have statistics."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from mentorgrad.domain.query import FieldFilter, RunFilter, RunOrder
from mentorgrad.domain.run import RunState
from run_store import run_lists
from run_store.open import open_store
from run_store.sql_store import SqlRunStore
from run_store.visibility import EVERYTHING, OnBehalf
from tests.contract.test_run_lists import filled

COPIES = 60
TABLES = ("runs", "run_terms", "run_texts", "field_terms", "events")
MEMBER = OnBehalf("alice", "vision")

_COPY = """
INSERT INTO {table} ({columns}) SELECT {values} FROM {table} CROSS JOIN (
    WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {copies})
    SELECT n FROM numbers
) AS copies
"""
_CHANGED = {
    "run_id": "run_id || '-' || n",
    "request_id": "request_id || '-' || n",
    "text_id": "text_id + n * 100000",
    "created_at": "created_at - n * 1000000",
}


def copied(store: SqlRunStore) -> None:
    """Copies all runs, with statistics for the planner."""
    inspector = sa.inspect(store._engine)
    with store._writing() as connection:
        for table in ("runs", "run_terms", "run_texts"):
            columns = [column["name"] for column in inspector.get_columns(table)]
            statement = _COPY.format(
                table=table,
                columns=", ".join(columns),
                values=", ".join(_CHANGED.get(name, name) for name in columns),
                copies=COPIES,
            )
            connection.exec_driver_sql(statement)
        connection.exec_driver_sql("ANALYZE")


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[SqlRunStore]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('plans')}/runs.db"
    else:
        url = request.getfixturevalue("module_postgres_url")
    found = open_store(url)
    assert isinstance(found, SqlRunStore)
    filled(found)
    copied(found)
    yield found
    found.close()


def wanted(store: SqlRunStore) -> dict[str, RunFilter]:
    """A filter of each kind."""
    newest = store.list_runs(page_size=3).runs
    created = newest[0].created_at
    assert created is not None
    rate = "spec.optimizer.learning_rate"
    return {
        "none": RunFilter(),
        "owner": RunFilter(owner="alice"),
        "state": RunFilter(states=(RunState.SUCCEEDED, RunState.FAILED)),
        "after": RunFilter(created_after=created - timedelta(seconds=30)),
        "before": RunFilter(created_before=created - timedelta(seconds=30)),
        "label": RunFilter(labels={"team": "a"}),
        "task": RunFilter(task="own"),
        "experiment": RunFilter(experiment_id="e1"),
        "loss": RunFilter(fields=(FieldFilter("best_selection_loss", at_most=0.3),)),
        "accuracy": RunFilter(fields=(FieldFilter("result.test.accuracy", at_least=0.4),)),
        "field": RunFilter(fields=(FieldFilter(rate, "0.01"),)),
        "default": RunFilter(fields=(FieldFilter(rate, "0.05"),)),
        "range": RunFilter(fields=(FieldFilter(rate, at_least=0.5),)),
        "seeds": RunFilter(fields=(FieldFilter("spec.seed", at_least=1),)),
        "text": RunFilter(text="plain"),
        "name": RunFilter(name_contains="plain"),
        "pattern": RunFilter(name_pattern="pl.*t"),
        "pattern with text": RunFilter(name_pattern="plain t[u]"),
        "ids": RunFilter(run_ids=tuple(run.run_id for run in newest)),
    }


def statements(store: SqlRunStore, asked: Callable[[], Any]) -> tuple[list[tuple[str, Any]], Any]:
    """What a question executes, and its answer."""
    found: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        found.append((statement, parameters))

    sa.event.listen(store._engine, "before_cursor_execute", note)
    try:
        answer = asked()
    finally:
        sa.event.remove(store._engine, "before_cursor_execute", note)
    assert found
    internal = ("sqlite_master", "pg_class")
    return [one for one in found if not any(name in one[0] for name in internal)], answer


def scans(connection: sa.Connection, statement: str, parameters: Any) -> list[str]:
    """Steps of the plan that read a whole table, or a whole index of one."""
    if connection.dialect.name == "sqlite":
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        named = re.compile(r"SCAN (runs|run_\w+|events|[deprtf])\b")
        return [row[3] for row in rows if named.match(row[3])]
    found = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
    return [
        json.dumps(node)
        for node in nodes(found.scalar_one()[0]["Plan"])
        if (node["Node Type"] == "Seq Scan" and node["Relation Name"] in TABLES)
        or ("Index Scan" in node["Node Type"] and "Index Cond" not in node)
    ]


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All steps of a plan of Postgres."""
    yield {name: value for name, value in plan.items() if name != "Plans"}
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


def is_known(name: str, store: SqlRunStore) -> bool:
    """Whether a filter has no index here: parts of names, where Postgres has no pg_trgm."""
    return name == "name" and not store.url.startswith("sqlite")


@pytest.mark.parametrize(
    ("order", "few"),
    [
        pytest.param(RunOrder.NEWEST, run_lists.FEW, id="newest-gathered"),
        pytest.param(RunOrder.OLDEST, 0, id="oldest-walked"),
        pytest.param(RunOrder.BEST_SELECTION_LOSS, run_lists.FEW, id="best-gathered"),
        pytest.param(RunOrder.BEST_SELECTION_LOSS, 0, id="best-walked"),
        # The same from the other end.
        pytest.param(RunOrder.NEWEST, 0, id="newest-walked", marks=pytest.mark.campaign),
        pytest.param(
            RunOrder.OLDEST, run_lists.FEW, id="oldest-gathered", marks=pytest.mark.campaign
        ),
    ],
)
def test_no_list_scans_a_table(
    store: SqlRunStore, order: RunOrder, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_lists, "FEW", few)
    planned: set[tuple[str, str]] = set()
    with store._engine.connect() as connection:
        is_sqlite = connection.dialect.name == "sqlite"
        if not is_sqlite:
            # A few thousand rows fit into so few pages that reading all may be best.
            connection.exec_driver_sql("SET enable_seqscan = off")
        for (name, item), viewer in itertools.product(wanted(store).items(), (EVERYTHING, MEMBER)):
            if is_known(name, store):
                continue
            view, token = store.seen_by(viewer), ""
            for _ in range(2):
                executed, page = statements(view, partial(view.list_runs, item, order, 5, token))
                for statement, parameters in executed:
                    # Parameters change no plan of SQLite.
                    key = (statement, "" if is_sqlite else repr(parameters))
                    if key not in planned:
                        planned.add(key)
                        assert scans(connection, statement, parameters) == [], (name, statement)
                token = page.next_page_token
                if not token:
                    break
        connection.invalidate()  # its setting


def test_news_of_runs_scan_no_table(store: SqlRunStore) -> None:
    with store._engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET enable_seqscan = off")
        for viewer in (EVERYTHING, MEMBER):
            view = store.seen_by(viewer)
            begun = [run for run in view.list_runs(page_size=100).runs if run.last_seq > 1]
            ask = partial(view.news, {run.run_id: 1 for run in begun[:3]}, 100)
            found, _ = statements(view, ask)
            executed = [one for one in found if one[0].strip().startswith("SELECT")]
            assert len(executed) == 2
            for statement, parameters in executed:
                assert scans(connection, statement, parameters) == [], statement
        connection.invalidate()  # its setting
