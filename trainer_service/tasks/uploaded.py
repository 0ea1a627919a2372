"""Uploaded data files, as files for the time that they are read."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from run_store.uploads import UploadReader


@contextlib.contextmanager
def uploaded_file(uploads: UploadReader, sha256: str) -> Iterator[Path]:
    """An uploaded file in a temporary folder that only this user can enter; gone afterwards, so
    that nothing is left of a file that the store has deleted.

    Raises:
        NotFound: No such file is stored.
        DataLoss: Its bytes do not match their digest.
        OSError: The file cannot be written.
    """
    found = uploads.find_upload(sha256)
    with tempfile.TemporaryDirectory(prefix="mentorgrad-upload-") as folder:
        path = Path(folder) / f"upload{found.suffix}"
        with path.open("wb") as file:
            file.writelines(uploads.upload_pieces(sha256))
        yield path
