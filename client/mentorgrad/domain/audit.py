"""The audit: who changed what on a trainer service, and who was refused."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from mentorgrad.domain.pages import Page
from mentorgrad.schema import bounded

DONE = "OK"
"""Outcome of what was done; every other outcome is the reason of a refusal."""


@dataclass(frozen=True)
class CallOrigin:
    """Where a call comes from, as far as its caller has shown it."""

    caller: str
    """Name of the token's entry, or subject of the client certificate."""
    address: str
    """Address of the peer, without the port."""
    action: str
    """The method that was called, for example ``CreateRun``."""
    call_id: str = ""
    """Id of the call in the service's log."""


@dataclass(frozen=True)
class AuditEntry:
    """A change that a caller made, or a call that was refused."""

    time: datetime | None = None
    """When, UTC."""
    owner: str = ""
    """Owner that the caller acted for."""
    project: str = ""
    """Project of the caller; empty: none."""
    caller: str = ""
    """Name of the caller's token, or subject of its client certificate."""
    address: str = ""
    """Address of the caller, without the port."""
    action: str = ""
    """The method that was called, for example ``CreateRun``."""
    record_id: str = ""
    """Id of the run or experiment, or SHA-256 of the upload; of a refusal, the run that the request
    names."""
    outcome: str = DONE
    """``OK``, or the reason of the refusal, for example ``SCOPE_MISSING``."""
    request_id: str = ""
    """Request_id of what was, or was to be, created; empty: none."""
    call_id: str = ""
    """Id of the call in the service's log."""
    count: int = 1
    """Number of refusals that this entry stands for."""


@dataclass(frozen=True)
class AuditFilter:
    """Filter for the audit; an empty field does not restrict."""

    owner: str = bounded("", max_length=1000)
    """Owner that the caller acted for."""
    caller: str = bounded("", max_length=1000)
    """Name of the caller's token, or subject of its client certificate."""
    action: str = bounded("", max_length=100)
    """The method that was called, for example ``DeleteRun``."""
    record_id: str = bounded("", max_length=100)
    """Id of the run or experiment, or SHA-256 of the upload."""
    outcome: str = bounded("", max_length=100)
    """``OK``, or the reason of a refusal."""
    recorded_after: datetime | None = None
    """Match entries of this time or later."""
    recorded_before: datetime | None = None
    """Match entries before this time."""


@dataclass(frozen=True)
class AuditPage(Page[AuditEntry]):
    """A page of the audit."""

    entries: tuple[AuditEntry, ...]
    """Entries, newest first."""
    next_page_token: str = ""
    """Page token of the next page; empty on the last page."""


class AuditReader(Protocol):
    """Reads the audit; implemented by the client and every store."""

    def list_audit(
        self,
        audit_filter: AuditFilter | None = None,
        page_size: int = 50,
        page_token: str = "",
    ) -> AuditPage:
        """Lists the audit by filter, newest first, with keyset pagination.

        Raises:
            InvalidInput: `page_size` is not within 1..1000, or `page_token` is malformed or belongs
                to another query (reason BAD_PAGE_TOKEN).
        """
        ...
