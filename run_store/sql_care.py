"""Sizes of runs, and dropping those that have ended, in SQL."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.engine import Connection

from mentorgrad.domain.experiment import ExperimentState
from mentorgrad.domain.query import RunFilter, RunOrder
from mentorgrad.domain.run import Run
from mentorgrad.errors import PreconditionFailed, Unavailable
from mentorgrad.schema import evolve
from run_store import dialects, invariants
from run_store.retention import EndedRun
from run_store.sql_audit import audited
from run_store.sql_base import CREATE_LOCK
from run_store.sql_reader import SqlReader
from run_store.sql_sizes import (
    FINAL,
    MEASURED_AT_ONCE,
    RAW_BYTES,
    STORED_SIZES,
    keep_sizes,
    length,
    measure,
)
from run_store.sql_writer import SqlWriter
from run_store.tables import (
    blobs,
    experiments,
    run_sizes,
    runs,
    trajectory_segments,
)

AT_ONCE = 32 * 1024 * 1024
"""Bytes of raw data after which a transaction ends, so that other writers get their turns."""

_ROWS = 256
"""Maximum rows of raw data dropped by a transaction."""

_PAGE = 200
"""Runs read at once."""

Sizes = dict[str, tuple[int, int]]
"""Run → bytes of its raw data, and of everything else."""


class SqlCare(SqlWriter, SqlReader):
    """SQL implementation of `run_store.care.StoreCare`."""

    def ended_runs(self, run_filter: RunFilter, *, save_sizes: bool) -> Iterator[EndedRun]:
        """See `StoreCare.ended_runs`."""
        wanted = replace(run_filter, states=run_filter.states or FINAL)
        token = ""
        while True:
            page = self.list_runs(wanted, RunOrder.OLDEST, _PAGE, token)
            sizes = self._sizes([run.run_id for run in page.runs], save_sizes)
            for run in page.runs:
                if run.run_id in sizes:
                    yield _ended(run, *sizes[run.run_id])
            token = page.next_page_token
            if not token:
                return

    def _sizes(self, run_ids: Sequence[str], save: bool) -> Sizes:
        """The sizes of those of the runs that may be dropped."""
        statement = _DROPPABLE.where(runs.c.run_id.in_(run_ids))
        with self._reading() as connection:
            rows = connection.execute(statement).all()
        known = {row.run_id: (row.raw_bytes, row.other_bytes) for row in rows}
        missing = [run_id for run_id, (raw, _) in known.items() if raw is None]
        for start in range(0, len(missing), MEASURED_AT_ONCE):
            known |= self._measured(missing[start : start + MEASURED_AT_ONCE], save)
        return {run_id: size for run_id, size in known.items() if size[0] is not None}

    def _measured(self, run_ids: Sequence[str], save: bool) -> Sizes:
        """Measures runs; stores the sizes if there is room."""
        if save:
            with contextlib.suppress(Unavailable), self._writing() as connection:
                dialects.lock(connection, CREATE_LOCK)
                keep_sizes(connection, run_ids)
        with self._reading() as connection:
            rows = measure(connection, run_ids)
        return {row.run_id: (row.raw_bytes, row.other_bytes) for row in rows}

    def count_ended(self) -> int:
        """See `StoreCare.count_ended`."""
        with self._reading() as connection:
            return int(connection.execute(_COUNT_DROPPABLE).scalar_one())

    def held_bytes(self) -> Mapping[str, int]:
        """See `StoreCare.held_bytes`."""
        held: Counter[str] = Counter()
        with self._reading() as connection:
            dialects.see_one_state(connection)
            for row in connection.execute(STORED_SIZES):
                held[row.owner] += int(row.bytes)
            missing = connection.execute(_UNMEASURED).scalars().all()
            for start in range(0, len(missing), _PAGE):
                for one in measure(connection, missing[start : start + _PAGE]):
                    held[one.owner] += one.raw_bytes + one.other_bytes
        return held

    def free_bytes(self) -> int:
        """See `StoreCare.free_bytes`."""
        with self._reading() as connection:
            return dialects.free_bytes(connection)

    def drop_raw(self, run_id: str) -> int:
        """See `StoreCare.drop_raw`."""
        dropped = 0
        while True:
            with self._writing() as connection:
                run = self._droppable(connection, run_id)
                size, is_last = _drop_part(connection, run_id)
                if size:
                    connection.execute(_LESS, {"run": run_id, "size": size})
                    self._mark(connection, run)
            dropped += size
            if is_last:
                return dropped

    def _mark(self, connection: Connection, run: Run) -> None:
        """Says that the raw data are gone, with the first of them."""
        if run.raw_dropped_at is None:
            self._save(connection, evolve(run, raw_dropped_at=datetime.now(UTC)), {})
            audited(connection, self._viewer, run.run_id)

    def drop_run(self, run_id: str) -> int:
        """See `StoreCare.drop_run`."""
        with self._reading() as connection:
            raw_bytes = int(self._row(connection, RAW_BYTES, run_id)[0])
        dropped = self.drop_raw(run_id) if raw_bytes > AT_ONCE else 0
        with self._writing() as connection:
            dialects.lock(connection, CREATE_LOCK)
            self._droppable(connection, run_id)
            (size,) = measure(connection, [run_id])
            self._remove(connection, run_id)
        return int(dropped + size.raw_bytes + size.other_bytes)

    def _droppable(self, connection: Connection, run_id: str) -> Run:
        """Loads and locks a run that may be dropped.

        Raises:
            NotFound: No such run.
            PreconditionFailed: It may not.
        """
        run = self._load(connection, run_id, lock=True)
        if not run.state.is_final:
            raise invariants.forbidden(run, "be dropped")
        if connection.execute(_UNFINISHED, {"run": run_id}).scalar_one():
            raise PreconditionFailed(
                f"run {run_id} is one of an unfinished experiment and cannot be dropped",
                reason="EXPERIMENT_UNFINISHED",
            )
        return run


def _ended(run: Run, raw_bytes: int, other_bytes: int) -> EndedRun:
    ended_at = run.finished_at or run.created_at
    assert ended_at is not None  # noqa: S101 - a run that was created
    return EndedRun(
        run_id=run.run_id,
        name=run.spec.name,
        owner=run.owner,
        state=run.state.value,
        ended_at=ended_at,
        raw_bytes=raw_bytes,
        other_bytes=other_bytes,
    )


def _drop_part(connection: Connection, run_id: str) -> tuple[int, bool]:
    """Drops up to about `AT_ONCE` bytes of a run's raw data.

    Returns:
        Bytes that were dropped, and whether these were the last ones.
    """
    size = 0
    for statement, table, key in _RAW_PARTS:
        rows = connection.execute(statement, {"run": run_id}).all()
        keys = []
        for row in rows:
            if size >= AT_ONCE:
                break
            keys.append(row[0])
            size += row[1]
        for start in range(0, len(keys), _PAGE):
            named = key.in_(keys[start : start + _PAGE])
            connection.execute(sa.delete(table).where(table.c.run_id == run_id, named))
        if len(keys) < len(rows) or len(rows) == _ROWS:
            return size, False
    return size, True


# -- statements ---------------------------------------------------------------------------------

_RUN: sa.BindParameter[str] = bindparam("run")


_UNFINISHED_ONE = (
    sa.select(sa.literal(1))
    .where(
        experiments.c.experiment_id == runs.c.experiment_id,
        experiments.c.state == ExperimentState.RUNNING.value,
    )
    .exists()
)
_UNFINISHED = sa.select(_UNFINISHED_ONE).select_from(runs).where(runs.c.run_id == _RUN)
_MAY_GO = (runs.c.state.in_([state.value for state in FINAL]), ~_UNFINISHED_ONE)
_DROPPABLE = (
    sa.select(runs.c.run_id, run_sizes.c.raw_bytes, run_sizes.c.other_bytes)
    .select_from(runs.outerjoin(run_sizes))
    .where(*_MAY_GO)
)
_COUNT_DROPPABLE = sa.select(sa.func.count()).select_from(runs).where(*_MAY_GO)
_UNMEASURED = (
    sa.select(runs.c.run_id)
    .select_from(runs.outerjoin(run_sizes))
    .where(run_sizes.c.run_id.is_(None))
    .order_by(runs.c.run_id)
)
_LESS = (
    sa.update(run_sizes)
    .where(run_sizes.c.run_id == _RUN)
    .values(raw_bytes=run_sizes.c.raw_bytes - bindparam("size"))
)
_RAW_PARTS = (
    (
        sa.select(trajectory_segments.c.seq, length(trajectory_segments.c.data))
        .where(trajectory_segments.c.run_id == _RUN)
        .order_by(trajectory_segments.c.seq)
        .limit(_ROWS),
        trajectory_segments,
        trajectory_segments.c.seq,
    ),
    (
        sa.select(blobs.c.name, blobs.c.size)
        .where(blobs.c.run_id == _RUN, blobs.c.checkpoint.is_(True))
        .order_by(blobs.c.name)
        .limit(_ROWS),
        blobs,
        blobs.c.name,
    ),
)
"""Statement for keys and bytes of a run's raw data, their table, and its column of the keys."""
