"""Opens a run store by its URL; the only module that names the store classes."""

from __future__ import annotations

from mentorgrad.errors import InvalidInput
from run_store.dialects import READ_ONLY
from run_store.protocols import RunStore
from run_store.sql_store import SqlRunStore
from run_store.temporary_store import TemporaryRunStore

_SCHEMES = ("sqlite:///", "postgresql://")


def open_for_service(url: str) -> RunStore:
    """Opens a store for a trainer service: where a user of Postgres may only read, for reading.

    Raises:
        InvalidInput, Unavailable: As `open_store`.
    """
    try:
        return open_store(url)
    except InvalidInput as error:
        if error.reason != READ_ONLY or url.startswith("sqlite:"):
            raise
        return open_store(url, read_only=True)


def open_store(url: str, *, read_only: bool = False, migrate: bool = True) -> RunStore:
    """Opens a store. A database that another application has filled is refused, and left as it is.

    Args:
        url: ``sqlite:///path`` (relative), ``sqlite:////path`` (absolute),
            ``postgresql://user:password@host:port/database``, or ``memory:``.
        read_only: Whether the store is only read: nothing is created, migrated or changed, and a
            user who may only read suffices.
        migrate: Whether the tables are created if there are none, and migrated if their schema is
            older. A trainer service and ``mentorgrad store migrate`` do; workers do not.

    Raises:
        InvalidInput: The URL has another form, the database is another application's, or the store
            cannot be written; with `read_only` or without `migrate`: there is none, or its schema
            is older (field `store`).
        Unavailable: The database is not available.
    """
    if url == "memory:":
        return TemporaryRunStore()
    if not url.startswith(_SCHEMES):
        raise InvalidInput.field(
            "store", "must be sqlite:///PATH, postgresql://USER@HOST/DATABASE or memory:"
        )
    return SqlRunStore(url, read_only=read_only, migrate=migrate)
