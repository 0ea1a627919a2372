"""Interface of the storage of uploaded data files, in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import BinaryIO, Protocol

from mentorgrad.errors import NotFound

PIECE_BYTES = 1024 * 1024
"""Size of the pieces in which a file is stored."""


@dataclass(frozen=True)
class StoredUpload:
    """An uploaded data file."""

    sha256: str
    """SHA-256 digest of its bytes, in hexadecimal."""
    suffix: str
    """How its name ended."""
    size_bytes: int
    """Size in bytes."""


class UploadReader(Protocol):
    """Reads uploaded files."""

    def find_upload(self, sha256: str) -> StoredUpload:
        """What is stored under a digest.

        Raises:
            NotFound: Nothing (reason UPLOAD_NOT_FOUND).
        """
        ...

    def upload_pieces(self, sha256: str) -> Iterator[bytes]:
        """Yields the bytes of a file, one piece of `PIECE_BYTES` in memory at a time.

        Raises:
            NotFound: The file is not stored (any more).
            DataLoss: The bytes do not match their digest; raised at the end.
        """
        ...


class UploadStore(UploadReader, Protocol):
    """Stores uploaded files. The guarantees in `run_store.protocols` apply here too.

    A file is kept as long as a run that was created with it is there, or a RUNNING experiment names
    it. The store deletes it with the last such run, or when it has been unused for some time.
    """

    def put_upload(self, upload: StoredUpload, content: BinaryIO) -> None:
        """Stores a file in one transaction; of a file that is there already, only the time is new.

        Args:
            upload: The file; its digest and size are those of the content.
            content: The bytes from the present position on, read piece by piece.

        Raises:
            AlreadyExists: The same bytes are in use, or another owner's, with another suffix
                (UPLOAD_OTHER_FORMAT).
        """
        ...

    def expire_uploads(self, unused_for: timedelta) -> int:
        """Deletes the files that nothing uses and that were uploaded longer ago.

        Returns:
            How many.
        """
        ...


def not_found(sha256: str) -> NotFound:
    """The error for a digest under which nothing is stored."""
    return NotFound(
        f"no upload has the SHA-256 {sha256[:80]!r}; it may have been deleted unused: upload the "
        "file again",
        reason="UPLOAD_NOT_FOUND",
    )
