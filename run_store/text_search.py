"""Search for texts in the names, notes and labels of runs, as far as the database has an index."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mentorgrad.domain.query import TextSearch
from run_store.sql_text import Sql, exists

TRIGRAMS = "ix_run_texts_trigrams"
"""Postgres' index of trigrams, which exists where the extension pg_trgm could be used. SQLite's
full-text index is the table `run_search`, which exists where its library has FTS5 with trigrams."""

_LEAST = 3
"""Characters of the shortest text that an index of trigrams finds."""

_LAST = "\U0010ffff"

_HAS_FULL_TEXT = sa.text("SELECT count(*) FROM sqlite_master WHERE name = 'run_search'")
_HAS_TRIGRAMS = sa.text(f"SELECT count(*) FROM pg_class WHERE oid = to_regclass('{TRIGRAMS}')")


def search_of(connection: Connection, text: str) -> TextSearch:
    """How a database searches for a text."""
    is_sqlite = connection.dialect.name == "sqlite"
    if len(text) < _LEAST:
        return TextSearch.PREFIX
    if not connection.execute(_HAS_FULL_TEXT if is_sqlite else _HAS_TRIGRAMS).scalar_one():
        return TextSearch.PREFIX
    return TextSearch.FULL_TEXT if is_sqlite else TextSearch.TRIGRAM


def found(sql: Sql, how: TextSearch, text: str, *, name_only: bool = False) -> str:
    """Query for the run_ids whose text contains, or whose name begins with, a case-folded text;
    read from an index."""
    if how is TextSearch.FULL_TEXT:
        phrase = '"{}"'.format(text.replace('"', '""'))
        query = sql.bind(f"name : {phrase}" if name_only else phrase)
        return (
            "SELECT t.run_id FROM run_search s JOIN run_texts t ON t.text_id = s.rowid "
            f"WHERE run_search MATCH {query}"
        )
    if how is TextSearch.TRIGRAM:
        pattern = sql.bind(f"%{_escaped(text)}%")
        others = "" if name_only else f" OR t.other LIKE {pattern}"
        return f"SELECT t.run_id FROM run_texts t WHERE t.name LIKE {pattern}{others}"
    return f"SELECT t.run_id FROM run_texts t WHERE {_begins(sql, text)}"


def matches(
    sql: Sql, how: TextSearch | None, run_id: str, text: str, *, name_only: bool = False
) -> str:
    """Condition that the text of one run matches, by its row alone.

    Args:
        sql: The statement.
        how: How the text is searched for; None: as a substring.
        run_id: The run, as SQL.
        text: Case-folded text.
        name_only: Whether only the name is searched.
    """
    if how is TextSearch.PREFIX:
        is_found = _begins(sql, text)
    else:
        columns = ("t.name",) if name_only else ("t.name", "t.other")
        contains = "strpos" if sql.is_postgres else "instr"
        part = sql.bind(text)
        is_found = " OR ".join(f"{contains}({column}, {part}) > 0" for column in columns)
    return exists(f"SELECT 1 FROM run_texts t WHERE t.run_id = {run_id} AND ({is_found})")


def _begins(sql: Sql, text: str) -> str:
    return f"t.name >= {sql.bind(text)} AND t.name < {sql.bind(text + _LAST)}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
