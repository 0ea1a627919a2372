"""Appends of the SQL store: events with the run that is computed from them, and files."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import timedelta
from itertools import chain, islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.engine import Connection

from mentorgrad.domain.event import EventKind, Finished, Resumed, RunEvent, StateChanged
from mentorgrad.domain.fold import fold, for_figures
from mentorgrad.domain.run import Artifact, DesiredState, Run, RunState
from mentorgrad.wire import codec
from run_store import dialects, invariants, row_inserts, run_index, sql_blocks, sql_outbox, sql_rows
from run_store.protocols import RunFile
from run_store.snapshot_blocks import BlockMaker
from run_store.sql_queue import SqlQueue
from run_store.tables import blobs, candidates, events, runs, trajectory_segments

_BEFORE_SNAPSHOTS = 2
"""Events that each run has before the first of its worker: `Created`, and the claim."""

NO_LEASE = {"lease_owner": None, "lease_expires_at": None, "desired_state": "run"}
"""Columns of a run that no worker executes."""


class SqlAppends(SqlQueue):
    """What `run_store.protocols.RunWriter` says of events and files."""

    def append(
        self, run_id: str, attempt: int, events: Sequence[RunEvent], files: Sequence[RunFile] = ()
    ) -> int:
        """See `RunWriter.append`."""
        invariants.check_chunk(run_id, attempt, events)
        for file in files:
            invariants.check_blob(file.name, file.data)
        with self._writing() as connection:
            new, run = events, self._appended_ahead(connection, run_id, attempt, events)
            if run is not None:
                rows = self._insert_events(connection, new)
                self._tell(connection, run, new)
            else:
                run = self._load(connection, run_id, lock=True)
                invariants.check_holder(run, attempt)
                new = self._new_events(connection, run, events)
                if not new:
                    return run.last_seq
                invariants.check_attempt(run, attempt)
                run = self._followed(run, new, connection)
                run, rows = self._store(connection, run, new, {})
            _put(connection, run_id, files)
            maker = self._makers.take(run_id, new[0].seq - 1)
            if maker is None and new[0].seq - 1 <= _BEFORE_SNAPSHOTS:
                maker = BlockMaker()
            maker = sql_blocks.extend(connection, run_id, new, rows, maker)
        self._makers.keep(run_id, run.last_seq, maker)
        return run.last_seq

    def _appended_ahead(
        self, connection: Connection, run_id: str, attempt: int, new: Sequence[RunEvent]
    ) -> Run | None:
        """Saves the run that new events make of the one that this process has seen last, if it is
        still that one: in one statement, where a worker would read and lock what only it changes.

        Returns:
            The run; None: nothing was saved, because others may have changed it, or because the
            change depends on more than the run and the events.
        """
        with self._cache_lock:
            data, run = self._cache.get(run_id, (b"", None))
        if (
            run is None
            or not new
            or not self._viewer.is_admin
            or (run.attempt, run.state) != (attempt, RunState.RUNNING)
            or new[0].seq != run.last_seq + 1
            or any(isinstance(event.payload, Resumed) for event in new)
        ):
            return None
        run = self._followed(run, new)
        if run.state is not RunState.RUNNING and not run.state.is_final:
            return None  # a cancel may have been requested
        columns = {} if run.state is RunState.RUNNING else NO_LEASE
        return run if self._save(connection, run, columns, known=data) else None

    def _followed(
        self, run: Run, new: Sequence[RunEvent], connection: Connection | None = None
    ) -> Run:
        """The run after new events; `Resumed` among them need a connection.

        Raises:
            PreconditionFailed: An event's state change is not allowed.
        """
        for index, event in enumerate(new):
            invariants.check_follows(run, event, f"events[{index}]")
            earlier = self._earlier(connection, event) if connection is not None else []
            run = fold(run, event, chain(earlier, islice(new, index)))
        return run

    def _store(
        self,
        connection: Connection,
        run: Run,
        new: Sequence[RunEvent],
        columns: dict[str, Any],
        lease: timedelta | None = None,
    ) -> tuple[Run, sql_rows.Rows]:
        """Writes new events and the run computed from them; returns that, and the events' rows.

        If the run is not RUNNING any more, its lease and desired state are reset. If its worker has
        not seen a requested cancel, the cancel is appended in the same transaction. So are messages
        to the run's webhooks.
        """
        if run.state is not RunState.RUNNING:
            wanted = DesiredState(*self._row(connection, DESIRED, run.run_id))
            cancel = invariants.overdue_cancel(run, wanted)
            if cancel is not None:
                run, new = fold(run, cancel), [*new, cancel]
            columns = columns | NO_LEASE
        rows = self._insert_events(connection, new)
        self._save(connection, run, columns, lease)
        self._tell(connection, run, new)
        return run, rows

    def _tell(self, connection: Connection, run: Run, new: Sequence[RunEvent]) -> None:
        """Tells lists and webhooks of a run's new state, if it has one."""
        if any(isinstance(event.payload, (StateChanged, Finished)) for event in new):
            run_index.moved(connection, run)
            sql_outbox.post(connection, run, new)

    def _new_events(
        self, connection: Connection, run: Run, given: Sequence[RunEvent]
    ) -> Sequence[RunEvent]:
        """The events that are not stored yet; the others must be equal to the stored ones."""
        new = [event for event in given if event.seq > run.last_seq]
        known = given[: len(given) - len(new)]
        if not self._are_there(connection, known, raw=run.raw_dropped_at is None):
            invariants.check_attempt(run, given[0].attempt)
            raise invariants.unexpected_seq(run.run_id, given[0].seq, run.last_seq)
        if new and new[0].seq != run.last_seq + 1:
            raise invariants.unexpected_seq(run.run_id, new[0].seq, run.last_seq)
        return new

    def _are_there(
        self, connection: Connection, known: Sequence[RunEvent], *, raw: bool = True
    ) -> bool:
        """Whether the events are stored, with their raw tensors or, if those were dropped, without
        them."""
        if not known:
            return True
        span = {"run": known[0].run_id, "first": known[0].seq, "last": known[-1].seq}
        rows = sql_rows.rows_of(known)
        tensors = [(row["seq"], row["sha256"]) for row in rows[trajectory_segments]]
        if [(row["seq"], row["data"]) for row in rows[events]] != [
            tuple(row) for row in connection.execute(_SPAN, span)
        ]:
            return False
        return not raw or tensors == [tuple(row) for row in connection.execute(_TENSORS, span)]

    def _earlier(self, connection: Connection, event: RunEvent) -> list[RunEvent]:
        """The stored events that the figures of a `Resumed` may depend on; none for other events.

        Each segment of an older attempt overrides the previous one, so only the last one that stays
        effective is read; a long run has many.
        """
        if not isinstance(event.payload, Resumed):
            return []
        checkpoint = event.payload.checkpoint_seq
        rows = connection.execute(
            _EARLIER, {"run": event.run_id, "attempt": event.attempt, "checkpoint": checkpoint}
        )
        return [for_figures(codec.decode_event(row.data)) for row in rows]

    def _insert_events(
        self, connection: Connection, new: Sequence[RunEvent], made: sql_rows.Rows | None = None
    ) -> sql_rows.Rows:
        """Writes new events, with the tensors and candidates that have their own tables; `made` are
        their rows if they are known. Returns the rows."""
        made = made or sql_rows.rows_of(new)
        for table, rows in made.items():
            row_inserts.insert_rows(connection, table, rows)
        for event in new:
            if isinstance(event.payload, Resumed):
                values = {
                    "run": event.run_id,
                    "newer": event.attempt,
                    "checkpoint": event.payload.checkpoint_seq,
                    "until": event.seq,
                }
                for statement in _SUPERSEDE:
                    connection.execute(statement, values)
        return made

    def _save(
        self,
        connection: Connection,
        run: Run,
        columns: dict[str, Any],
        lease: timedelta | None = None,
        known: bytes | None = None,
    ) -> bool:
        """Writes a run's row.

        Args:
            connection: Connection in a write transaction.
            run: The run.
            columns: Further columns and their values.
            lease: Duration of a lease that begins now; None: not part of the change.
            known: The run must still be this one; None: it is locked.

        Returns:
            Whether it was written.
        """
        data = codec.encode(run)
        columns = columns | sql_rows.run_columns(run, data)
        values = {f"new_{name}": value for name, value in columns.items()}
        values |= {"run": run.run_id, "known": known}
        statement = _saving(tuple(columns), known is not None)
        if lease is not None:
            values |= {"lease": dialects.micros_of(lease)} | dialects.clock_values(connection)
            statement = _leasing(tuple(columns), connection.dialect.name)
        saved = connection.execute(statement, values)
        if known is not None and saved.rowcount != 1:
            return False
        self._remember(run, data)
        return True

    # -- files --------------------------------------------------------------------------------

    def put_blob(
        self, run_id: str, attempt: int, name: str, data: bytes, *, checkpoint: bool = False
    ) -> Artifact:
        """See `RunWriter.put_blob`."""
        invariants.check_blob(name, data)
        file = RunFile(name, data, checkpoint)
        with self._writing() as connection:
            invariants.check_attempt(self._load(connection, run_id, lock=True), attempt)
            [digest] = _put(connection, run_id, [file])
        return Artifact(name, len(data), digest)

    def prune_checkpoints(self, run_id: str, attempt: int, keep: Sequence[str]) -> None:
        """See `RunWriter.prune_checkpoints`."""
        with self._writing() as connection:
            invariants.check_attempt(self._load(connection, run_id, lock=True), attempt)
            connection.execute(
                sa.delete(blobs).where(
                    blobs.c.run_id == run_id,
                    blobs.c.checkpoint.is_(True),
                    blobs.c.name.not_in(list(keep)),
                )
            )


def _put(connection: Connection, run_id: str, files: Sequence[RunFile]) -> list[str]:
    """Writes files of a run; returns their digests."""
    digests = [invariants.sha256(file.data) for file in files]
    for file, digest in zip(files, digests, strict=True):
        row = {
            "run_id": run_id,
            "name": file.name,
            "checkpoint": file.checkpoint,
            "sha256": digest,
            "size": len(file.data),
            "data": file.data,
        }
        connection.execute(row_inserts.upsert_into(connection, blobs), row)
    return digests


# -- statements, built once ---------------------------------------------------------------------

_RUN: sa.BindParameter[str] = bindparam("run")
DESIRED = sa.select(runs.c.desired_state).where(runs.c.run_id == _RUN)


@functools.cache
def _saving(columns: tuple[str, ...], is_known: bool) -> sa.Update:
    """Writes columns of a run, whose values are bound to their names after ``new_``; of a certain
    one, if its projection is bound to ``known``."""
    statement = sa.update(runs).where(runs.c.run_id == _RUN)
    if is_known:
        statement = statement.where(runs.c.projection == bindparam("known"))
    return statement.values({name: bindparam(f"new_{name}") for name in columns})


@functools.cache
def _leasing(columns: tuple[str, ...], dialect: str) -> sa.Update:
    """The same, and begins a lease."""
    until = dialects.clock(dialect) + bindparam("lease", type_=sa.BigInteger)
    return _saving(columns, False).values(lease_expires_at=until)


def _span(table: sa.Table, column: str) -> sa.Select[Any]:
    between = table.c.seq.between(bindparam("first"), bindparam("last"))
    return (
        sa.select(table.c.seq, table.c[column])
        .where(table.c.run_id == _RUN, between)
        .order_by(table.c.seq)
    )


_SPAN = _span(events, "data")
_TENSORS = _span(trajectory_segments, "sha256")

_is_segment = events.c.kind == EventKind.SEGMENT.value
_last_segment = (
    sa.select(sa.func.max(events.c.seq))
    .where(
        events.c.run_id == _RUN,
        _is_segment,
        events.c.superseded.is_(False),
        events.c.seq <= bindparam("checkpoint"),
    )
    .scalar_subquery()
)
_EARLIER = (
    sa.select(events.c.data)
    .where(
        events.c.run_id == _RUN,
        events.c.superseded.is_(False),
        sa.or_(
            ~_is_segment,
            events.c.attempt == bindparam("attempt"),
            events.c.seq == _last_segment,
        ),
    )
    .order_by(events.c.seq)
)

_VOID = (
    sa.select(events.c.seq)
    .where(
        events.c.run_id == _RUN,
        events.c.seq > bindparam("checkpoint"),
        events.c.seq < bindparam("until"),
        events.c.attempt < bindparam("newer"),
        events.c.kind.not_in(
            [EventKind.CREATED.value, EventKind.STATE_CHANGED.value, EventKind.RESUMED.value]
        ),
    )
    .scalar_subquery()
)
_SUPERSEDE = [
    sa.update(table).where(table.c.run_id == _RUN, table.c.seq.in_(_VOID)).values(superseded=True)
    for table in (trajectory_segments, candidates, events)
]
