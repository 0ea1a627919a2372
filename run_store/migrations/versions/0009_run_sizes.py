"""Stored bytes of ended runs. They are measured when they are first asked for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

Text = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "run_sizes",
        sa.Column("run_id", Text, nullable=False),
        sa.Column("owner", Text, nullable=False, server_default=""),
        sa.Column("raw_bytes", sa.BigInteger(), nullable=False),
        sa.Column("other_bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.run_id"], name=op.f("fk_run_sizes_runs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_run_sizes")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        op.f("ix_run_sizes_owner_raw_bytes_other_bytes"),
        "run_sizes",
        ["owner", "raw_bytes", "other_bytes"],
    )


def downgrade() -> None:
    op.drop_table("run_sizes")
