"""Large imports into SQLite, and what happens to the write-ahead log after them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mentorgrad.domain.event import Created, Finished, RunEvent, StateChanged
from mentorgrad.domain.run import RunState
from run_store.sql_store import SqlRunStore


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.fixture
def store(file: Path) -> Iterator[SqlRunStore]:
    opened = SqlRunStore(f"sqlite:///{file}")
    yield opened
    opened.close()


def log(maker: Any, run_id: str, segments: int, *payloads: Any) -> list[RunEvent]:
    make = maker(run_id, attempt=1)
    middle = [make.segment(n, n, shape=(8, 1024)) for n in range(1, segments + 1)]
    whole = [Created(), StateChanged(RunState.RUNNING), *middle, *payloads]
    return [make(payload) for payload in (*whole, Finished(RunState.FAILED, error="made up"))]


def test_what_was_imported_is_copied_into_the_database_apart(
    store: SqlRunStore, file: Path, event_maker: Any
) -> None:
    store.import_run(log(event_maker, "large", 100))
    store._checkpoints.close()  # waits for the thread
    assert file.stat().st_size > 100 * 32 * 1024
    with store._writer.connect() as connection:
        driver: Any = connection.connection.driver_connection
        assert driver.execute("PRAGMA wal_autocheckpoint").fetchone() == (1000,)


def test_more_rows_than_a_statement_has_room_for(store: SqlRunStore, event_maker: Any) -> None:
    scored = event_maker.scored(0, *(float(n) for n in range(500)))
    store.import_run(log(event_maker, "wide", 1, scored))
    found, token = [], ""
    while True:
        page = store.list_candidates("wide", page_size=200, page_token=token)
        found += [candidate.score.loss for candidate in page.candidates]
        token = page.next_page_token
        if not token:
            break
    assert found == [float(n) for n in range(500)]
