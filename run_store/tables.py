"""Tables of the run store, for SQLite and Postgres.

Times are integer microseconds since 1970 (UTC): exact and the same on both databases. Text is
compared by code point, so that pages have the same order on both.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

metadata = sa.MetaData(naming_convention=NAMING)

Text = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
"""Text column type, ordered by code point."""


def _owned(name: str) -> sa.Column[str]:
    """A column that is empty for what is older than it."""
    return sa.Column(name, Text, nullable=False, server_default="")


runs = sa.Table(
    "runs",
    metadata,
    sa.Column("run_id", Text, primary_key=True),
    # NULL for an imported run without a request_id.
    sa.Column("request_id", Text),
    # Who created the run, and whose members see it, too.
    _owned("owner"),
    _owned("project"),
    # The experiment that created the run. Its runs have request_ids of their own.
    _owned("experiment_id"),
    # Case-folded, for searching.
    sa.Column("name", Text, nullable=False),
    sa.Column("state", Text, nullable=False, index=True),
    sa.Column("desired_state", Text, nullable=False),
    sa.Column("objective", Text, nullable=False),
    sa.Column("task", Text, nullable=False),
    sa.Column("mentor", Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("last_seq", sa.BigInteger, nullable=False),
    sa.Column("attempt", sa.BigInteger, nullable=False),
    sa.Column("lease_owner", Text),
    sa.Column("lease_expires_at", sa.BigInteger),
    sa.Column("best_selection_loss", sa.Double),
    # The current Run as a serialized message.
    sa.Column("projection", sa.LargeBinary, nullable=False),
    # Serialized RunAnnotation message; NULL: labels and note are as the run was created with.
    sa.Column("annotation", sa.LargeBinary),
    sa.UniqueConstraint("owner", "experiment_id", "request_id"),
    # Experiments often count their runs.
    sa.Index(None, "experiment_id", "state", "run_id"),
)


def _run_id() -> sa.Column[str]:
    return sa.Column(
        "run_id", Text, sa.ForeignKey("runs.run_id", ondelete="CASCADE"), primary_key=True
    )


def _of_event() -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["run_id", "seq"], ["events.run_id", "events.seq"], ondelete="CASCADE"
    )


# Stored bytes of ended runs, so that none is measured twice; one without a row has not been
# measured yet. See `run_store.sql_care`.
run_sizes = sa.Table(
    "run_sizes",
    metadata,
    _run_id(),
    _owned("owner"),
    # Raw parameters and checkpoints, and everything else.
    sa.Column("raw_bytes", sa.BigInteger, nullable=False),
    sa.Column("other_bytes", sa.BigInteger, nullable=False),
    sa.Index(None, "owner", "raw_bytes", "other_bytes"),
    sqlite_with_rowid=False,
)

run_labels = sa.Table(
    "run_labels",
    metadata,
    _run_id(),
    sa.Column("key", Text, primary_key=True),
    sa.Column("value", Text, nullable=False),
)

# Which runs have which terms, in the orders of lists; see `run_store.run_terms`.
run_terms = sa.Table(
    "run_terms",
    metadata,
    sa.Column("term_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("created_at", sa.BigInteger, primary_key=True, autoincrement=False),
    _run_id(),
    # Place in the order of losses; NULL until the run has ended.
    sa.Column("rank", sa.Double),
    sa.Index(None, "run_id", "term_id"),
    sa.Index(
        "ix_run_terms_term_id_rank_run_id",
        *("term_id", "rank", "run_id"),
        sqlite_where=sa.text("rank IS NOT NULL"),
        postgresql_where=sa.text("rank IS NOT NULL"),
    ),
    sqlite_with_rowid=False,
)

# The terms that are values of fields. Terms stay when their last run is deleted.
field_terms = sa.Table(
    "field_terms",
    metadata,
    sa.Column("term_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("field", Text, nullable=False),
    # The value, if it is a number.
    sa.Column("number", sa.Double),
    sa.Index(None, "field", "number"),
    sqlite_with_rowid=False,
)

# Case-folded texts of runs that have any, for searching; on SQLite, triggers copy them to the
# full-text index.
run_texts = sa.Table(
    "run_texts",
    metadata,
    # INTEGER, so that it is the rowid by which SQLite's full-text index refers to a row; SQLite
    # numbers the rows itself.
    sa.Column(
        "text_id",
        sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column(
        "run_id",
        Text,
        sa.ForeignKey("runs.run_id", ondelete="CASCADE"),
        nullable=False,
        unique=True,
    ),
    sa.Column("name", Text, nullable=False),
    # Note and labels.
    sa.Column("other", Text, nullable=False),
    sa.Index(None, "name", "run_id"),
)

events = sa.Table(
    "events",
    metadata,
    _run_id(),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("attempt", sa.BigInteger, nullable=False),
    sa.Column("kind", Text, nullable=False),
    sa.Column("time", sa.BigInteger, nullable=False),
    sa.Column("superseded", sa.Boolean, nullable=False),
    # Serialized RunEvent message without raw tensors.
    sa.Column("data", sa.LargeBinary, nullable=False),
)

trajectory_segments = sa.Table(
    "trajectory_segments",
    metadata,
    sa.Column("run_id", Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("stage", sa.BigInteger, nullable=False),
    sa.Column("step_start", sa.BigInteger, nullable=False),
    sa.Column("step_end", sa.BigInteger, nullable=False),
    sa.Column("codec", Text, nullable=False),
    sa.Column("dtype", Text, nullable=False),
    # Dimensions separated by commas, for example "20,8,384".
    sa.Column("shape", Text, nullable=False),
    sa.Column("sha256", Text, nullable=False),
    sa.Column("superseded", sa.Boolean, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
    _of_event(),
)

# The effective snapshots once more, a few to a row: see run_store.snapshot_blocks.
snapshot_blocks = sa.Table(
    "snapshot_blocks",
    metadata,
    _run_id(),
    # From 0 without gaps.
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    # Event of the last snapshot, and how many of its snapshots are in blocks so far; 0: all.
    sa.Column("end_seq", sa.BigInteger, nullable=False),
    sa.Column("end_row", sa.BigInteger, nullable=False),
    sa.Column("summary", sa.LargeBinary, nullable=False),
    sa.Column("parts", sa.LargeBinary, nullable=False),
    sa.Column("losses", sa.LargeBinary, nullable=False),
    sa.Column("ends", sa.LargeBinary, nullable=False),
    sa.Column("snapshots", sa.LargeBinary, nullable=False),
)

# The summaries of blocks once more, each row those of as many blocks.
block_summaries = sa.Table(
    "block_summaries",
    metadata,
    _run_id(),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("summaries", sa.LargeBinary, nullable=False),
)

candidates = sa.Table(
    "candidates",
    metadata,
    sa.Column("run_id", Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    # Index within its event.
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
    # Not unique: a candidate is repeated if its run resumes from an earlier checkpoint.
    sa.Column("candidate_id", Text, nullable=False),
    sa.Column("stage", sa.BigInteger, nullable=False),
    sa.Column("source", Text, nullable=False),
    # NULL if not finite.
    sa.Column("selection_loss", sa.Double),
    sa.Column("superseded", sa.Boolean, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
    _of_event(),
    sa.Index(None, "run_id", "selection_loss"),
)

blobs = sa.Table(
    "blobs",
    metadata,
    _run_id(),
    sa.Column("name", Text, primary_key=True),
    sa.Column("checkpoint", sa.Boolean, nullable=False),
    sa.Column("sha256", Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
)

experiments = sa.Table(
    "experiments",
    metadata,
    sa.Column("experiment_id", Text, primary_key=True),
    sa.Column("request_id", Text, nullable=False),
    _owned("owner"),
    _owned("project"),
    sa.Column("state", Text, nullable=False, index=True),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("finished_at", sa.BigInteger),
    sa.Column("reason", Text, nullable=False),
    # Serialized ExperimentSpec message.
    sa.Column("spec", sa.LargeBinary, nullable=False),
    sa.UniqueConstraint("owner", "request_id"),
    sa.Index(None, "created_at", "experiment_id"),
)

# Who changed what, and who was refused. Refers to no other table: an entry outlives its record.
audit = sa.Table(
    "audit",
    metadata,
    sa.Column("entry_id", Text, primary_key=True),
    sa.Column("time", sa.BigInteger, nullable=False),
    sa.Column("owner", Text, nullable=False),
    sa.Column("project", Text, nullable=False),
    sa.Column("caller", Text, nullable=False),
    sa.Column("address", Text, nullable=False),
    sa.Column("action", Text, nullable=False),
    sa.Column("record_id", Text, nullable=False),
    sa.Column("outcome", Text, nullable=False),
    sa.Column("request_id", Text, nullable=False),
    sa.Column("call_id", Text, nullable=False),
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.Index(None, "time", "entry_id"),
    sa.Index(None, "owner", "time", "entry_id"),
    sa.Index(None, "record_id", "time", "entry_id"),
)

agents = sa.Table(
    "agents",
    metadata,
    sa.Column("name", Text, primary_key=True),
    # Identifies the process that has the name.
    sa.Column("holder", Text, nullable=False),
    sa.Column("seen_at", sa.BigInteger, nullable=False),
    # Serialized Agent message.
    sa.Column("record", sa.LargeBinary, nullable=False),
)

# Messages to webhooks that are still to be sent. Refers to no other table: one outlives its run.
outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("webhook", Text, primary_key=True),
    sa.Column("run_id", Text, primary_key=True),
    # The event that changed the run's state.
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("state", Text, nullable=False),
    sa.Column("time", sa.BigInteger, nullable=False),
    sa.Column("name", Text, nullable=False),
    sa.Column("owner", Text, nullable=False),
    sa.Column("best_selection_loss", sa.Double),
    # Number of claims; only the last one may settle the message.
    sa.Column("attempt", sa.BigInteger, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    # When it may be claimed: of a claimed one, when the claim ends.
    sa.Column("due_at", sa.BigInteger, nullable=False, index=True),
)

uploads = sa.Table(
    "uploads",
    metadata,
    sa.Column("sha256", Text, primary_key=True),
    sa.Column("suffix", Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    # When the file was uploaded last.
    sa.Column("created_at", sa.BigInteger, nullable=False),
)


def _of_upload() -> sa.Column[str]:
    return sa.Column(
        "sha256", Text, sa.ForeignKey("uploads.sha256", ondelete="CASCADE"), primary_key=True
    )


# Who may name an upload: everyone who has uploaded these bytes.
upload_owners = sa.Table(
    "upload_owners",
    metadata,
    _of_upload(),
    sa.Column("owner", Text, primary_key=True),
    sa.Column("project", Text, primary_key=True),
)

upload_pieces = sa.Table(
    "upload_pieces",
    metadata,
    _of_upload(),
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
)

run_uploads = sa.Table(
    "run_uploads",
    metadata,
    _run_id(),
    sa.Column("sha256", Text, sa.ForeignKey("uploads.sha256"), primary_key=True, index=True),
)
