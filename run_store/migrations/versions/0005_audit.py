"""The audit: who changed what, and who was refused."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

Text = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")

_TEXTS = (
    "owner",
    "project",
    "caller",
    "address",
    "action",
    "record_id",
    "outcome",
    "request_id",
    "call_id",
)


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("entry_id", Text, nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        *(sa.Column(name, Text, nullable=False) for name in _TEXTS),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("entry_id", name=op.f("pk_audit")),
    )
    for first in ((), ("owner",), ("record_id",)):
        columns = [*first, "time", "entry_id"]
        op.create_index(op.f(f"ix_audit_{'_'.join(columns)}"), "audit", columns)


def downgrade() -> None:
    op.drop_table("audit")
