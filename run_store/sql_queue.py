"""The queue of runs in SQL: its limits, and whose run is next."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mentorgrad.domain.run import Run, RunState
from mentorgrad.errors import ResourceExhausted
from run_store import dialects, sql_sizes
from run_store.sql_base import SqlBase
from run_store.tables import runs

_OWN_FULL = "OWNER_QUEUE_FULL"


class SqlQueue(SqlBase):
    """What `run_store.protocols.RunStore` says of the queue."""

    def queued(self) -> int:
        """See `RunStore.queued`."""
        with self._asking() as connection:
            return int(connection.execute(_COUNT_QUEUED).scalar_one())

    def next_runs(
        self, count: int, owner_limit: int | None = None, skip: int = 0
    ) -> tuple[Run, ...]:
        """See `RunWriter.next_runs`."""
        values = {"count": count, "skip": skip, "owner_limit": owner_limit}
        with self._asking() as connection:
            rows = connection.execute(_looked(owner_limit is not None), values).all()
            return tuple(self._decode(row.run_id, row.projection) for row in rows)

    def _next_of(
        self, connection: Connection, among: Sequence[str], owner_limit: int | None
    ) -> Run | None:
        """The first of these runs that still waits, locked; those that others lock are passed
        over. Unless there is a limit, only these runs are looked at, however many wait."""
        statement = _claimed(connection.dialect.name, owner_limit is not None)
        values = {"among": list(among), "owner_limit": owner_limit}
        row = connection.execute(statement, values).one_or_none()
        return None if row is None else self._decode(row.run_id, row.projection)

    def _check_room(self, connection: Connection, owner: str, max_queued: int | None) -> None:
        """Checks that another run of an owner may be queued; called under `CREATE_LOCK`.

        Raises:
            ResourceExhausted: The queue is full, or the owner's part of it.
        """
        own = self._viewer.queue_limit
        for limit, which, text, reason in (
            (max_queued, (), "the queue is full", "QUEUE_FULL"),
            (own, (runs.c.owner == owner,), f"{owner} has no more room in the queue", _OWN_FULL),
        ):
            if limit is None:
                continue
            waiting = connection.execute(_COUNT_QUEUED.where(*which)).scalar_one()
            if waiting >= limit:
                raise ResourceExhausted(
                    f"{text} ({waiting} runs are waiting); try again when some have started",
                    retry_after=5.0,
                    reason=reason,
                )

    def _check_kept(self, connection: Connection) -> None:
        """Checks that the viewer's owner may keep another run; called under `CREATE_LOCK`.

        Raises:
            ResourceExhausted: It keeps as many as it may (reason OWNER_RUNS_FULL), or as much
                (OWNER_STORE_FULL).
        """
        if (limit := self._viewer.run_limit) is not None:
            self._check_count(connection, limit)
        if (limit := self._viewer.size_limit) is not None:
            self._check_size(connection, limit)

    def _check_count(self, connection: Connection, limit: int) -> None:
        owner = self._viewer.owner
        # No further than the limit: an owner may have many more, of before there was one.
        kept = sa.select(runs.c.run_id).where(runs.c.owner == owner).limit(limit).subquery()
        count = connection.execute(sa.select(sa.func.count()).select_from(kept)).scalar_one()
        if count >= limit:
            raise ResourceExhausted(
                f"{owner} keeps {limit} runs or more, which is the limit; delete some",
                retry_after=60.0,
                reason="OWNER_RUNS_FULL",
            )

    def _check_size(self, connection: Connection, limit: int) -> None:
        """A run counts once it has ended: how much it will hold is not known before."""
        owner = self._viewer.owner
        if ended := sql_sizes.unmeasured(connection, owner, sql_sizes.MEASURED_AT_ONCE):
            sql_sizes.keep_sizes(connection, ended)
        size = sql_sizes.stored_size(connection, owner)
        if size >= limit:
            raise ResourceExhausted(
                f"the ended runs of {owner} have {size >> 20} MiB, and the limit is {limit >> 20}; "
                "delete some, or have their raw data dropped (`mentorgrad store gc`)",
                retry_after=60.0,
                reason="OWNER_STORE_FULL",
            )


_WAITING_STATES = (RunState.QUEUED.value, RunState.INTERRUPTED.value)
_COUNT_QUEUED = sa.select(sa.func.count()).where(runs.c.state == RunState.QUEUED.value)
_RUNNING = (
    sa.select(runs.c.owner, sa.func.count().label("running"))
    .where(runs.c.state == RunState.RUNNING.value)
    .group_by(runs.c.owner)
    .subquery()
)
_is_waiting = runs.c.state.in_(_WAITING_STATES)


def _next(among: Any = None, *, is_limited: bool) -> sa.Select[Any]:
    """The waiting runs in fair order.

    Args:
        among: A condition that the runs meet; None: all runs.
        is_limited: Whether an owner may have as many RUNNING runs as is bound to ``owner_limit``.
    """
    place = sa.func.row_number().over(
        partition_by=runs.c.owner, order_by=[runs.c.created_at, runs.c.run_id]
    )
    given = (_is_waiting,) if among is None else (_is_waiting, among)
    waiting = (
        sa.select(runs.c.run_id, runs.c.owner, runs.c.created_at, place.label("place"))
        .where(*given)
        .subquery()
    )
    # Which of its owner's running runs a waiting run would be.
    turn = waiting.c.place + sa.func.coalesce(_RUNNING.c.running, 0)
    found = (
        sa.select(runs.c.run_id, runs.c.projection)
        .select_from(
            waiting.join(runs, runs.c.run_id == waiting.c.run_id).outerjoin(
                _RUNNING, _RUNNING.c.owner == waiting.c.owner
            )
        )
        .order_by(turn, waiting.c.created_at, waiting.c.run_id)
    )
    return found.where(turn <= sa.bindparam("owner_limit")) if is_limited else found


@functools.cache
def _looked(is_limited: bool) -> sa.Select[Any]:
    return _next(is_limited=is_limited).limit(sa.bindparam("count")).offset(sa.bindparam("skip"))


@functools.cache
def _claimed(dialect: str, is_limited: bool) -> sa.Select[Any]:
    is_given = dialects.one_of_texts(dialect, runs.c.run_id, "among")
    # Towards the limit, runs count that are ahead of these, and may be claimed at this moment.
    found = _next(None if is_limited else is_given, is_limited=is_limited)
    return found.where(is_given, _is_waiting).limit(1).with_for_update(of=runs, skip_locked=True)
