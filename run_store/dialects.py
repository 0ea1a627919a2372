"""Code that differs between SQLite and Postgres: engines, clocks, locks, errors."""

from __future__ import annotations

import contextlib
import functools
import os
import select
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import URL, Connection, Engine, make_url

from mentorgrad import outside_text
from mentorgrad.errors import InvalidInput, Unavailable
from mentorgrad.installed import pip_line
from mentorgrad.store_urls import sqlite_file

BUSY_SECONDS = 30.0
"""How long a writer waits for SQLite's write lock, seconds."""

_POOL = {"pool_size": 8, "max_overflow": 24, "pool_timeout": 30.0}
_POSTGRES = {
    # A pooler in transaction mode gives each transaction another session, which may have prepared
    # statements of the same names, or none.
    "prepare_threshold": None,
    "connect_timeout": 10,
    # Detects a dead host within about 20 s, on idle connections too.
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
_PAGE_BYTES = 16 * 1024
"""Page size of a new SQLite file: with the default of 4 KiB, writing tensors takes 1.5 times as
long."""

IN_BINARY = {"in_binary": True}
"""Execution options of a statement whose rows are megabytes of bytes: Postgres would send them as
text of twice the length."""

_MICROSECOND = timedelta(microseconds=1)


SCHEMES = ("sqlite:///", "postgresql://", "postgresql+psycopg://")
"""Beginnings of the URLs of SQL stores; the last one is what `parse` makes of the second one."""


def parse(text: str) -> URL:
    """Parses the URL of an SQL store. A line end behind it, as files and secrets have, is ignored.

    Raises:
        InvalidInput: The URL is malformed, or names another database. The message never contains
            the URL, which may include a password.
    """
    text = text.rstrip("\r\n")
    try:
        url = make_url(text if text.startswith(SCHEMES) else "")
    except (sa.exc.ArgumentError, ValueError):
        raise InvalidInput.field(
            "store", "must be a URL such as sqlite:///runs.db or postgresql://user@host/database"
        ) from None
    if url.drivername == "sqlite":
        if not url.database or url.database == ":memory:" or url.host:
            raise InvalidInput.field(
                "store", "must name a file, such as sqlite:///runs.db or sqlite:////data/runs.db"
            )
        if "?" in text and not url.query:
            raise InvalidInput.field("store", "write a question mark in a file's name as %3F")
        if url.query:
            raise InvalidInput.field(
                "store",
                f"an SQLite store takes no parameters, such as {next(iter(url.query))}; write a "
                "question mark in a file's name as %3F",
            )
        return url.set(database=str(sqlite_file(text)))
    if "@" in (url.host or ""):
        # The error of the connection would show this end of the password.
        raise InvalidInput.field("store", "write an @ in the user's name or password as %40")
    return url.set(drivername="postgresql+psycopg")


def shown(url: URL) -> str:
    """The URL for logs: without the password and the query, which may contain one."""
    name = url.set(drivername=url.drivername.partition("+")[0], query={})
    return name.render_as_string(hide_password=True)


def engine_of(url: URL, read_only: bool = False, *, create: bool = True) -> Engine:
    """Creates an engine for read transactions; `writer_of` derives the one for writes.

    Args:
        url: The parsed URL.
        read_only: Whether the engine never writes: neither the database nor files beside it.
        create: Whether an SQLite file is created if there is none.

    Raises:
        InvalidInput: The file's folder does not exist, or the file is not an SQLite database.
            With `read_only` or without `create`: the file does not exist. Without `read_only`: it
            cannot be written.
        Unavailable: The database cannot be opened.
    """
    if url.drivername == "sqlite":
        return _sqlite(url, read_only, create)
    try:
        engine = sa.create_engine(
            url,
            connect_args={k: v for k, v in _POSTGRES.items() if k not in url.query},
            execution_options={"postgresql_readonly": True} if read_only else {},
            **_POOL,
        )
    except ModuleNotFoundError:
        raise Unavailable(
            f"Postgres needs a driver: {pip_line('postgres')}", reason="MISSING_EXTRA"
        ) from None

    _replace_what_broke(engine)

    @sa.event.listens_for(engine, "before_cursor_execute")
    def choose_format(_: Any, cursor: Any, __: str, ___: Any, context: Any, ____: bool) -> None:
        if context is not None and "in_binary" in context.execution_options:
            cursor.format = 1

    return engine


def _replace_what_broke(engine: Engine) -> None:
    """Has connections replaced that broke while nobody used them.

    SQLAlchemy's own `pool_pre_ping` asks the database before each use, which is a third of a short
    transaction. A connection that the other end has closed can be read from, as one that nobody
    uses cannot; only then this asks. A host that has vanished is for the keepalives to notice.
    """

    @sa.event.listens_for(engine, "checkout")
    def look(connection: Any, _: Any, __: Any) -> None:
        if not connection.closed:
            poll = select.poll()
            poll.register(connection.fileno(), select.POLLIN)
            if not poll.poll(0):
                return
        dialect = engine.dialect
        try:
            dialect.do_ping(connection)
        except dialect.loaded_dbapi.Error as error:
            if not dialect.is_disconnect(error, connection, None):
                raise
            raise sa.exc.InvalidatePoolError from error


def writer_of(engine: Engine) -> Engine:
    """The same engine for write transactions: they take SQLite's write lock when they begin."""
    return engine.execution_options(begin="BEGIN IMMEDIATE")


def asker_of(engine: Engine) -> Engine:
    """The same engine for single statements that read: on Postgres outside of a transaction, to
    begin and end which would be two more questions."""
    is_sqlite = engine.dialect.name == "sqlite"  # where it is no question
    return engine if is_sqlite else engine.execution_options(isolation_level="AUTOCOMMIT")


def one_of_texts(dialect: str, column: sa.ColumnElement[str], name: str) -> Any:
    """SQL condition: a text column is one of the list that is bound to a name."""
    if dialect == "postgresql":  # one value, where IN would be another statement for each length
        return column == sa.any_(sa.bindparam(name, type_=postgresql.ARRAY(postgresql.TEXT)))
    return column.in_(sa.bindparam(name, expanding=True))


def tables_before(url: URL) -> list[str]:
    """Tables of an SQLite file before an engine opens it, which changes the file; elsewhere, and
    where the file cannot be read, none: who opens it then is told why.
    """
    path = Path(url.database or "")
    if url.drivername != "sqlite" or not path.is_file():
        return []
    names = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    # Where nobody has the database open, nothing is to be made beside it.
    mode = "mode=ro" if Path(f"{path}-wal").exists() else "mode=ro&immutable=1"
    found = f"{path.absolute().as_uri()}?{mode}"
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(found, uri=True, timeout=BUSY_SECONDS)) as connection,
    ):
        return [name for (name,) in connection.execute(names)]
    return []


@contextlib.contextmanager
def looking(engine: Engine) -> Iterator[Connection]:
    """A connection that fails if the database is not available *now*.

    A process can read an SQLite file that it has open long after the file was moved or its disk
    was detached. So this opens the file again, read-only, to neither create nor change it.
    """
    if engine.dialect.name != "sqlite":
        with engine.connect() as connection:
            yield connection
        return
    path = Path(engine.url.database or "").absolute().as_uri()
    anew = sa.create_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(f"{path}?mode=ro", uri=True, timeout=BUSY_SECONDS),
        poolclass=sa.pool.NullPool,
    )
    with anew.connect() as connection:
        yield connection


def missing_privilege(connection: Connection, tables: Iterable[str]) -> str:
    """What a user of Postgres may not do, of what a run store needs, in words; empty: nothing."""
    if connection.dialect.name != "postgresql":
        return ""
    if connection.execute(_TAKES_NO_WRITES).scalar_one():
        return "the database takes no writes"
    # Arrays, where a column for each of the pairs would take most of the time to open a store.
    asked = {"tables": sorted(tables), "privileges": list(_PRIVILEGES)}
    for table, name in connection.execute(_NOT_ALLOWED, asked):
        return f"permission denied: this user has no {name} on table {table}"
    return ""


_PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE")

_NOT_ALLOWED = sa.text(
    "SELECT name, privilege FROM unnest(CAST(:tables AS text[])) WITH ORDINALITY AS t (name, n),"
    " unnest(CAST(:privileges AS text[])) WITH ORDINALITY AS p (privilege, m)"
    " WHERE NOT has_table_privilege(name, privilege) ORDER BY n, m LIMIT 1"
)

_TAKES_NO_WRITES = sa.select(sa.func.current_setting("transaction_read_only") == "on")


def _sqlite(url: URL, read_only: bool, create: bool) -> Engine:
    path = Path(url.database or "")
    if path.is_dir():
        raise InvalidInput.field("store", f"must name a file; {path} is a folder")
    if not path.parent.is_dir():
        raise InvalidInput.field("store", f"the folder {path.parent} does not exist")
    if (read_only or not create) and not path.is_file():
        raise InvalidInput.field("store", f"there is no store at {path}")
    if read_only:
        engine = sa.create_engine(url, creator=lambda: sqlite_reader(path), **_POOL)
    else:
        _check_writable(path)
        _make_private(path)
        _enter_wal(path)
        engine = sa.create_engine(url, connect_args={"timeout": BUSY_SECONDS}, **_POOL)

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        # The driver must not begin transactions by itself: a transaction that starts with a plain
        # BEGIN and writes later fails if another writer has committed in between.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={int(BUSY_SECONDS * 1000)}")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))

    return engine


def sqlite_reader(path: Path) -> sqlite3.Connection:
    """A connection that reads an SQLite file, and changes nothing but the files beside it that
    readers share."""
    # Readers share a small file beside the database. Where it cannot be made, there can be no
    # writer either.
    shared = os.access(path.parent, os.W_OK) or Path(f"{path}-wal").exists()
    mode = "mode=ro" if shared else "mode=ro&immutable=1"
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?{mode}",
        uri=True,
        timeout=BUSY_SECONDS,
        check_same_thread=False,
    )


def _check_writable(path: Path) -> None:
    """Checks that the file, if it exists, and its folder can be written.

    Raises:
        InvalidInput: They cannot (reason STORE_READ_ONLY).
    """
    for place in (path.parent, path):
        if place.exists() and not os.access(place, os.W_OK):
            said = f"{place.absolute()} cannot be written"
            raise InvalidInput.field("store", said, reason=READ_ONLY)


def _make_private(path: Path) -> None:
    """Creates the file if there is none; nobody else can read it, nor what SQLite puts beside it,
    which gets the same mode."""
    # One that is there is not opened: closing it would release this process's locks on it.
    with contextlib.suppress(OSError):
        os.close(os.open(os.path.realpath(path), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _enter_wal(path: Path) -> None:
    """Switches the file to WAL mode, which is persistent.

    Only one process can do this at a time. SQLite does not wait for the lock here, so this retries.

    Raises:
        InvalidInput: The file is not an SQLite database.
        Unavailable: The file cannot be opened.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            with contextlib.closing(sqlite3.connect(path)) as connection:
                connection.execute(f"PRAGMA page_size={_PAGE_BYTES}")  # affects new files only
                if not path.stat().st_size:  # elsewhere it would wait for the write lock
                    # Free space can then be given back to the disk in steps.
                    connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
                connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.DatabaseError as error:
            if "not a database" in str(error):
                raise InvalidInput.field("store", f"{path} is not an SQLite database") from None
            if reason_of(error) != "STORE_BUSY" or time.monotonic() > deadline:
                said = f"cannot open {path}: {one_line(error)}"
                raise Unavailable(said, reason=reason_of(error)) from None
        time.sleep(0.02)


READ_ONLY = "STORE_READ_ONLY"
"""Error reason: the store cannot be written."""

_REASONS = (
    # SQLite's primary result codes, and the classes or codes of SQLSTATE.
    ("STORE_BUSY", {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}, ("55P03", "40001", "40P01")),
    ("STORE_FULL", {sqlite3.SQLITE_FULL}, ("53100",)),
    (READ_ONLY, {sqlite3.SQLITE_READONLY}, ("42501", "25006")),
    ("STORE_CORRUPT", {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}, ("XX001", "XX002")),
)


def reason_of(error: BaseException) -> str:
    """The error reason of a database error: STORE_BUSY (locked by other transactions), STORE_FULL
    (disk full), STORE_READ_ONLY (no permission to write), STORE_CORRUPT, or STORE_AWAY for all
    others."""
    driver = getattr(error, "orig", None) or error
    number = (getattr(driver, "sqlite_errorcode", None) or 0) & 0xFF
    state = getattr(driver, "sqlstate", None)
    for reason, numbers, states in _REASONS:
        if number in numbers or state in states:
            return reason
    return "STORE_AWAY"


def one_line(error: BaseException) -> str:
    """The driver's error message in one line, without the statement and its values."""
    said = str(getattr(error, "orig", None) or error)
    return outside_text.without_secrets(outside_text.one_line(said))[:300]


def micros_of(lease: timedelta) -> int:
    """Duration of a lease in microseconds."""
    return lease // _MICROSECOND


_POSTGRES_NOW = sa.cast(sa.extract("epoch", sa.func.clock_timestamp()) * 1_000_000, sa.BigInteger)


def now(connection: Connection) -> sa.ColumnElement[int]:
    """The current time for leases, in microseconds.

    On Postgres the database's clock, since the clocks of several hosts may differ. On SQLite the
    process's clock, since all processes that open the file run on one host.
    """
    if connection.dialect.name == "postgresql":
        return _POSTGRES_NOW
    return sa.literal(time.time_ns() // 1000, sa.BigInteger)


@functools.cache
def clock(dialect: str) -> sa.ColumnElement[int]:
    """`now` in a statement that is built once per dialect, with the values of `clock_values`."""
    if dialect == "postgresql":
        return _POSTGRES_NOW
    return sa.bindparam("now", type_=sa.BigInteger)


def clock_values(connection: Connection) -> dict[str, int]:
    """The values of `clock`."""
    is_postgres = connection.dialect.name == "postgresql"
    return {} if is_postgres else {"now": time.time_ns() // 1000}


def lock(connection: Connection, key: int) -> None:
    """Takes the advisory lock `key` until the transaction ends. On SQLite, a write transaction
    excludes all others anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))


def free_bytes(connection: Connection) -> int:
    """Bytes of an SQLite file that hold nothing; 0 elsewhere."""
    if connection.dialect.name != "sqlite":
        return 0
    pages, size = (
        int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())
        for name in ("freelist_count", "page_size")
    )
    return pages * size


@contextlib.contextmanager
def tables_made_anew(connection: Connection) -> Iterator[None]:
    """Lets a transaction within this block replace tables. On SQLite, dropping a table would
    otherwise delete the rows that refer to its rows, and the setting counts only if it is made
    outside a transaction."""
    driver: Any = connection.connection.driver_connection
    is_sqlite = connection.dialect.name == "sqlite"
    if is_sqlite:
        driver.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        if is_sqlite:
            driver.execute("PRAGMA foreign_keys=ON")


def one_of(connection: Connection, column: sa.ColumnElement[int], numbers: Sequence[int]) -> Any:
    """SQL condition: an integer column is one of at most `_MAX_VALUES` numbers."""
    if connection.dialect.name == "postgresql":  # one value, where IN would plan as many
        return column == sa.any_(sa.literal(list(numbers), postgresql.ARRAY(sa.BigInteger)))
    return column.in_(numbers)


def see_one_state(connection: Connection) -> None:
    """Lets all statements of a read transaction, which is to begin, see one state of the database,
    as those of SQLite do anyway."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
