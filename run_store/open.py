"""Opens a run store from its URL: the one place where the store's classes are named."""

from __future__ import annotations

from mentorgrad.errors import InvalidInput
from run_store.memory_store import MemoryRunStore
from run_store.protocols import RunStore
from run_store.sql_store import SqlRunStore

_SCHEMES = ("sqlite:///", "postgresql://")


def open_store(url: str) -> RunStore:
    """Opens a store, migrating its database when that is behind.

    Args:
        url: ``sqlite:///path`` (relative), ``sqlite:////path`` (absolute),
            ``postgresql://user:password@host:port/database``, or ``memory:``.

    Raises:
        InvalidInput: The URL is of no such kind (field `store`).
        Unavailable: The database does not answer.
    """
    if url == "memory:":
        return MemoryRunStore()
    if not url.startswith(_SCHEMES):
        raise InvalidInput.field(
            "store", "must be sqlite:///PATH, postgresql://USER@HOST/DATABASE or memory:"
        )
    return SqlRunStore(url)
