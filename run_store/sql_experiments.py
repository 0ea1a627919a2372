"""Experiment storage in SQL."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.engine import Connection

from mentorgrad.domain.experiment import (
    Experiment,
    ExperimentPage,
    ExperimentSpec,
    ExperimentState,
)
from mentorgrad.domain.run import RunState
from mentorgrad.errors import ResourceExhausted
from mentorgrad.ids import new_run_id
from mentorgrad.wire import codec
from run_store import dialects, invariants, paging
from run_store.experiments import PHASE, Counts
from run_store.sql_audit import audited
from run_store.sql_base import FEW_ROWS, SqlBase, keyset_page
from run_store.tables import experiments, run_labels, runs
from run_store.visibility import query_of, visible

_CREATE_LOCK = 0x6D6765787065726D
"""Key of the advisory lock under which experiments are created on Postgres."""


class SqlExperiments(SqlBase):
    """SQL implementation of `run_store.experiments.ExperimentStore`."""

    def create_experiment(
        self, spec: ExperimentSpec, request_id: str = ""
    ) -> tuple[Experiment, bool]:
        """See `ExperimentStore.create_experiment`."""
        invariants.check_request_id(request_id)
        with self._writing() as connection:
            dialects.lock(connection, _CREATE_LOCK)
            there = self._requested_experiment(connection, request_id, spec)
            if there is not None:
                return there, False
            self._check_experiments(connection)
            row = {
                "experiment_id": new_run_id(),
                "request_id": request_id or uuid.uuid4().hex,
                "owner": self._viewer.owner,
                "project": self._viewer.project,
                "state": ExperimentState.RUNNING.value,
                "created_at": paging.micros(datetime.now(UTC)),
                "reason": "",
                "spec": codec.encode(spec),
            }
            connection.execute(experiments.insert(), row)
            audited(connection, self._viewer, str(row["experiment_id"]), str(row["request_id"]))
            return self._get(connection, str(row["experiment_id"])), True

    def _check_experiments(self, connection: Connection) -> None:
        limit, owner = self._viewer.experiment_limit, self._viewer.owner
        if limit is None:
            return
        running = connection.execute(_COUNT_RUNNING, {"owner": owner}).scalar_one()
        if running >= limit:
            raise ResourceExhausted(
                f"{owner} has {running} running experiments, and may have no more; try again when "
                "one has ended",
                retry_after=60.0,
                reason="OWNER_EXPERIMENTS",
            )

    def find_experiment(self, request_id: str, spec: ExperimentSpec) -> Experiment | None:
        """See `ExperimentStore.find_experiment`."""
        invariants.check_request_id(request_id)
        with self._reading() as connection:
            return self._requested_experiment(connection, request_id, spec)

    def _requested_experiment(
        self, connection: Connection, request_id: str, spec: ExperimentSpec
    ) -> Experiment | None:
        if not request_id:
            return None
        wanted = {"request": request_id, "owner": self._viewer.owner}
        row = connection.execute(_BY_REQUEST, wanted).first()
        if row is None:
            return None
        there = _experiment(row)
        invariants.check_same_request(there, spec)
        return there

    def get_experiment(self, experiment_id: str) -> Experiment:
        """See `ExperimentStore.get_experiment`."""
        with self._reading() as connection:
            return self._get(connection, experiment_id)

    def _get(self, connection: Connection, experiment_id: str) -> Experiment:
        return _experiment(self._row(connection, _BY_ID, experiment_id, "experiment"))

    def list_experiments(self, page_size: int = 50, page_token: str = "") -> ExperimentPage:
        """See `ExperimentStore.list_experiments`."""
        query = ("experiments", *query_of(self._viewer))
        cursor = paging.cursor(page_size, page_token, (int, str), *query, descending=True)
        keys = (experiments.c.created_at, experiments.c.experiment_id)
        seen = sa.select(experiments).where(*visible(experiments, self._viewer))
        statement = keyset_page(seen, keys, cursor)
        with (
            self._reading() as connection,
            connection.execute(statement, execution_options=FEW_ROWS) as rows,
        ):
            page, token = cursor.take(
                ((row.created_at, row.experiment_id), len(row.spec), _experiment(row))
                for row in rows
            )
        return ExperimentPage(tuple(page), token)

    def running_experiments(self) -> tuple[str, ...]:
        """See `ExperimentStore.running_experiments`."""
        with self._reading() as connection:
            return tuple(connection.execute(_RUNNING).scalars())

    def set_experiment_state(
        self, experiment_id: str, state: ExperimentState, reason: str = ""
    ) -> Experiment:
        """See `ExperimentStore.set_experiment_state`."""
        with self._writing() as connection:
            there = self._row(connection, _BY_ID_LOCKED, experiment_id, "experiment")
            invariants.check_transition(_experiment(there), state)
            values = {
                "state": state.value,
                "reason": reason,
                "finished_at": paging.micros(datetime.now(UTC)),
            }
            connection.execute(
                sa.update(experiments)
                .where(experiments.c.experiment_id == experiment_id)
                .values(values)
            )
            audited(connection, self._viewer, experiment_id)
            return self._get(connection, experiment_id)

    def count_runs(self, experiment_id: str) -> Counts:
        """See `ExperimentStore.count_runs`."""
        if not invariants.is_run_id(experiment_id):
            return {}
        with self._reading() as connection:
            seen = _COUNTS.where(*visible(runs, self._viewer))
            rows = connection.execute(seen, {"experiment": experiment_id}).all()
        return {(row.phase or "", RunState(row.state)): int(row.count_) for row in rows}


def _experiment(row: Any) -> Experiment:
    return Experiment(
        experiment_id=row.experiment_id,
        request_id=row.request_id,
        spec=codec.decode(ExperimentSpec, row.spec),
        state=ExperimentState(row.state),
        created_at=paging.moment(row.created_at),
        finished_at=None if row.finished_at is None else paging.moment(row.finished_at),
        reason=row.reason,
        owner=row.owner,
        project=row.project,
    )


_BY_ID = sa.select(experiments).where(experiments.c.experiment_id == bindparam("experiment"))
_BY_ID_LOCKED = _BY_ID.with_for_update()
_BY_REQUEST = (
    sa.select(experiments)
    .where(
        experiments.c.request_id == bindparam("request"),
        sa.or_(experiments.c.owner == bindparam("owner"), experiments.c.owner == ""),
    )
    .order_by(experiments.c.owner.desc())
)
_RUNNING = (
    sa.select(experiments.c.experiment_id)
    .where(experiments.c.state == ExperimentState.RUNNING.value)
    .order_by(experiments.c.created_at, experiments.c.experiment_id)
)
_COUNT_RUNNING = sa.select(sa.func.count()).where(
    experiments.c.state == ExperimentState.RUNNING.value,
    experiments.c.owner == bindparam("owner"),
)
_COUNTS = (
    sa.select(run_labels.c.value.label("phase"), runs.c.state, sa.func.count().label("count_"))
    .select_from(
        runs.outerjoin(
            run_labels, (run_labels.c.run_id == runs.c.run_id) & (run_labels.c.key == PHASE)
        )
    )
    .where(runs.c.experiment_id == bindparam("experiment"))
    .group_by(run_labels.c.value, runs.c.state)
)
