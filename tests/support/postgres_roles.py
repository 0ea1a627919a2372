"""Users of Postgres with fewer rights than the tests' own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import sqlalchemy as sa

from run_store import dialects


@contextlib.contextmanager
def reader_of(postgres_url: str) -> Iterator[tuple[str, str, sa.Engine]]:
    """A user who may only read the tables that a schema has now: its URL, its name, and an engine
    of the owner."""
    owner = dialects.engine_of(dialects.parse(postgres_url))
    with owner.begin() as connection:
        schema = connection.execute(sa.text("SELECT current_schema()")).scalar_one()
        role = f"reader_{schema}"
        for statement in (
            f"CREATE ROLE {role} LOGIN",
            f"GRANT USAGE ON SCHEMA {schema} TO {role}",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}",
        ):
            connection.execute(sa.text(statement))
    url = sa.make_url(postgres_url).set(username=role)
    try:
        yield url.render_as_string(hide_password=False), role, owner
    finally:
        with owner.begin() as connection:
            connection.execute(sa.text(f"DROP OWNED BY {role}"))
            connection.execute(sa.text(f"DROP ROLE {role}"))
        owner.dispose()
