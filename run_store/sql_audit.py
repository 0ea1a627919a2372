"""Storage of the audit in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mentorgrad.domain.audit import AuditEntry, AuditFilter, AuditPage
from mentorgrad.ids import new_run_id
from mentorgrad.serialization import to_dict
from run_store import dialects, paging, row_inserts
from run_store.sql_base import SqlBase, keyset_page
from run_store.tables import audit
from run_store.visibility import Viewer, query_of, visible

_EXPIRED_AT_ONCE = 5_000
"""Entries that are deleted in one transaction, so that writers do not wait for long."""

_ENTRY_BYTES = 500
"""About the size of an entry, for the limit of a page."""


class SqlAudit(SqlBase):
    """SQL implementation of `run_store.audit.AuditStore`."""

    def list_audit(
        self, audit_filter: AuditFilter | None = None, page_size: int = 50, page_token: str = ""
    ) -> AuditPage:
        """See `AuditReader.list_audit`."""
        wanted = audit_filter or AuditFilter()
        query = ("audit", to_dict(wanted), *query_of(self._viewer))
        cursor = paging.cursor(page_size, page_token, (int, str), *query, descending=True)
        seen = sa.select(audit).where(*visible(audit, self._viewer), *_conditions(wanted))
        statement = keyset_page(seen, (audit.c.time, audit.c.entry_id), cursor)
        with self._reading() as connection:
            page, token = cursor.take(
                ((row.time, row.entry_id), _ENTRY_BYTES, _entry(row))
                for row in connection.execute(statement)
            )
        return AuditPage(tuple(page), token)

    def record_audit(self, entries: Sequence[AuditEntry]) -> None:
        """See `AuditStore.record_audit`."""
        with self._writing() as connection:
            row_inserts.insert_rows(connection, audit, [_row(entry) for entry in entries])

    def expire_audit(self, kept: timedelta) -> int:
        """See `AuditStore.expire_audit`."""
        with self._writing() as connection:
            before = dialects.now(connection) - dialects.micros_of(kept)
            old = (
                sa.select(audit.c.entry_id)
                .where(audit.c.time < before)
                .order_by(audit.c.time, audit.c.entry_id)
                .limit(_EXPIRED_AT_ONCE)
            )
            deleted = connection.execute(sa.delete(audit).where(audit.c.entry_id.in_(old)))
            return int(deleted.rowcount)


def audited(connection: Connection, viewer: Viewer, record_id: str, request_id: str = "") -> None:
    """Records what a viewer changes, in the transaction that changes it.

    Nothing is recorded of viewers without an `origin`: those are parts of the services.
    """
    origin = viewer.origin
    if origin is None:
        return
    entry = AuditEntry(
        time=datetime.now(UTC),
        owner=viewer.owner,
        project=viewer.project,
        caller=origin.caller,
        address=origin.address,
        action=origin.action,
        record_id=record_id,
        request_id=request_id,
        call_id=origin.call_id,
    )
    connection.execute(audit.insert(), _row(entry))


def _row(entry: AuditEntry) -> dict[str, Any]:
    fields = {name: getattr(entry, name) for name in _FIELDS}
    return fields | {
        "entry_id": new_run_id(),
        "time": paging.micros(entry.time or datetime.now(UTC)),
    }


def _entry(row: Any) -> AuditEntry:
    fields = {name: getattr(row, name) for name in _FIELDS}
    return AuditEntry(time=paging.moment(row.time), **fields)


def _conditions(wanted: AuditFilter) -> list[sa.ColumnElement[bool]]:
    equal = ("owner", "caller", "action", "record_id", "outcome")
    found = [audit.c[name] == value for name in equal if (value := getattr(wanted, name))]
    if wanted.recorded_after is not None:
        found.append(audit.c.time >= paging.micros(wanted.recorded_after))
    if wanted.recorded_before is not None:
        found.append(audit.c.time < paging.micros(wanted.recorded_before))
    return found


_FIELDS = [column.name for column in audit.c if column.name not in ("entry_id", "time")]
