"""Writer of the SQL store. Every method is one transaction."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.engine import Connection

from mentorgrad.domain.annotation import RunAnnotation, RunUpdate
from mentorgrad.domain.event import Created, RunEvent, StateChanged
from mentorgrad.domain.fold import fold
from mentorgrad.domain.run import DesiredState, Run, RunState
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import AlreadyExists, NotFound
from mentorgrad.ids import new_run_id
from mentorgrad.schema import evolve
from mentorgrad.wire import codec
from run_store import dialects, invariants, row_inserts, run_index, sql_blocks, sql_rows
from run_store.import_buffer import chunks, rows_ahead
from run_store.protocols import Lease
from run_store.sql_appends import DESIRED, NO_LEASE, SqlAppends
from run_store.sql_audit import audited
from run_store.sql_base import CREATE_LOCK
from run_store.sql_uploads import drop_unused, files_of, keep_uploads
from run_store.tables import run_labels, runs
from run_store.visibility import visible


class SqlWriter(SqlAppends):
    """SQL implementation of `run_store.protocols.RunWriter`."""

    # -- life of a run ------------------------------------------------------------------------

    def create(
        self, created: Created, *, max_queued: int | None = None, experiment_id: str = ""
    ) -> tuple[Run, bool]:
        """See `RunWriter.create`."""
        created = evolve(invariants.check_created(created), annotation=None)
        with self._writing() as connection:
            dialects.lock(connection, CREATE_LOCK)
            there = self._requested(connection, created.request_id, created.spec, experiment_id)
            if there is not None:
                return there, False
            self._check_kept(connection)
            self._check_room(connection, self._viewer.owner, max_queued)
            first = RunEvent(new_run_id(), 1, 0, datetime.now(UTC), created)
            run = self._owned(fold(Run(), first))
            self._insert_run(connection, run, experiment_id)
            self._insert_events(connection, [first])
            keep_uploads(connection, run, self._viewer)
            audited(connection, self._viewer, run.run_id, run.request_id)
            return run, True

    def _owned(self, run: Run) -> Run:
        return evolve(run, owner=self._viewer.owner, project=self._viewer.project)

    def find_request(
        self, request_id: str, spec: RunSpec, *, experiment_id: str = ""
    ) -> Run | None:
        """See `RunWriter.find_request`."""
        invariants.check_request_id(request_id)
        with self._reading() as connection:
            return self._requested(connection, request_id, spec, experiment_id)

    def _requested(
        self, connection: Connection, request_id: str, spec: RunSpec, experiment_id: str
    ) -> Run | None:
        run = self._by_request(connection, request_id, experiment_id)
        if run is not None:
            invariants.check_same_request(run, spec)
        return run

    def _by_request(
        self, connection: Connection, request_id: str, experiment_id: str = ""
    ) -> Run | None:
        """The run of a request_id of this owner, or of one from before runs had owners."""
        wanted = {
            "request": request_id,
            "experiment": experiment_id,
            "owner": self._viewer.owner,
        }
        there = connection.execute(_BY_REQUEST, wanted).first() if request_id else None
        return self._decode(*there) if there is not None else None

    def claim(self, run_id: str, owner: str, lease: timedelta) -> Lease:
        """See `RunWriter.claim`."""
        with self._writing() as connection:
            run = self._load(connection, run_id, lock=True)
            invariants.check_transition(run, RunState.RUNNING)
            return self._claim(connection, run, owner, lease)

    def claim_next(
        self, among: Sequence[str], owner: str, lease: timedelta, owner_limit: int | None = None
    ) -> Lease | None:
        """See `RunWriter.claim_next`."""
        with self._writing() as connection:
            run = self._next_of(connection, among, owner_limit)
            return None if run is None else self._claim(connection, run, owner, lease)

    def _claim(self, connection: Connection, run: Run, owner: str, lease: timedelta) -> Lease:
        """Assigns a run, which is locked, to a holder of leases."""
        run = self._change(
            connection,
            run,
            StateChanged(RunState.RUNNING),
            run.attempt + 1,
            lease,
            lease_owner=owner,
            desired_state=DesiredState.RUN.value,
        )
        return Lease(run.run_id, run.attempt, run.last_seq)

    def heartbeat(self, run_id: str, attempt: int, lease: timedelta) -> DesiredState:
        """See `RunWriter.heartbeat`. One conditional UPDATE."""
        with self._writing() as connection:
            expires = dialects.now(connection) + dialects.micros_of(lease)
            found = connection.execute(
                sa.update(runs)
                .where(
                    runs.c.run_id == (run_id if invariants.is_run_id(run_id) else ""),
                    runs.c.attempt == attempt,
                    runs.c.state == RunState.RUNNING.value,
                    *visible(runs, self._viewer),
                )
                .values(lease_expires_at=expires)
                .returning(runs.c.desired_state)
            ).scalar_one_or_none()
            if found is None:
                invariants.check_attempt(self._load(connection, run_id), attempt)
            return DesiredState(str(found))

    def desired(self, run_id: str) -> DesiredState:
        """See `RunWriter.desired`."""
        with self._asking() as connection:
            return DesiredState(*self._row(connection, DESIRED, run_id))

    def transition(
        self,
        run_id: str,
        state: RunState,
        reason: str = "",
        *,
        attempt: int | None = None,
        max_queued: int | None = None,
    ) -> Run:
        """See `RunWriter.transition`."""
        with self._writing() as connection:
            if state is RunState.QUEUED:
                dialects.lock(connection, CREATE_LOCK)
            run = self._load(connection, run_id, lock=True)
            invariants.check_control(run, state, attempt)
            if state is RunState.QUEUED:
                self._check_room(connection, run.owner, max_queued)
            change = StateChanged(state, reason)
            audited(connection, self._viewer, run_id)
            return self._change(connection, run, change, run.attempt)

    def _change(
        self,
        connection: Connection,
        run: Run,
        change: StateChanged,
        attempt: int,
        lease: timedelta | None = None,
        **columns: Any,
    ) -> Run:
        """Appends a state change that has been validated; with a claim, a lease begins."""
        event = RunEvent(run.run_id, run.last_seq + 1, attempt, datetime.now(UTC), change)
        return self._store(connection, fold(run, event), [event], columns, lease)[0]

    def set_desired(self, run_id: str, desired: DesiredState) -> Run:
        """See `RunWriter.set_desired`."""
        with self._writing() as connection:
            run = self._load(connection, run_id, lock=True)
            if run.state is not RunState.RUNNING:
                raise invariants.forbidden(run, f"be asked to {desired.value}")
            changed = connection.execute(
                sa.update(runs)
                .where(runs.c.run_id == run_id, runs.c.desired_state != desired.value)
                .values(desired_state=desired.value)
            )
            if changed.rowcount:
                audited(connection, self._viewer, run_id)
            return run

    def expired(self, longest: timedelta | None = None) -> tuple[Run, ...]:
        """See `RunWriter.expired`."""
        with self._asking() as connection:
            held = connection.execute(
                _LEASES.add_columns(dialects.now(connection).label("now")).where(
                    *visible(runs, self._viewer)
                )
            ).all()
            leases = {row.run_id: (row.attempt, row.lease_expires_at) for row in held}
            now = max((row.now for row in held), default=0)
            run_out = self._lease_watch.run_out(leases, now, longest)
            return tuple(self._load(connection, run_id) for run_id in sorted(run_out))

    def update_run(self, run_id: str, update: RunUpdate, request_id: str = "") -> Run:
        """See `RunWriter.update_run`."""
        invariants.check_request_id(request_id)
        with self._writing() as connection:
            before = self._load(connection, run_id, lock=True)
            row = self._row(connection, _EXPERIMENT_OF, run_id)
            after = invariants.updated(before, update, row.experiment_id)
            if after == before:
                return before
            noted = RunAnnotation(after.labels, after.note)
            self._save(connection, after, {"annotation": codec.encode(noted)})
            run_index.relabelled(connection, before, after)
            audited(connection, self._viewer, run_id, request_id)
            return after

    def delete(self, run_id: str) -> None:
        """See `RunWriter.delete`."""
        with self._writing() as connection:
            dialects.lock(connection, CREATE_LOCK)
            run = self._load(connection, run_id, lock=True)
            if run.state is RunState.RUNNING:
                raise invariants.forbidden(run, "be deleted")
            self._remove(connection, run_id)

    def _remove(self, connection: Connection, run_id: str) -> None:
        """Deletes a run that is locked, and the uploads that only it has used; called under
        `CREATE_LOCK`."""
        files = files_of(connection, run_id)
        connection.execute(sa.delete(runs).where(runs.c.run_id == run_id))
        drop_unused(connection, files)
        audited(connection, self._viewer, run_id)

    def _insert_run(
        self,
        connection: Connection,
        run: Run,
        experiment_id: str = "",
        annotation: RunAnnotation | None = None,
    ) -> None:
        data = codec.encode(run)
        columns = sql_rows.fixed_columns(run) | sql_rows.run_columns(run, data)
        columns["annotation"] = None if annotation is None else codec.encode(annotation)
        connection.execute(runs.insert(), columns | NO_LEASE | {"experiment_id": experiment_id})
        row_inserts.insert_rows(connection, run_labels, run_index.label_rows(run))
        run_index.add(connection, run, experiment_id)

    # -- imports ------------------------------------------------------------------------------

    def import_run(self, events: Sequence[RunEvent]) -> Run:
        """See `RunWriter.import_run`. The events are validated before the transaction."""
        run = self._owned(invariants.folded(events))
        events, noted = invariants.without_annotation(events)
        with self._writing_much() as connection:
            dialects.lock(connection, CREATE_LOCK)
            there = self._imported(connection, run, events)
            if there is not None:
                return there
            self._check_kept(connection)
            self._insert_run(connection, run, annotation=noted)
            for chunk, rows in rows_ahead(events):
                self._insert_events(connection, chunk, rows)
            sql_blocks.catch_up(connection, run.run_id)
            audited(connection, self._viewer, run.run_id, run.request_id)
        return run

    def _imported(self, connection: Connection, run: Run, log: Sequence[RunEvent]) -> Run | None:
        """The same run, if it is already stored.

        Raises:
            AlreadyExists: The run_id or request_id belongs to another run, or to another owner's.
        """
        other = self._by_request(connection, run.request_id)
        if other is not None and other.run_id != run.run_id:
            raise invariants.request_id_taken(other)
        last_seq = connection.execute(_LAST_SEQ, {"run": run.run_id}).scalar_one_or_none()
        if last_seq is None:
            return None
        with contextlib.suppress(NotFound):
            there = self._load(connection, run.run_id)
            raw = there.raw_dropped_at is None
            if last_seq == run.last_seq and all(
                self._are_there(connection, chunk, raw=raw) for chunk in chunks(log)
            ):
                return there
        raise AlreadyExists(f"another run with the id {run.run_id} already exists")


# -- statements, built once ---------------------------------------------------------------------

_RUN: sa.BindParameter[str] = bindparam("run")
_BY_REQUEST = (
    sa.select(runs.c.run_id, runs.c.projection)
    .where(
        runs.c.request_id == bindparam("request"),
        runs.c.experiment_id == bindparam("experiment"),
        sa.or_(runs.c.owner == bindparam("owner"), runs.c.owner == ""),
    )
    .order_by(runs.c.owner.desc())
)
_LEASES = sa.select(runs.c.run_id, runs.c.attempt, runs.c.lease_expires_at).where(
    runs.c.state == RunState.RUNNING.value, runs.c.lease_expires_at.is_not(None)
)
_EXPERIMENT_OF = sa.select(runs.c.experiment_id).where(runs.c.run_id == _RUN)
_LAST_SEQ = sa.select(runs.c.last_seq).where(runs.c.run_id == _RUN)
