"""Uploaded data files, and the runs that use them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

Text = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "uploads",
        sa.Column("sha256", Text, nullable=False),
        sa.Column("suffix", Text, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_uploads")),
    )
    op.create_table(
        "upload_pieces",
        sa.Column("sha256", Text, nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["sha256"],
            ["uploads.sha256"],
            name=op.f("fk_upload_pieces_uploads"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("sha256", "position", name=op.f("pk_upload_pieces")),
    )
    op.create_table(
        "run_uploads",
        sa.Column("run_id", Text, nullable=False),
        sa.Column("sha256", Text, nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.run_id"], name=op.f("fk_run_uploads_runs"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["sha256"], ["uploads.sha256"], name=op.f("fk_run_uploads_uploads")
        ),
        sa.PrimaryKeyConstraint("run_id", "sha256", name=op.f("pk_run_uploads")),
    )
    op.create_index(op.f("ix_run_uploads_sha256"), "run_uploads", ["sha256"])


def downgrade() -> None:
    op.drop_table("run_uploads")
    op.drop_table("upload_pieces")
    op.drop_table("uploads")
