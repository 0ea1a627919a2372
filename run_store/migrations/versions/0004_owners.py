"""Owners and projects of runs, experiments and uploads; the experiment of a run as a column.

What exists has no owner, and stays visible to all. On SQLite, a unique constraint changes by making
the table anew, which `run_store.migrate` keeps from deleting what refers to its rows.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

Text = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")

_OF_EXPERIMENTS = """
UPDATE runs SET experiment_id = (
    SELECT value FROM run_labels WHERE run_labels.run_id = runs.run_id AND key = 'experiment'
) WHERE run_id IN (
    SELECT run_labels.run_id FROM run_labels
    JOIN experiments ON experiments.experiment_id = run_labels.value
    WHERE run_labels.key = 'experiment'
)
"""


def _owned(name: str) -> sa.Column:
    return sa.Column(name, Text, nullable=False, server_default="")


def upgrade() -> None:
    for table, names in (
        ("runs", ("owner", "project", "experiment_id")),
        ("experiments", ("owner", "project")),
    ):
        unique = [name for name in names if name != "project"] + ["request_id"]
        with op.batch_alter_table(table) as batch:
            for name in names:
                batch.add_column(_owned(name))
            batch.drop_constraint(op.f(f"uq_{table}_request_id"), type_="unique")
            batch.create_unique_constraint(op.f(f"uq_{table}_{'_'.join(unique)}"), unique)
    op.create_index(
        op.f("ix_runs_experiment_id_state_run_id"), "runs", ["experiment_id", "state", "run_id"]
    )
    op.execute(_OF_EXPERIMENTS)
    op.create_table(
        "upload_owners",
        sa.Column("sha256", Text, nullable=False),
        sa.Column("owner", Text, nullable=False),
        sa.Column("project", Text, nullable=False),
        sa.ForeignKeyConstraint(
            ["sha256"],
            ["uploads.sha256"],
            name=op.f("fk_upload_owners_uploads"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("sha256", "owner", "project", name=op.f("pk_upload_owners")),
    )
    op.execute(
        "INSERT INTO upload_owners (sha256, owner, project) SELECT sha256, '', '' FROM uploads"
    )


def downgrade() -> None:
    op.drop_table("upload_owners")
    op.drop_index(op.f("ix_runs_experiment_id_state_run_id"), "runs")
    for table, names in (
        ("experiments", ("owner", "project")),
        ("runs", ("owner", "project", "experiment_id")),
    ):
        unique = [name for name in names if name != "project"] + ["request_id"]
        with op.batch_alter_table(table) as batch:
            batch.drop_constraint(op.f(f"uq_{table}_{'_'.join(unique)}"), type_="unique")
            batch.create_unique_constraint(op.f(f"uq_{table}_request_id"), ["request_id"])
            for name in names:
                batch.drop_column(name)
