"""The lines that copy a store in Postgres: `pg_dump` and `pg_restore`, which come with it."""

from __future__ import annotations

import re
import shlex
from contextlib import closing

import sqlalchemy as sa
from sqlalchemy.engine import URL

from mentorgrad.errors import PreconditionFailed
from run_store import dialects
from run_store.schema_version import check_ours
from run_store.sql_base import SqlBase

_PATH = re.compile(r"(?:^|\s)-c\s*search_path=\"?([^\s,\"]+)")


def backup_line(url: URL, file: str) -> str:
    """The line that writes a backup of a store while it is in use; without the password."""
    schema = _schema(url)
    only = [f"--schema={schema}"] if schema else []
    common = ["--format=custom", "--no-owner", "--no-privileges"]
    return shlex.join(["pg_dump", *common, *only, f"--file={file}", *_place(url)])


def restore_line(url: URL, file: str) -> str:
    """The line that restores a backup into a database without tables, completely or not at all."""
    common = ["--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges"]
    return shlex.join(["pg_restore", *common, *_place(url), file])


def _place(url: URL) -> list[str]:
    """Where the database is; what else the URL says stands in a connection string."""
    query = {
        name: value if isinstance(value, str) else ",".join(value)
        for name, value in url.query.items()
        if name not in ("options", "password")
    }
    named = {"host": url.host, "port": url.port, "user": url.username, "dbname": url.database}
    parts = {name: str(value) for name, value in named.items() if value} | query
    text = " ".join(f"{name}={_quoted(value)}" for name, value in parts.items())
    return [f"--dbname={text}"]


def _quoted(text: str) -> str:
    """A value of a connection string."""
    if re.fullmatch(r"[\w./:@%+-]+", text):
        return text
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _schema(url: URL) -> str:
    """The schema that the URL puts the tables into; empty: the usual one."""
    options = url.query.get("options", "")
    match = _PATH.search(options if isinstance(options, str) else " ".join(options))
    return match[1] if match else ""


def check_no_tables(url: URL) -> None:
    """Checks that a database has no tables, so that a backup can be restored into it.

    Raises:
        InvalidInput: It has tables of another application.
        PreconditionFailed: It has those of a store (reason STORE_NOT_EMPTY).
        Unavailable: The database is not available.
    """
    base = SqlBase(dialects.engine_of(url, read_only=True), dialects.shown(url))
    with closing(base), base._reading() as connection:
        tables = sa.inspect(connection).get_table_names()
    check_ours(tables)
    if tables:
        raise PreconditionFailed(
            f"{base.url} has the tables of a store; a backup is restored only into a database "
            "without tables",
            reason="STORE_NOT_EMPTY",
        )
