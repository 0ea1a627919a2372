"""Writes files as a whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[BinaryIO]:
    """Opens a temporary file beside `target` that replaces it when the block ends without an error.

    Only the owner can read the file. A link is replaced, not followed: in a folder of several users
    it may be anybody's. A terminal, a pipe or a device, such as ``/dev/stdout``, is written to as
    the block writes: it is never replaced by a file.

    Raises:
        OSError: The file cannot be written.
    """
    if target.exists() and not target.is_file():
        with target.open("wb") as file:
            yield file
        return
    # The name's own beginning suffices, and leaves room for what is added to a long one.
    handle, aside = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:40]}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        os.replace(aside, target)
    except BaseException:
        os.unlink(aside)
        raise


def usual_mode() -> int:
    """Mode of a new file that others may read as far as this process's umask allows."""
    mask = os.umask(0o077)
    os.umask(mask)
    return 0o666 & ~mask
