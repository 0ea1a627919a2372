"""The schema of the run store."""

from __future__ import annotations

import json
import tempfile
from typing import Any

import sqlalchemy as sa
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import postgresql

from run_store.migrate import config as alembic_config
from run_store.open import open_store
from run_store.schema_version import HEAD, VERSION_TABLE
from run_store.tables import metadata


def store_schema() -> dict[str, Any]:
    """Tables as the migrations make them on SQLite, and the revisions of the migrations."""
    scripts = ScriptDirectory.from_config(alembic_config())
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/migrated.db"
        open_store(url).close()
        tables = tables_of(url)
    for name, table in metadata.tables.items():
        for column in table.columns:
            kind = column.type.compile(postgresql.dialect())  # type: ignore[no-untyped-call]
            tables[name]["columns"][column.name]["postgres_type"] = kind
    return {
        "head": HEAD,
        "version_table": VERSION_TABLE,
        "revisions": sorted(script.revision for script in scripts.walk_revisions()),
        "tables": tables,
    }


def declared_tables() -> dict[str, Any]:
    """Tables as the metadata declares them, made on SQLite."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/declared.db"
        engine = sa.create_engine(url)
        metadata.create_all(engine)
        engine.dispose()
        return tables_of(url)


def tables_of(url: str) -> dict[str, Any]:
    """Tables of a database, with columns, constraints and indexes."""
    engine = sa.create_engine(url)
    inspector = sa.inspect(engine)
    names = (name for name in inspector.get_table_names() if not name.startswith("run_search"))
    found = {name: _table(inspector, name) for name in names}
    engine.dispose()
    return found


def _table(inspector: sa.Inspector, name: str) -> dict[str, Any]:
    foreign = sorted(
        (
            {
                "name": key["name"],
                "columns": key["constrained_columns"],
                "refers_to": [key["referred_table"], *key["referred_columns"]],
                "options": key["options"],
            }
            for key in inspector.get_foreign_keys(name)
        ),
        key=json.dumps,
    )
    return {
        "columns": {
            column["name"]: {
                "type": str(column["type"]),
                "nullable": column["nullable"],
                "default": column["default"],
            }
            for column in inspector.get_columns(name)
        },
        "primary_key": dict(inspector.get_pk_constraint(name)),
        "foreign_keys": foreign,
        "unique": {
            str(key["name"]): key["column_names"] for key in inspector.get_unique_constraints(name)
        },
        "indexes": {
            str(index["name"]): {"columns": index["column_names"], "unique": bool(index["unique"])}
            for index in inspector.get_indexes(name)
        },
    }
