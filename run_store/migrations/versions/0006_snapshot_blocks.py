"""Blocks of snapshots and their summaries; `run_store.migrate` fills them.

On Postgres, a row is kept in its page: neither compressed nor moved elsewhere, where reading it
would cost several look-ups.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

Text = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def _table(name: str, numbers: tuple[str, ...], blobs: tuple[str, ...]) -> None:
    op.create_table(
        name,
        sa.Column("run_id", Text, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        *(sa.Column(column, sa.BigInteger(), nullable=False) for column in numbers),
        *(sa.Column(column, sa.LargeBinary(), nullable=False) for column in blobs),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.run_id"], name=op.f(f"fk_{name}_runs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "number", name=op.f(f"pk_{name}")),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"ALTER TABLE {name} SET (toast_tuple_target = 8160)")
        for column in blobs:
            op.execute(f"ALTER TABLE {name} ALTER COLUMN {column} SET STORAGE EXTERNAL")


def upgrade() -> None:
    blobs = ("summary", "parts", "losses", "ends", "snapshots")
    _table("snapshot_blocks", ("end_seq", "end_row"), blobs)
    _table("block_summaries", (), ("summaries",))


def downgrade() -> None:
    op.drop_table("block_summaries")
    op.drop_table("snapshot_blocks")
