"""Backups of an SQLite store in use, restoring them, and giving free space back."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mentorgrad.domain.event import Created
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import InvalidInput, MentorgradError, PreconditionFailed, Unavailable
from run_store import sqlite_copies
from run_store.open import open_store
from run_store.sqlite_copies import back_up, restore, vacuum

BIG = 12


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[Any]:
    with contextlib.closing(open_store(f"sqlite:///{path}")) as found:
        yield found


def untold(done: int, total: int) -> None:
    """Nobody is told of the progress."""


def refused(kind: type[MentorgradError], call: Any, *args: Any, **more: Any) -> str:
    with pytest.raises(kind) as caught:
        call(*args, untold, **more)
    assert "\n" not in caught.value.message
    return caught.value.message


def filled(store: Any, count: int = BIG) -> list[str]:
    """Runs of some files."""
    made = []
    for number in range(count):
        run_id = store.create(Created(RunSpec(name=str(number))))[0].run_id
        lease = store.claim(run_id, "worker", timedelta(minutes=1))
        store.put_blob(run_id, lease.attempt, "file", bytes(64 * 1024))
        made.append(run_id)
    return made


def test_a_backup_is_one_state_while_others_write(
    store: Any, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_copies, "STEP_PAGES", 6)
    before = filled(store)
    steps: list[tuple[int, int]] = []

    def told(done: int, total: int) -> None:
        steps.append((done, total))
        store.create(Created())

    copy = tmp_path / "copy.sqlite"
    size = back_up(path, copy, told)
    assert len(steps) > 3
    assert steps[-1][0] == steps[-1][1]
    assert len({total for _, total in steps}) == 1
    assert size == copy.stat().st_size
    assert copy.stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.glob(".copy*"))
    with contextlib.closing(open_store(f"sqlite:///{copy}", read_only=True)) as opened:
        assert sorted(run.run_id for run in opened.list_runs(page_size=1000).runs) == before
        assert not list(opened.findings())
    assert not list(tmp_path.glob("copy.sqlite-*"))
    new = tmp_path / "new.sqlite"
    restore(copy, new, untold)
    assert new.stat().st_mode & 0o777 == 0o600
    with contextlib.closing(open_store(f"sqlite:///{new}")) as opened:
        lease = opened.create(Created())[0].run_id
        assert opened.get_run(lease).state is RunState.QUEUED
        assert len(opened.list_runs(page_size=1000).runs) == len(before) + 1


def test_a_backup_never_takes_the_place_of_the_store(
    store: Any, path: Path, tmp_path: Path
) -> None:
    link = tmp_path / "link.sqlite"
    link.symlink_to(path)
    for place in (path, link, Path(f"{path}-wal"), tmp_path / ".." / tmp_path.name / path.name):
        assert "is the store itself" in refused(InvalidInput, back_up, path, place, force=True)
    assert "is the backup itself" in refused(InvalidInput, restore, path, link)
    assert store.create(Created())[1]


def test_what_is_there_is_replaced_by_force_only(store: Any, path: Path, tmp_path: Path) -> None:
    file = tmp_path / "copy"
    file.write_text("mine")
    file.chmod(0o644)
    assert "--force" in refused(InvalidInput, back_up, path, file)
    assert file.read_text() == "mine"
    back_up(path, file, untold, force=True)
    assert file.stat().st_mode & 0o777 == 0o600
    assert "folder" in refused(InvalidInput, back_up, path, tmp_path, force=True)
    assert "does not exist" in refused(InvalidInput, back_up, path, tmp_path / "no" / "copy")


def test_a_backup_never_takes_the_place_of_a_device_or_pipe(
    store: Any, path: Path, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for force in (False, True):
        assert "device or a pipe" in refused(InvalidInput, back_up, path, pipe, force=force)
    assert pipe.is_fifo()


def test_a_folder_that_cannot_be_written_is_named(
    store: Any, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, locked = tmp_path / "good", tmp_path / "locked"
    back_up(path, good, untold)
    locked.mkdir()
    monkeypatch.setattr(os, "access", lambda place, mode: Path(place) != locked)  # root may all
    said = f"cannot be written: no write permission in the folder {locked}"
    assert said in refused(InvalidInput, back_up, path, locked / "copy")
    assert said in refused(InvalidInput, restore, good, locked / "new")
    assert list(locked.iterdir()) == []


def test_names_may_be_as_long_as_the_file_system_allows(
    store: Any, path: Path, tmp_path: Path
) -> None:
    assert back_up(path, tmp_path / ("é" * 127), untold) > 0
    assert "too long" in refused(Unavailable, back_up, path, tmp_path / ("w" * 300))


def test_only_a_store_is_copied(store: Any, path: Path, tmp_path: Path) -> None:
    foreign, text = tmp_path / "foreign.sqlite", tmp_path / "text"
    with contextlib.closing(sqlite3.connect(foreign)) as other:
        other.execute("CREATE TABLE customers (name TEXT)")
    text.write_text("no database, but a text of some length" * 100)
    newer = tmp_path / "newer.sqlite"
    back_up(path, newer, untold)
    with contextlib.closing(sqlite3.connect(newer)) as other, other:
        other.execute("UPDATE mentorgrad_schema SET version_num = '9999'")
    cases = {foreign: "another application", text: "not an SQLite", newer: "newer mentorgrad"}
    for source, said in (cases | {tmp_path / "none": "no store"}).items():
        place = tmp_path / "made"
        assert said in refused(InvalidInput, back_up, source, place)
        message = refused(InvalidInput, restore, source, place)
        assert message.startswith("FILE: ")
        assert said in message
        assert str(source) in message
        assert not list(tmp_path.glob("*made*"))
    link, good = tmp_path / "link", tmp_path / "good"
    link.symlink_to(tmp_path / "nowhere")
    back_up(path, good, untold)
    for place, said in ((tmp_path, "is a folder"), (link, "is a link to a file that does not")):
        assert said in refused(InvalidInput, restore, good, place)
    copy = tmp_path / "copy"
    back_up(path, copy, untold)
    assert "another application" in refused(InvalidInput, restore, copy, foreign)
    assert "not an SQLite" in refused(InvalidInput, restore, copy, text)


def test_only_an_empty_store_is_restored_into(store: Any, path: Path, tmp_path: Path) -> None:
    filled(store, 1)
    copy, fresh = tmp_path / "copy", tmp_path / "fresh.sqlite"
    back_up(path, copy, untold)
    assert "has runs" in refused(PreconditionFailed, restore, copy, path)
    open_store(f"sqlite:///{fresh}").close()  # its tables are empty
    restore(copy, fresh, untold)
    assert "has runs" in refused(PreconditionFailed, restore, copy, fresh)


def test_a_full_disk_leaves_no_half_backup(
    store: Any, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sqlite_copies.os, "fsync", full)
    assert "No space left" in refused(Unavailable, back_up, path, tmp_path / "copy")
    assert not list(tmp_path.glob("*copy*"))


def test_free_space_goes_back_in_steps(
    store: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_copies, "STEP_PAGES", 6)
    for run_id in filled(store):
        store.transition(run_id, RunState.INTERRUPTED)
        store.delete(run_id)
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    free, before = store.free_bytes(), path.stat().st_size
    assert free > BIG * 64 * 1024
    steps: list[int] = []

    def told(done: int, _: int) -> None:
        steps.append(done)
        store.create(Created())

    freed = vacuum(path, told)
    assert len(steps) > 5
    assert freed > 0
    assert path.stat().st_size <= before - freed
    assert store.free_bytes() < free / 2
    assert not list(store.findings())


def test_the_file_of_an_earlier_version_is_written_anew_first(tmp_path: Path) -> None:
    old = tmp_path / "old.sqlite"
    with contextlib.closing(sqlite3.connect(old)) as connection:
        connection.execute("CREATE TABLE mentorgrad_schema (version_num TEXT)")
        connection.execute("INSERT INTO mentorgrad_schema VALUES ('0007')")
        connection.execute("CREATE TABLE filling (data BLOB)")
        connection.executemany("INSERT INTO filling VALUES (?)", [(bytes(9000),)] * 50)
        connection.execute("DELETE FROM filling")
        connection.commit()
    assert "--full" in refused(PreconditionFailed, vacuum, old)
    assert vacuum(old, untold, full=True) > 50 * 8192
    assert vacuum(old, untold) == 0
