"""What lists find runs by: an index of terms, and texts; labels and notes that can be edited.

The rows of the runs that are there are made from their current state, as the present code makes
them for new runs.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from run_store import run_backfill, text_index

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

Text = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")

_REPLACED = {
    "ix_runs_created_at_run_id": ("runs", ["created_at", "run_id"]),
    "ix_runs_best_selection_loss_run_id": ("runs", ["best_selection_loss", "run_id"]),
    "ix_run_labels_key_value_run_id": ("run_labels", ["key", "value", "run_id"]),
}
"""Indexes of which the new ones take the place."""


def _of_run(table: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_runs")
    return sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=name, ondelete="CASCADE")


def upgrade() -> None:
    op.add_column("runs", sa.Column("annotation", sa.LargeBinary()))
    op.create_table(
        "run_terms",
        sa.Column("term_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("run_id", Text, nullable=False),
        sa.Column("rank", sa.Double()),
        _of_run("run_terms"),
        sa.PrimaryKeyConstraint("term_id", "created_at", "run_id", name=op.f("pk_run_terms")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "field_terms",
        sa.Column("term_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("field", Text, nullable=False),
        sa.Column("number", sa.Double()),
        sa.PrimaryKeyConstraint("term_id", name=op.f("pk_field_terms")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "run_texts",
        sa.Column(
            "text_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("run_id", Text, nullable=False),
        sa.Column("name", Text, nullable=False),
        sa.Column("other", Text, nullable=False),
        _of_run("run_texts"),
        sa.PrimaryKeyConstraint("text_id", name=op.f("pk_run_texts")),
        sa.UniqueConstraint("run_id", name=op.f("uq_run_texts_run_id")),
    )
    for name, (table, _) in _REPLACED.items():
        op.drop_index(op.f(name), table)
    connection = op.get_bind()
    run_backfill.fill(connection)
    op.create_index(op.f("ix_run_terms_run_id_term_id"), "run_terms", ["run_id", "term_id"])
    op.create_index(
        op.f("ix_run_terms_term_id_rank_run_id"),
        "run_terms",
        ["term_id", "rank", "run_id"],
        sqlite_where=sa.text("rank IS NOT NULL"),
        postgresql_where=sa.text("rank IS NOT NULL"),
    )
    op.create_index(op.f("ix_field_terms_field_number"), "field_terms", ["field", "number"])
    op.create_index(op.f("ix_run_texts_name_run_id"), "run_texts", ["name", "run_id"])
    text_index.create(connection)


def downgrade() -> None:
    text_index.drop(op.get_bind())
    for table in ("run_texts", "field_terms", "run_terms"):
        op.drop_table(table)
    for name, (table, columns) in _REPLACED.items():
        op.create_index(op.f(name), table, columns)
    with op.batch_alter_table("runs") as batch:
        batch.drop_column("annotation")
