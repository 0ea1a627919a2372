from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, cast

from mentorgrad.domain.audit import AuditEntry
from mentorgrad.errors import Unavailable
from trainer_service.control_plane.audit_recorder import AuditRecorder


class Store:
    """Keeps what is recorded; may be away."""

    def __init__(self) -> None:
        self.recorded: list[AuditEntry] = []
        self.is_away = False
        self.old = 12

    def record_audit(self, entries: Sequence[AuditEntry]) -> None:
        if self.is_away:
            raise Unavailable("no answer")
        self.recorded += entries

    def expire_audit(self, kept: timedelta) -> int:
        deleted = min(self.old, 5)
        self.old -= deleted
        return deleted


def recorder(store: Store) -> AuditRecorder:
    return AuditRecorder(cast(Any, store), timedelta(days=1))


def refusal(action: str) -> AuditEntry:
    return AuditEntry(owner="bob", action=action, outcome="SCOPE_MISSING")


async def test_equal_refusals_are_one_entry() -> None:
    store = Store()
    audit = recorder(store)
    for action in ("DeleteRun", "CreateRun", "DeleteRun", "DeleteRun"):
        audit.refused(refusal(action))
    await audit.flush()
    await audit.flush()
    assert [(entry.action, entry.count) for entry in store.recorded] == [
        ("DeleteRun", 3),
        ("CreateRun", 1),
    ]


async def test_a_store_that_is_away_costs_a_limited_buffer() -> None:
    store = Store()
    store.is_away = True
    audit = recorder(store)
    for number in range(1500):
        audit.refused(refusal(f"Method{number}"))
    await audit.flush()
    audit.refused(refusal("Method0"))
    await audit.flush()
    store.is_away = False
    await audit.flush()
    assert len(store.recorded) == 1000
    assert {entry.action: entry.count for entry in store.recorded}["Method0"] == 2


async def test_what_waits_is_recorded_at_the_end() -> None:
    store = Store()
    audit = recorder(store)
    audit.start()
    audit.refused(refusal("DeleteRun"))
    await audit.close()
    assert len(store.recorded) == 1


async def test_all_that_is_old_is_deleted_bit_by_bit() -> None:
    store = Store()
    await recorder(store).expire()
    assert store.old == 0
