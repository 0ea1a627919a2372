"""Opening a store: what is refused, in what words, and how schemas are kept."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import io
import os
import sqlite3
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from typer.testing import CliRunner

from mentorgrad.domain.event import Created
from mentorgrad.domain.experiment import Arm, ExperimentSpec
from mentorgrad.domain.objective import Function
from mentorgrad.domain.query import EventQuery, RunFilter, View
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import DataFiles, RunSpec, Task
from mentorgrad.errors import DataLoss, InvalidInput, MentorgradError, Unavailable
from mentorgrad.store_urls import sqlite_file
from mentorgrad.uploads import uploads_of
from run_store import dialects, migrate, store_commands
from run_store.open import open_store
from run_store.schema_version import HEAD, VERSION_TABLE, version_of
from run_store.tables import metadata
from run_store.temporary_store import TemporaryRunStore
from run_store.uploads import StoredUpload
from run_store.visibility import OnBehalf
from tests.support.postgres_roles import reader_of

SECRET = "hunter2"


@contextlib.contextmanager
def migrating(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction like that of a migration."""
    with (
        dialects.writer_of(engine).connect() as connection,
        dialects.tables_made_anew(connection),
        connection.begin(),
    ):
        yield connection


def opening(url: str) -> MentorgradError:
    with pytest.raises(MentorgradError) as caught:
        open_store(url)
    shown = "".join(traceback.format_exception(caught.value, chain=False))
    assert "\n" not in caught.value.message
    assert SECRET not in caught.value.message
    assert SECRET not in shown.splitlines()[-1]
    return caught.value


@pytest.mark.parametrize(
    "url",
    [
        "",
        "runs.db",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite://host/file.db",
        "memory",
        "memory:x",
        f"mysql://user:{SECRET}@host/db",
        f"postgresql+asyncpg://user:{SECRET}@host/db",
        f"postgresql://user:{SECRET}@host:notaport/db",
        "sqlite:////nowhere/at/all/runs.db",
    ],
)
def test_what_is_no_store_is_refused(url: str) -> None:
    error = opening(url)
    assert isinstance(error, InvalidInput)
    assert error.violations[0].field == "store"


def test_an_unreachable_postgres_is_unavailable_and_keeps_the_password() -> None:
    for url in (
        f"postgresql://user:{SECRET}@127.0.0.1:1/db",
        f"postgresql://127.0.0.1:1/db?user=user&password={SECRET}",
    ):
        error = opening(url)
        assert isinstance(error, Unavailable)
        assert "127.0.0.1" in error.message


def test_a_url_is_shown_without_its_password() -> None:
    for url in (
        f"postgresql://user:{SECRET}@host:1/db?sslmode=require",
        f"postgresql://host:1/db?user=user&password={SECRET}",
    ):
        shown = dialects.shown(dialects.parse(url))
        assert SECRET not in shown
        assert shown.startswith("postgresql://")
        assert "host:1/db" in shown


def test_an_open_store_shows_no_password(postgres_url: str) -> None:
    url = postgres_url.replace("postgres:@", f"postgres:{SECRET}@")
    assert SECRET in url
    store = open_store(url)
    store.check()
    assert SECRET not in store.url
    assert SECRET not in repr(vars(store))
    store.close()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("dear diary, " * 200)
    error = opening(f"sqlite:///{path}")
    assert isinstance(error, InvalidInput)
    assert "not an SQLite database" in error.message
    assert path.read_text().startswith("dear diary")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert "folder" in opening(f"sqlite:///{tmp_path}").message


def test_anothers_tables_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE runs (id INTEGER)")
    other.close()
    error = opening(f"sqlite:///{path}")
    assert isinstance(error, InvalidInput)
    assert "tables of another application (runs)" in error.message
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("runs",)]
    other.close()


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_anothers_database_is_refused_and_stays_as_it_is(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as other, other:
        other.execute(f"PRAGMA journal_mode={mode}")
        other.execute("CREATE TABLE songs (id INTEGER)")
    before = path.read_bytes()
    for how in ({}, {"migrate": False}, {"read_only": True}):
        with pytest.raises(InvalidInput):
            open_store(f"sqlite:///{path}", **how)
    assert "another application (songs)" in opening(f"sqlite:///{path}").message
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_anothers_schema_of_postgres_is_refused_and_stays_as_it_is(postgres_url: str) -> None:
    engine = dialects.engine_of(dialects.parse(postgres_url))
    with engine.begin() as connection:
        for number in range(7):
            connection.execute(sa.text(f"CREATE TABLE songs{number} (id INTEGER)"))
    said = "another application (songs0, songs1, songs2, songs3, songs4, ...)"
    assert said in opening(postgres_url).message
    assert len(sa.inspect(engine).get_table_names()) == 7
    engine.dispose()


def test_who_only_works_on_a_store_neither_makes_nor_migrates_one(postgres_url: str) -> None:
    with pytest.raises(InvalidInput, match="there is no store"):
        open_store(postgres_url, migrate=False)
    engine = dialects.engine_of(dialects.parse(postgres_url))
    assert sa.inspect(engine).get_table_names() == []
    open_store(postgres_url).close()
    open_store(postgres_url, migrate=False).close()
    with engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '0001'"))
    with pytest.raises(InvalidInput, match="mentorgrad store migrate"):
        open_store(postgres_url, migrate=False)
    engine.dispose()


def test_a_command_makes_and_migrates_a_store(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/runs.db"
    for _ in range(2):
        done = CliRunner().invoke(store_commands.app, ["migrate", "--store", url])
        assert done.exit_code == 0, done.output
        assert f"has schema {HEAD}" in done.output
    open_store(url, migrate=False).close()


def test_only_its_owner_reads_a_new_file(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        (tmp_path / "link.db").symlink_to(tmp_path / "runs.db")
        with closing(open_store(f"sqlite:///{tmp_path}/link.db")) as store:
            store.create(Created())
            modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("runs.db*")}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(("runs.db", "runs.db-wal", "runs.db-shm"), 0o600)


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/runs.db"
    open_store(url).close()
    with sqlite3.connect(tmp_path / "runs.db") as other:
        other.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    other.close()
    error = opening(url)
    assert isinstance(error, InvalidInput)
    assert "schema 9999 of a newer mentorgrad" in error.message


# -- names with special characters -------------------------------------------------------------

NAMES = {
    "a%20b": "a b",
    "a b": "a b",
    "a%2520b": "a%20b",
    "a%b": "a%b",
    "a%3Fb": "a?b",
    "a#b": "a#b",
    "a@b:c": "a@b:c",
    "[a]+&=;b": "[a]+&=;b",
    "ä–字": "ä–字",
    "%C3%A4": "ä",
    "a'b\"c": "a'b\"c",
    "~": "~",
}


@pytest.mark.parametrize("written", NAMES)
def test_one_url_means_one_file_for_writers_and_readers(written: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/{written}.db"
    open_store(url).close()
    assert [path.name for path in tmp_path.glob("*.db")] == [f"{NAMES[written]}.db"]
    assert sqlite_file(url) == tmp_path / f"{NAMES[written]}.db"
    with closing(open_store(url, read_only=True)) as store:
        store.check()
        assert store.list_runs().runs == ()


def test_a_line_end_behind_a_url_is_none_of_its_name(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/runs.db\r\n"
    open_store(url).close()
    assert (tmp_path / "runs.db").is_file()
    assert sqlite_file(url) == tmp_path / "runs.db"


def test_a_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    open_store("sqlite:///~/runs.db").close()
    assert (tmp_path / "runs.db").is_file()


def test_an_installation_may_have_a_percent_sign_in_its_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(migrate, "__file__", "/a%b%(c)s/migrate.py")
    assert migrate.config().get_main_option("script_location") == "/a%b%(c)s/migrations"


def test_special_characters_that_a_url_cannot_have_are_named() -> None:
    assert "%3F" in opening("sqlite:///a?b.db").message
    assert "such as mode" in opening("sqlite:///a.db?mode=ro").message
    assert "%40" in opening(f"postgresql://user:p@{SECRET}@host/db").message


# -- readers ------------------------------------------------------------------------------------


def test_a_reader_makes_no_store_and_no_tables(tmp_path: Path, postgres_url: str) -> None:
    for url in (f"sqlite:///{tmp_path}/none.db", postgres_url):
        with pytest.raises(InvalidInput, match="there is no store"):
            open_store(url, read_only=True)
    assert list(tmp_path.iterdir()) == []
    engine = dialects.engine_of(dialects.parse(postgres_url))
    assert sa.inspect(engine).get_table_names() == []
    engine.dispose()


def test_a_reader_does_not_migrate(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/runs.db"
    open_store(url).close()
    for version, how in (("0001", "an older mentorgrad"), ("9999", "a newer mentorgrad")):
        with closing(sqlite3.connect(tmp_path / "runs.db")) as other, other:
            other.execute(f"UPDATE {VERSION_TABLE} SET version_num = '{version}'")
        with pytest.raises(InvalidInput, match=f"schema {version} of {how}"):
            open_store(url, read_only=True)


def test_a_reader_changes_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/runs.db"
    with closing(open_store(url)) as store:
        store.create(Created())
    before = (tmp_path / "runs.db").read_bytes()
    with closing(open_store(url, read_only=True)) as reader:
        assert len(reader.list_runs().runs) == 1
        with pytest.raises(Unavailable) as caught:
            reader.create(Created())
    assert caught.value.reason == "STORE_READ_ONLY"
    assert (tmp_path / "runs.db").read_bytes() == before


@pytest.fixture
def _no_access_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    allowed = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode, **k: mode != os.W_OK and allowed(path, mode, **k)
    )


def test_a_folder_that_cannot_be_written_is_read_and_refused_to_writers(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/runs.db"
    with closing(open_store(url)) as store:
        store.create(Created())
    request.getfixturevalue("_no_access_to_write")
    with closing(open_store(url, read_only=True)) as reader:
        assert len(reader.list_runs().runs) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["runs.db"]
    error = opening(url)
    assert (error.reason, "cannot be written" in error.message) == ("STORE_READ_ONLY", True)


def test_a_user_of_postgres_who_may_only_read_reads_and_does_not_write(postgres_url: str) -> None:
    with closing(open_store(postgres_url)) as store:
        store.create(Created())
    with reader_of(postgres_url) as (url, role, owner):
        with closing(open_store(url, read_only=True)) as reader:
            assert len(reader.list_runs().runs) == 1
        error = opening(url)
        assert (error.reason, "permission denied" in error.message) == ("STORE_READ_ONLY", True)
        with owner.begin() as connection:
            tables = f"ALL TABLES IN SCHEMA {role.removeprefix('reader_')}"
            connection.execute(sa.text(f"GRANT ALL ON {tables} TO {role}"))
        with closing(open_store(url)) as store:
            store.check_writable()
            with owner.begin() as connection:
                connection.execute(sa.text(f"REVOKE INSERT ON runs FROM {role}"))
            for call in (store.check_writable, lambda: store.create(Created())):
                with pytest.raises(Unavailable, match=r"permission denied|has no INSERT") as caught:
                    call()
                assert caught.value.reason == "STORE_READ_ONLY"


def test_sqlite_is_set_up_for_many_processes(tmp_path: Path) -> None:
    store: Any = open_store(f"sqlite:///{tmp_path}/runs.db")
    with store._writing() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 1,
        "foreign_keys": 1,
        "busy_timeout": 30_000,
    }
    store.close()


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    for url in ("memory:", f"sqlite:///{tmp_path}/runs.db"):
        store = open_store(url)
        store.close()
        for call in (store.check, store.list_runs, lambda s=store: s.get_run("a")):
            with pytest.raises(Unavailable, match="closed"):
                call()


def test_a_temporary_store_leaves_no_files() -> None:
    gc.disable()  # what is made meanwhile stays among the youngest, the only ones looked at
    try:
        closed, dropped = TemporaryRunStore(), TemporaryRunStore()
        folders = [Path(store._engine.url.database or "").parent for store in (closed, dropped)]
        assert all(folder.is_dir() for folder in folders)
        closed.close()
        assert not folders[0].exists()
        del dropped
        gc.collect(0)
    finally:
        gc.enable()
    assert not folders[1].exists()


@pytest.mark.slow
@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_models_and_migrations_agree(
    dialect: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = (
        f"sqlite:///{tmp_path}/runs.db"
        if dialect == "sqlite"
        else request.getfixturevalue("postgres_url")
    )
    open_store(url).close()
    engine = dialects.engine_of(dialects.parse(url))
    with engine.connect() as connection:
        options = {
            "version_table": VERSION_TABLE,
            "compare_type": True,
            # The index of texts depends on the extensions that a database has.
            "include_name": lambda name, kind, _: not str(name).startswith("run_search"),
        }
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == version_of(connection) == HEAD
        names = set(sa.inspect(connection).get_table_names())
        names = {name for name in names if not name.startswith("run_search")}
        assert names == {*metadata.tables, VERSION_TABLE}
    with migrating(engine) as connection:
        command.downgrade(migrate.config(connection), "base")
        assert set(sa.inspect(connection).get_table_names()) == {VERSION_TABLE}
        assert version_of(connection) is None
    engine.dispose()
    open_store(url).close()


@pytest.mark.slow
def test_a_database_of_the_present_schema_is_opened_without_alembic(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/runs.db"
    open_store(url).close()
    code = (
        "import sys; from run_store.open import open_store; open_store(sys.argv[1]).close();"
        "assert 'sqlalchemy' in sys.modules and 'alembic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, url], check=True, timeout=60)


def test_damaged_bytes_are_told(tmp_path: Path, event_maker: Any) -> None:
    store = open_store(f"sqlite:///{tmp_path}/runs.db")
    run, _ = store.create(Created())
    lease = store.claim(run.run_id, "w", timedelta(minutes=1))
    make = event_maker(run.run_id, lease.last_seq, 1)
    store.append(run.run_id, 1, [make(make.segment(1, 2))])
    store.put_blob(run.run_id, 1, "file", b"abc")
    with sqlite3.connect(tmp_path / "runs.db") as other:
        other.execute("UPDATE blobs SET data = x'00'")
        other.execute("UPDATE trajectory_segments SET data = zeroblob(48)")
    other.close()
    with pytest.raises(DataLoss):
        store.read_artifact(run.run_id, "file")
    with pytest.raises(DataLoss):
        list(store.events(run.run_id, EventQuery(view=View.FULL)))
    assert len(list(store.events(run.run_id))) == 3
    with sqlite3.connect(tmp_path / "runs.db") as other:
        other.execute("UPDATE events SET data = x'ffff'")
    other.close()
    with pytest.raises(DataLoss):
        list(store.events(run.run_id))
    store.close()


def old_store(url: str, event_maker: Any, revision: str) -> None:
    """Makes a store of an earlier schema: an experiment, its run with all kinds of rows, and a run
    whose labels name another experiment."""
    store = open_store(url)
    spec = ExperimentSpec(
        base=RunSpec(Function()), tasks=(Task("a"),), arms=(Arm("none"), Arm("other")), seeds=(0,)
    )
    name = store.create_experiment(spec, "old experiment")[0].experiment_id
    digest = hashlib.sha256(b"text,label\n").hexdigest()
    store.put_upload(StoredUpload(digest, ".csv", 11), io.BytesIO(b"text,label\n"))
    files = Task("own", DataFiles(f"upload:{digest}"), "what it is", ("a", "b"))
    labels = {"experiment": name, "phase": "main"}
    run, _ = store.create(Created(RunSpec(task=files, labels=labels), "old"))
    store.create(Created(RunSpec(Function(), labels={"experiment": "none"}), "older"))
    lease = store.claim(run.run_id, "w", timedelta(minutes=1))
    make = event_maker(run.run_id, lease.last_seq, 1)
    store.append(run.run_id, 1, [make(make.segment(1, 2)), make(make.scored(0, 0.5))])
    store.put_blob(run.run_id, 1, "file", b"abc")
    store.close()
    engine = dialects.engine_of(dialects.parse(url))
    with migrating(engine) as connection:
        command.downgrade(migrate.config(connection), revision)
        assert version_of(connection) == revision
    engine.dispose()


def content(url: str) -> dict[str, int]:
    """Number of rows per table."""
    engine = dialects.engine_of(dialects.parse(url))
    with engine.connect() as connection:
        found = {
            name: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for name, table in metadata.tables.items()
        }
    engine.dispose()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_owners_come_to_a_full_store_that_loses_nothing(
    dialect: str, tmp_path: Path, request: pytest.FixtureRequest, event_maker: Any
) -> None:
    on_postgres = dialect == "postgres"
    sqlite = f"sqlite:///{tmp_path}/runs.db"
    url = request.getfixturevalue("postgres_url") if on_postgres else sqlite
    old_store(url, event_maker, "0003")
    store = open_store(url)
    rows = content(url)
    # The runs are too short for blocks, and nobody has asked for their sizes.
    empty = ("audit", "agents", "block_summaries", "snapshot_blocks", "run_sizes", "outbox")
    assert [rows.pop(name) for name in empty] == [0] * 6
    assert all(rows.values()), rows
    assert (rows["runs"], rows["events"], rows["upload_owners"]) == (2, 5, 1)
    (experiment,) = store.list_experiments().experiments
    assert store.count_runs(experiment.experiment_id) == {("main", RunState.RUNNING): 1}
    bob = store.seen_by(OnBehalf("bob", ""))
    (run,) = bob.list_runs(RunFilter(experiment_id=experiment.experiment_id)).runs
    assert (run.owner, run.request_id) == ("", "old")
    assert b"".join(bob.upload_pieces(next(iter(uploads_of(run.spec.task.data).values()))))
    # A request from before the upgrade is known after it.
    (older,) = bob.list_runs(RunFilter(states=(RunState.QUEUED,))).runs
    assert bob.find_request("older", older.spec) == older
    store.delete(older.run_id)
    assert content(url)["events"] == 4
    # The worker of the run that was under way goes on.
    make = event_maker(run.run_id, run.last_seq, 1)
    assert store.append(run.run_id, 1, [make(make.segment(3, 4))]) == run.last_seq + 1
    store.close()


def test_a_store_of_the_first_schema_keeps_its_runs(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/runs.db"
    store = open_store(url)
    run, _ = store.create(Created(request_id="old"))
    store.close()
    engine = dialects.engine_of(dialects.parse(url))
    with migrating(engine) as connection:
        command.downgrade(migrate.config(connection), "0001")
        assert "experiments" not in sa.inspect(connection).get_table_names()
    engine.dispose()
    store = open_store(url)
    assert store.get_run(run.run_id) == run
    assert len(list(store.events(run.run_id))) == 1
    assert store.running_experiments() == ()
    store.close()
