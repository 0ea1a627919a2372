"""Interface of the audit's storage."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

from mentorgrad.domain.audit import AuditEntry, AuditReader


class AuditStore(AuditReader, Protocol):
    """Stores the audit. The guarantees in `run_store.protocols` apply here too.

    What a viewer with an `origin` changes is recorded in the transaction that changes it, by the
    methods that change it. An entry outlives what it is about.
    """

    def record_audit(self, entries: Sequence[AuditEntry]) -> None:
        """Records what did not happen in a transaction of the store: refusals."""
        ...

    def expire_audit(self, kept: timedelta) -> int:
        """Deletes entries that are older than `kept`, at most some thousand per call.

        Returns:
            Number of deleted entries.
        """
        ...
