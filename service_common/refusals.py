"""Refused calls: those of known callers go to the audit, those of strangers are counted."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

import structlog
from structlog.contextvars import get_contextvars

from mentorgrad.domain.audit import AuditEntry
from service_common.authorization import CHANGES
from service_common.callers import current_caller

log = structlog.get_logger(__name__)

TakeRefusal = Callable[[AuditEntry], None]
"""Takes a refused call of a known caller; called on the event loop, and must not block."""

REFUSALS = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED"})
"""Status codes that refuse whatever the call was to do."""

_CHANGE_REFUSALS = frozenset({"NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION", "ABORTED"})
"""Status codes that refuse a change."""

_MINUTE = 60.0
_ADDRESSES = 1_000
"""Addresses that are counted apart; all further ones are counted together."""

_LINES = 20
"""Lines of the log that strangers can cause per minute, and as many again that sum up."""

_OTHERS = "others"


def refused_call(method: str, code: str) -> AuditEntry | None:
    """The audit's entry of the present call, if it was refused and its caller is known.

    Args:
        method: ``/package.Service/Method``.
        code: Name of the status code with which it has ended.
    """
    if code not in REFUSALS and not (code in _CHANGE_REFUSALS and method in CHANGES):
        return None
    try:
        caller = current_caller()
    except LookupError:
        return None
    origin = caller.origin
    if origin is None:
        return None
    known = get_contextvars()
    return AuditEntry(
        time=datetime.now(UTC),
        owner=caller.owner,
        project=caller.project,
        caller=origin.caller,
        address=origin.address,
        action=origin.action,
        record_id=known.get("run_id", ""),
        outcome=known.get("reason") or code,
        request_id=known.get("request_id", ""),
        call_id=origin.call_id,
    )


class Strangers:
    """Counts the refused calls of callers who have not shown who they are, by address and minute.

    Their lines in the log are few, whatever they do. For one event loop.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None

    def count(self, address: str) -> bool:
        """Counts a call; returns whether the log has room for a line of its own."""
        if address not in self._counts and len(self._counts) >= _ADDRESSES:
            address = _OTHERS
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_MINUTE, self.tell)
        self._counts[address] += 1
        return self._counts[address] == 1 and len(self._counts) <= _LINES

    def tell(self) -> None:
        """Logs the counts, and begins a new minute."""
        if self._timer is not None:
            self._timer.cancel()
        counts, self._counts, self._timer = self._counts, Counter(), None
        loudest = counts.most_common(_LINES)
        for address, calls in loudest:
            if calls > 1:
                log.info("strangers_refused", address=address, calls=calls)
        if len(counts) > len(loudest):
            rest = counts.total() - sum(calls for _, calls in loudest)
            log.info("strangers_refused", addresses=len(counts) - len(loudest), calls=rest)
