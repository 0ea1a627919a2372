"""Runs the chain of migrations on the connection that it is given, in its transaction."""

from __future__ import annotations

from alembic import context

from run_store.schema_version import VERSION_TABLE
from run_store.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
    transactional_ddl=True,
)
context.run_migrations()
