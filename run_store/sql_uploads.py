"""Storage of uploaded data files in SQL."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, BinaryIO

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.engine import Connection

from mentorgrad.domain.experiment import ExperimentState
from mentorgrad.domain.run import Run
from mentorgrad.errors import AlreadyExists, DataLoss, InvalidInput, NotFound
from mentorgrad.uploads import PREFIX, SHA256_PATTERN, is_digest, uploads_of
from run_store import dialects, invariants
from run_store.sql_audit import audited
from run_store.sql_base import CREATE_LOCK, SqlBase
from run_store.tables import experiments, run_uploads, upload_owners, upload_pieces, uploads
from run_store.uploads import PIECE_BYTES, StoredUpload, not_found
from run_store.visibility import Viewer, visible

_NAMED = re.compile(f"{PREFIX}({SHA256_PATTERN})".encode())


class SqlUploads(SqlBase):
    """SQL implementation of `run_store.uploads.UploadStore`."""

    def find_upload(self, sha256: str) -> StoredUpload:
        """See `UploadReader.find_upload`."""
        with self._reading() as connection:
            return _find(connection, sha256, self._viewer)

    def upload_pieces(self, sha256: str) -> Iterator[bytes]:
        """See `UploadReader.upload_pieces`. A transaction per piece: the reader may be slow."""
        found, digest = self.find_upload(sha256), hashlib.sha256()
        for position in range(-(-found.size_bytes // PIECE_BYTES)):
            with self._reading() as connection:
                where = {"sha256": sha256, "position": position}
                data = connection.execute(_PIECE, where).scalar_one_or_none()
            if data is None:
                raise not_found(sha256)
            digest.update(data)
            yield data
        if digest.hexdigest() != sha256:
            raise DataLoss(f"the stored bytes of {PREFIX}{sha256} do not match their digest")

    def put_upload(self, upload: StoredUpload, content: BinaryIO) -> None:
        """See `UploadStore.put_upload`."""
        with self._writing_much() as connection:
            dialects.lock(connection, CREATE_LOCK)
            row: dict[str, Any] = {
                "suffix": upload.suffix,
                "created_at": dialects.now(connection),
            }
            known = connection.execute(_KNOWN, {"sha256": upload.sha256}).one_or_none()
            if known is not None:
                if known.suffix != upload.suffix and self._is_bound(connection, upload.sha256):
                    raise AlreadyExists(
                        f"these bytes are in use as a {known.suffix} file already, and cannot be a "
                        f"{upload.suffix} file too",
                        reason="UPLOAD_OTHER_FORMAT",
                    )
                same = uploads.c.sha256 == upload.sha256
                connection.execute(sa.update(uploads).where(same).values(row))
                self._admit(connection, upload.sha256, is_other=known.suffix != upload.suffix)
                return
            row |= {"sha256": upload.sha256, "size": upload.size_bytes}
            connection.execute(sa.insert(uploads).values(row))
            self._admit(connection, upload.sha256, is_other=True)
            pieces = iter(lambda: content.read(PIECE_BYTES), b"")
            for position, data in enumerate(pieces):
                piece = {"sha256": upload.sha256, "position": position, "data": data}
                connection.execute(upload_pieces.insert(), piece)

    def _is_bound(self, connection: Connection, sha256: str) -> bool:
        """Whether a file must keep its format: something uses it, or another owner may name it."""
        others = upload_owners.c.owner.not_in(("", self._viewer.owner))
        of_others = sa.select(sa.exists().where(upload_owners.c.sha256 == sha256, others))
        return _is_used(connection, sha256) or bool(connection.execute(of_others).scalar_one())

    def _admit(self, connection: Connection, sha256: str, *, is_other: bool) -> None:
        """Lets the viewer's owner and project name an upload; called under `CREATE_LOCK`. The audit
        has it if it changes who may name it, or if the file is another than before."""
        row = {
            "sha256": sha256,
            "owner": self._viewer.owner,
            "project": self._viewer.project,
        }
        same = [upload_owners.c[name] == value for name, value in row.items()]
        if not connection.execute(sa.select(upload_owners.c.sha256).where(*same)).all():
            connection.execute(upload_owners.insert(), row)
            is_other = True
        if is_other:
            audited(connection, self._viewer, sha256)

    def expire_uploads(self, unused_for: timedelta) -> int:
        """See `UploadStore.expire_uploads`."""
        with self._writing() as connection:
            dialects.lock(connection, CREATE_LOCK)
            before = dialects.now(connection) - dialects.micros_of(unused_for)
            return _drop_unused(connection, uploads.c.created_at <= before)


def keep_uploads(connection: Connection, run: Run, viewer: Viewer) -> None:
    """Keeps the files of a new run as long as the run is there; called under `CREATE_LOCK`.

    Raises:
        InvalidInput: The viewer sees no such file (any more); names the field.
    """
    named = uploads_of(run.spec.task.data) if invariants.task_of(run.spec) else {}
    for field, sha256 in named.items():
        try:
            _find(connection, sha256, viewer)
        except NotFound as error:
            raise InvalidInput.field(
                f"spec.task.data.{field}", error.message, reason=error.reason
            ) from None
    for sha256 in sorted(set(named.values())):
        row = {"run_id": run.run_id, "sha256": sha256}
        connection.execute(run_uploads.insert(), row)


def files_of(connection: Connection, run_id: str) -> list[str]:
    """Digests of the files that a run keeps."""
    return list(connection.execute(_OF_RUN, {"run": run_id}).scalars())


def drop_unused(connection: Connection, files: list[str]) -> None:
    """Deletes those of the files that nothing uses any more; called under `CREATE_LOCK`."""
    if files:
        _drop_unused(connection, uploads.c.sha256.in_(files))


def _drop_unused(connection: Connection, which: sa.ColumnElement[bool]) -> int:
    used = sa.exists().where(run_uploads.c.sha256 == uploads.c.sha256)
    found = connection.execute(sa.select(uploads.c.sha256).where(which, ~used)).scalars()
    unused = sorted(set(found) - _named_by_experiments(connection))
    for sha256 in unused:
        connection.execute(sa.delete(uploads).where(uploads.c.sha256 == sha256))
    return len(unused)


def _is_used(connection: Connection, sha256: str) -> bool:
    of_runs = sa.select(sa.exists().where(run_uploads.c.sha256 == sha256))
    return bool(connection.execute(of_runs).scalar_one()) or sha256 in _named_by_experiments(
        connection
    )


def _named_by_experiments(connection: Connection) -> set[str]:
    """Files that RUNNING experiments name anywhere in their specs, for runs that are still to be
    created."""
    specs = connection.execute(_RUNNING_SPECS).scalars()
    return {found.decode() for spec in specs for found in _NAMED.findall(spec)}


def _find(connection: Connection, sha256: str, viewer: Viewer) -> StoredUpload:
    seen = visible(upload_owners, viewer)
    statement = _KNOWN.where(sa.exists().where(_OWNED, *seen)) if seen else _KNOWN
    # Other texts are not passed to the database.
    row = (
        connection.execute(statement, {"sha256": sha256}).one_or_none()
        if is_digest(sha256)
        else None
    )
    if row is None:
        raise not_found(sha256)
    return StoredUpload(sha256, row.suffix, row.size)


_KNOWN = sa.select(uploads.c.suffix, uploads.c.size).where(uploads.c.sha256 == bindparam("sha256"))
_OWNED = upload_owners.c.sha256 == uploads.c.sha256
_PIECE = sa.select(upload_pieces.c.data).where(
    upload_pieces.c.sha256 == bindparam("sha256"), upload_pieces.c.position == bindparam("position")
)
_OF_RUN = sa.select(run_uploads.c.sha256).where(run_uploads.c.run_id == bindparam("run"))
_RUNNING_SPECS = sa.select(experiments.c.spec).where(
    experiments.c.state == ExperimentState.RUNNING.value
)
