"""Uploaded data files, as files for the time that they are read.

They lie in temporary folders that only this user can enter, and are gone afterwards: nothing is
left of a file that the store has deleted.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from mentorgrad.domain.spec import DataFiles
from mentorgrad.errors import NotFound
from mentorgrad.uploads import uploads_of
from run_store.uploads import UploadReader, not_found

OpenUpload = Callable[[str], AbstractContextManager[Path]]
"""SHA-256 → the file with these bytes; raises `NotFound` if there is none."""


@contextlib.contextmanager
def uploaded_file(uploads: UploadReader, sha256: str) -> Iterator[Path]:
    """An uploaded file.

    Raises:
        NotFound: No such file is stored.
        DataLoss: Its bytes do not match their digest.
        OSError: The file cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="mentorgrad-upload-") as folder:
        yield _copied(uploads, sha256, Path(folder))


class FetchedUploads:
    """The uploaded files of a run, copied before they are read: a copy can be repeated if the store
    is away meanwhile.

    Args:
        uploads: Reads them from the store.
    """

    def __init__(self, uploads: UploadReader) -> None:
        self._uploads = uploads
        self._held = contextlib.ExitStack()
        self._paths: dict[str, Path] = {}

    def fetch(self, data: DataFiles | None) -> None:
        """Copies the files that are not there yet.

        Raises:
            DataLoss: The bytes of one do not match their digest.
            Unavailable: The store is not available.
            OSError: A file cannot be written.
        """
        for sha256 in uploads_of(data).values():
            if sha256 not in self._paths:
                made = tempfile.TemporaryDirectory(prefix="mentorgrad-upload-")
                folder = Path(self._held.enter_context(made))
                with contextlib.suppress(NotFound):  # told with the field when it is opened
                    self._paths[sha256] = _copied(self._uploads, sha256, folder)

    @contextlib.contextmanager
    def opened(self, sha256: str) -> Iterator[Path]:
        """A file that was copied.

        Raises:
            NotFound: There is none.
        """
        if sha256 not in self._paths:
            raise not_found(sha256)
        yield self._paths[sha256]

    def discard(self) -> None:
        """Deletes the copies."""
        self._paths.clear()
        self._held.close()


def _copied(uploads: UploadReader, sha256: str, folder: Path) -> Path:
    found = uploads.find_upload(sha256)
    path = folder / f"upload{found.suffix}"
    with path.open("wb") as file:
        file.writelines(uploads.upload_pieces(sha256))
    return path
