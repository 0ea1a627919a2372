"""Checks of stored bytes against their digests and sizes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.engine import Connection

from run_store import dialects, invariants
from run_store.checks.finding import StoreFinding
from run_store.sql_base import FEW_ROWS
from run_store.tables import blobs, trajectory_segments, upload_pieces, uploads


def check_bytes(connection: Connection, run_id: str) -> Iterator[StoreFinding]:
    """Whether the raw parameters and files of a run match their digests."""
    for statement, what in ((_TENSORS, "raw parameters of event"), (_BLOBS, "file")):
        options = FEW_ROWS | dialects.IN_BINARY
        with connection.execute(statement, {"run": run_id}, execution_options=options) as rows:
            for name, digest, data in rows:
                if invariants.sha256(data) != digest:
                    said = f"{what} {name}: other bytes than its digest says"
                    yield StoreFinding("bytes", run_id, said)


def check_uploads(connection: Connection) -> Iterator[StoreFinding]:
    """Whether uploads are complete, and match their digests."""
    sizes: dict[str, int] = {row.sha256: row.size for row in connection.execute(_UPLOADS)}
    found: dict[str, tuple[str, int]] = {}
    options: dict[str, Any] = FEW_ROWS | dialects.IN_BINARY
    with connection.execute(_PIECES, execution_options=options) as rows:
        for sha256, pieces in groupby(rows, attrgetter("sha256")):
            digest, size = hashlib.sha256(), 0
            for piece in pieces:
                digest.update(piece.data)
                size += len(piece.data)
            found[sha256] = (digest.hexdigest(), size)
    for sha256, size in sizes.items():
        if found.get(sha256, (invariants.sha256(b""), 0)) != (sha256, size):
            yield StoreFinding("bytes", sha256, "the upload is not complete, or not these bytes")


_TENSORS = (
    sa.select(trajectory_segments.c.seq, trajectory_segments.c.sha256, trajectory_segments.c.data)
    .where(trajectory_segments.c.run_id == bindparam("run"))
    .order_by(trajectory_segments.c.seq)
)
_BLOBS = (
    sa.select(blobs.c.name, blobs.c.sha256, blobs.c.data)
    .where(blobs.c.run_id == bindparam("run"))
    .order_by(blobs.c.name)
)
_UPLOADS = sa.select(uploads.c.sha256, uploads.c.size)
_PIECES = sa.select(upload_pieces.c.sha256, upload_pieces.c.data).order_by(
    upload_pieces.c.sha256, upload_pieces.c.position
)
