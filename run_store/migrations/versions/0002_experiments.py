"""Experiments, and an index by which they count their runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

Text = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "experiments",
        sa.Column("experiment_id", Text, nullable=False),
        sa.Column("request_id", Text, nullable=False),
        sa.Column("state", Text, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger()),
        sa.Column("reason", Text, nullable=False),
        sa.Column("spec", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("experiment_id", name=op.f("pk_experiments")),
        sa.UniqueConstraint("request_id", name=op.f("uq_experiments_request_id")),
    )
    op.create_index(op.f("ix_experiments_state"), "experiments", ["state"])
    op.create_index(
        op.f("ix_experiments_created_at_experiment_id"),
        "experiments",
        ["created_at", "experiment_id"],
    )
    op.create_index(
        op.f("ix_run_labels_key_value_run_id"), "run_labels", ["key", "value", "run_id"]
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_run_labels_key_value_run_id"), "run_labels")
    op.drop_table("experiments")
