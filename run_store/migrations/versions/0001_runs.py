"""Runs, their events, trajectories, candidates and files."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

Text = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def _required(name: str, kind: sa.types.TypeEngine) -> sa.Column:
    return sa.Column(name, kind, nullable=False)


def _key(name: str) -> sa.Column:
    return sa.Column(name, sa.BigInteger(), autoincrement=False, nullable=False)


def _of_run(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["run_id"], ["runs.run_id"], name=op.f(f"fk_{table}_runs"), ondelete="CASCADE"
    )


def _of_event(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["run_id", "seq"],
        ["events.run_id", "events.seq"],
        name=op.f(f"fk_{table}_events"),
        ondelete="CASCADE",
    )


def upgrade() -> None:
    op.create_table(
        "runs",
        _required("run_id", Text),
        sa.Column("request_id", Text),
        _required("name", Text),
        _required("state", Text),
        _required("desired_state", Text),
        _required("objective", Text),
        _required("task", Text),
        _required("mentor", Text),
        _required("created_at", sa.BigInteger()),
        _required("last_seq", sa.BigInteger()),
        _required("attempt", sa.BigInteger()),
        sa.Column("lease_owner", Text),
        sa.Column("lease_expires_at", sa.BigInteger()),
        sa.Column("best_selection_loss", sa.Double()),
        _required("projection", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_runs")),
        sa.UniqueConstraint("request_id", name=op.f("uq_runs_request_id")),
    )
    op.create_index(op.f("ix_runs_state"), "runs", ["state"])
    op.create_index(op.f("ix_runs_created_at_run_id"), "runs", ["created_at", "run_id"])
    op.create_index(
        op.f("ix_runs_best_selection_loss_run_id"), "runs", ["best_selection_loss", "run_id"]
    )
    op.create_table(
        "run_labels",
        _required("run_id", Text),
        _required("key", Text),
        _required("value", Text),
        _of_run("run_labels"),
        sa.PrimaryKeyConstraint("run_id", "key", name=op.f("pk_run_labels")),
    )
    op.create_table(
        "events",
        _required("run_id", Text),
        _key("seq"),
        _required("attempt", sa.BigInteger()),
        _required("kind", Text),
        _required("time", sa.BigInteger()),
        _required("superseded", sa.Boolean()),
        _required("data", sa.LargeBinary()),
        _of_run("events"),
        sa.PrimaryKeyConstraint("run_id", "seq", name=op.f("pk_events")),
    )
    op.create_table(
        "trajectory_segments",
        _required("run_id", Text),
        _key("seq"),
        _required("stage", sa.BigInteger()),
        _required("step_start", sa.BigInteger()),
        _required("step_end", sa.BigInteger()),
        _required("codec", Text),
        _required("dtype", Text),
        _required("shape", Text),
        _required("sha256", Text),
        _required("superseded", sa.Boolean()),
        _required("data", sa.LargeBinary()),
        _of_event("trajectory_segments"),
        sa.PrimaryKeyConstraint("run_id", "seq", name=op.f("pk_trajectory_segments")),
    )
    op.create_table(
        "candidates",
        _required("run_id", Text),
        _key("seq"),
        _key("position"),
        _required("candidate_id", Text),
        _required("stage", sa.BigInteger()),
        _required("source", Text),
        sa.Column("selection_loss", sa.Double()),
        _required("superseded", sa.Boolean()),
        _required("data", sa.LargeBinary()),
        _of_event("candidates"),
        sa.PrimaryKeyConstraint("run_id", "seq", "position", name=op.f("pk_candidates")),
    )
    op.create_index(
        op.f("ix_candidates_run_id_selection_loss"), "candidates", ["run_id", "selection_loss"]
    )
    op.create_table(
        "blobs",
        _required("run_id", Text),
        _required("name", Text),
        _required("checkpoint", sa.Boolean()),
        _required("sha256", Text),
        _required("size", sa.BigInteger()),
        _required("data", sa.LargeBinary()),
        _of_run("blobs"),
        sa.PrimaryKeyConstraint("run_id", "name", name=op.f("pk_blobs")),
    )


def downgrade() -> None:
    for table in ("blobs", "candidates", "trajectory_segments", "events", "run_labels", "runs"):
        op.drop_table(table)
