"""Opens the files of data roots, in which others may exchange a file between its check and its use.

A file is opened once, without following a link and without waiting for a pipe's other end, and is
then looked at: what is read is the file that was found, or nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_HANDLES = Path("/proc/self/fd")
"""Names the open files of this process, where there is such a folder."""


def open_regular(path: Path) -> BinaryIO:
    """Opens a regular file for reading.

    Args:
        path: Its path, with all links resolved.

    Raises:
        OSError: It cannot be read, is no regular file, or the path leads elsewhere by now.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    file = os.fdopen(os.open(path, flags), "rb")
    try:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        # A folder above it may have become a link.
        if _HANDLES.is_dir() and os.readlink(_HANDLES / str(file.fileno())) != str(path):
            raise OSError(errno.ELOOP, "it was moved while it was opened")
    except OSError:
        file.close()
        raise
    return file


@contextlib.contextmanager
def pinned(path: Path, suffix: str = "") -> Iterator[Path]:
    """Keeps a file open, for readers that open a path, some of them more than once.

    Args:
        path: Its path, with all links resolved.
        suffix: Suffix of the path that readers get; empty: that of `path`.

    Yields:
        A path that leads to the opened file, whatever happens to its own.

    Raises:
        OSError: As `open_regular`.
    """
    with open_regular(path) as file, tempfile.TemporaryDirectory(prefix="mentorgrad-") as folder:
        link = Path(folder) / f"data{suffix or path.suffix}"
        link.symlink_to(_HANDLES / str(file.fileno()) if _HANDLES.is_dir() else path)
        yield link
