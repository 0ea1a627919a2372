"""What a check finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StoreFinding:
    """Something in a store that is wrong."""

    check: str
    """The check: ``database``, ``reference``, ``log``, ``run``, ``index``, ``blocks``, ``bytes`` or
    ``size``."""
    record: str
    """Id of the run or experiment, digest of the upload, or the table."""
    message: str
    """What is wrong, in a few words."""
