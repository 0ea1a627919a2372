"""Reader of the SQL store. Reads long results in pages, each in its own transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.engine import Connection

from mentorgrad.domain.event import EventKind, RunEvent
from mentorgrad.domain.name_pattern import compiled
from mentorgrad.domain.query import (
    CandidateFilter,
    CandidatePage,
    EventQuery,
    RunFilter,
    RunOrder,
    RunPage,
    Thinning,
    TrajectoryQuery,
    View,
)
from mentorgrad.domain.run import Artifact, Candidate, Run, RunState, Trajectory
from mentorgrad.errors import NotFound
from mentorgrad.field_limits import check
from mentorgrad.wire import codec
from run_store import invariants, paging, sql_rows, trajectory
from run_store.name_search import MAX_NAMES, NamesFound, search
from run_store.run_conditions import conditions_of
from run_store.run_lists import RunList
from run_store.sql_base import FEW_ROWS, keyset_page
from run_store.sql_snapshots import SqlSnapshots
from run_store.sql_text import Sql
from run_store.stored_events import StoredEvent
from run_store.tables import blobs, candidates, events, runs, trajectory_segments
from run_store.visibility import query_of

_SUMMARY_PAGE = 256
"""Maximum events per page without raw tensors."""

_FULL_PAGE = 16
"""Maximum events per page with raw tensors, which may have several MiB each."""

_LARGE = {EventKind.SEGMENT, EventKind.CANDIDATES_SCORED, EventKind.PROPOSALS_RECEIVED}
"""Kinds of which a page may have many MiB. Others need no cursor in the database, which takes
three more statements."""

_MANY_ROWS = {"yield_per": 500}
"""Rows fetched at once if they are short."""

_BIGINT_MAX = 2**63 - 1


class SqlReader(SqlSnapshots):
    """SQL implementation of `run_store.protocols.RunReader`."""

    def get_run(self, run_id: str) -> Run:
        """See `RunReader.get_run`."""
        with self._asking() as connection:
            return self._load(connection, run_id)

    def progress(self, run_id: str) -> tuple[int, RunState]:
        """See `RunStore.progress`."""
        with self._asking() as connection:
            row = self._row(connection, _PROGRESS, run_id)
        return row.last_seq, RunState(row.state)

    def list_runs(
        self,
        run_filter: RunFilter | None = None,
        order: RunOrder = RunOrder.NEWEST,
        page_size: int = 50,
        page_token: str = "",
    ) -> RunPage:
        """See `RunReader.list_runs`."""
        wanted = run_filter or RunFilter()
        seen = query_of(self._viewer)
        cursor = paging.run_cursor(wanted, order, page_size, page_token, *seen)
        with self._reading() as connection:
            sql = Sql(connection)
            conditions = conditions_of(sql, connection, wanted, self._viewer)
            most = MAX_NAMES if wanted.name_pattern else page_size
            asked, is_cut = RunList(sql, conditions, order, cursor, most + 1), False
            if wanted.name_pattern:
                with sql.execute(asked.names(), **_MANY_ROWS) as rows:
                    found = search(compiled(wanted.name_pattern), rows, page_size + 1)
                page, token, is_cut = self._take_found(connection, found, order, cursor)
            else:
                with sql.execute(asked.statement(), **FEW_ROWS) as rows:
                    page, token = cursor.take(self._decode_rows(rows, order))
        return RunPage(tuple(page), token, conditions.text_search, is_cut)

    def _take_found(
        self, connection: Connection, found: NamesFound, order: RunOrder, cursor: paging.Cursor
    ) -> tuple[list[Run], str, bool]:
        """A page of the runs that a search has found, the token of the next page, and whether the
        search stopped at its bounds."""
        rows = _with_projections(connection, found.runs)
        page, token = cursor.take(self._decode_rows(rows, order))
        if token or found.stopped_at is None:
            return page, token, False
        return page, cursor.token_after(paging.run_position(*found.stopped_at, order)), True

    def _decode_rows(
        self, rows: Iterable[Any], order: RunOrder
    ) -> Iterator[tuple[paging.Position, int, Run]]:
        for key, run_id, data in rows:
            yield paging.run_position(key, run_id, order), len(data), self._decode(run_id, data)

    def events(self, run_id: str, query: EventQuery | None = None) -> Iterable[RunEvent]:
        """See `RunReader.events`."""
        return map(StoredEvent.decoded, self.stored_events(run_id, query))

    def stored_events(self, run_id: str, query: EventQuery | None = None) -> Iterable[StoredEvent]:
        """See `StoredEventReader.stored_events`."""
        pages = self._event_pages(run_id, query or EventQuery())
        return chain(next(pages), chain.from_iterable(pages))

    def _event_pages(self, run_id: str, query: EventQuery) -> Iterator[list[StoredEvent]]:
        """Reads in pages of growing size, since many readers need only the first few events; there
        is at least one. Raises NotFound, also if the run was deleted meanwhile."""
        most = _FULL_PAGE if query.view is View.FULL else _SUMMARY_PAGE
        statement = _events_statement(query.view, tuple(query.kinds), query.effective)
        options = {} if query.kinds and _LARGE.isdisjoint(query.kinds) else FEW_ROWS
        after, limit = min(max(query.after_seq, 0), _BIGINT_MAX), most // 16
        while True:
            values = {"run": run_id, "after": after, "most": limit}
            with self._reading() as connection:
                run = self._row(connection, _PROGRESS, run_id)
                rows, is_cut = _until_full(connection, statement, values, options)
            yield [sql_rows.stored_event(run_id, row, run.annotation) for row in rows]
            if len(rows) < limit and not is_cut:
                return
            after, limit = rows[-1].seq, min(limit * 4, most)

    def trajectory(
        self,
        run_id: str,
        max_points: int = 0,
        view: View = View.FULL,
        *,
        first_step: int = 0,
        last_step: int = 0,
        thinning: Thinning = Thinning.EVEN,
    ) -> Trajectory:
        """See `RunReader.trajectory`."""
        query = TrajectoryQuery(max_points, view, first_step, last_step, thinning)
        return trajectory.collect(self, run_id, check(query))

    def list_candidates(
        self,
        run_id: str,
        candidate_filter: CandidateFilter | None = None,
        page_size: int = 50,
        page_token: str = "",
    ) -> CandidatePage:
        """See `RunReader.list_candidates`."""
        wanted = candidate_filter or CandidateFilter()
        cursor = paging.candidate_cursor(run_id, wanted, page_size, page_token)
        keys: list[sa.ColumnElement[Any]] = [candidates.c.seq, candidates.c.position]
        if wanted.best_first:
            keys = [*_ranked(candidates.c.selection_loss), *keys]
        columns = (candidates.c.seq, candidates.c.position, candidates.c.data)
        conditions = [candidates.c.run_id == run_id, candidates.c.superseded.is_(False)]
        if wanted.sources:
            conditions.append(candidates.c.source.in_([item.value for item in wanted.sources]))
        if wanted.stage is not None:
            conditions.append(candidates.c.stage == min(wanted.stage, _BIGINT_MAX))
        with self._reading() as connection:
            self._row(connection, _PROGRESS, run_id)
            statement = keyset_page(sa.select(*columns).where(*conditions), keys, cursor)
            with connection.execute(statement, execution_options=FEW_ROWS) as rows:
                page, token = cursor.take(_decode_candidates(rows, wanted))
        return CandidatePage(tuple(page), token)

    def artifacts(self, run_id: str) -> tuple[Artifact, ...]:
        """See `RunReader.artifacts`."""
        with self._reading() as connection:
            self._row(connection, _PROGRESS, run_id)
            rows = connection.execute(_ARTIFACTS, {"run": run_id}).all()
        return tuple(Artifact(row.name, row.size, row.sha256) for row in rows)

    def read_artifact(self, run_id: str, name: str) -> bytes:
        """See `RunReader.read_artifact`."""
        with self._reading() as connection:
            self._row(connection, _PROGRESS, run_id)
            row = (
                connection.execute(_BLOB, {"run": run_id, "name": name}).one_or_none()
                if name.isprintable()
                else None
            )
        if row is None:
            raise NotFound(f"run {run_id} has no file {name[:80]!r}", reason="ARTIFACT_NOT_FOUND")
        return invariants.check_digest(row.data, row.sha256, f"{name} of run {run_id}")


def _with_projections(
    connection: Connection, found: Sequence[tuple[float, str]]
) -> Iterator[tuple[float, str, bytes]]:
    """Adds the stored runs to keys and run_ids, a few at a time."""
    at_once = FEW_ROWS["yield_per"]
    for start in range(0, len(found), at_once):
        some = found[start : start + at_once]
        rows = connection.execute(_PROJECTIONS, {"run_ids": [run_id for _, run_id in some]})
        known = {row.run_id: row.projection for row in rows}
        yield from ((key, run_id, known[run_id]) for key, run_id in some)


def _decode_candidates(
    rows: Iterable[Any], wanted: CandidateFilter
) -> Iterator[tuple[paging.Position, int, Candidate]]:
    for row in rows:
        candidate = codec.decode(Candidate, row.data)
        place = paging.candidate_position(candidate, row.seq, row.position, wanted)
        yield place, len(row.data), candidate


def _until_full(
    connection: Connection,
    statement: sa.Select[Any],
    values: dict[str, Any],
    options: Mapping[str, Any],
) -> tuple[list[sa.Row[Any]], bool]:
    """Rows of events up to `paging.EVENTS_BYTES`, and whether there may be more."""
    found: list[sa.Row[Any]] = []
    room = paging.EVENTS_BYTES
    with connection.execute(statement, values, execution_options=options) as rows:
        for row in rows:
            found.append(row)
            room -= len(row.event) + len(getattr(row, "data", None) or b"")
            if room < 0:
                return found, True
    return found, False


def _ranked(loss: sa.ColumnElement[float | None]) -> list[sa.ColumnElement[Any]]:
    """Sort key of a nullable loss, NULL last; the same order as in `paging`."""
    return [loss.is_(None), sa.func.coalesce(loss, 0.0)]


@lru_cache(64)  # to build it takes as long as to execute it
def _events_statement(view: View, kinds: tuple[EventKind, ...], effective: bool) -> sa.Select[Any]:
    columns = [events.c.seq, events.c.kind, events.c.data.label("event")]
    source: sa.FromClause = events
    if view is View.FULL:
        tensor = trajectory_segments.c
        columns += [tensor.codec, tensor.dtype, tensor.shape, tensor.sha256, tensor.data]
        on = (tensor.run_id == events.c.run_id) & (tensor.seq == events.c.seq)
        source = events.outerjoin(trajectory_segments, on)
    statement = sa.select(*columns).select_from(source)
    statement = statement.where(
        events.c.run_id == bindparam("run"), events.c.seq > bindparam("after")
    )
    if kinds:
        names = [EventKind(kind).value for kind in kinds]
        statement = statement.where(events.c.kind.in_(names))
    if effective:
        statement = statement.where(events.c.superseded.is_(False))
    return statement.order_by(events.c.seq).limit(bindparam("most"))


_PROJECTIONS = sa.select(runs.c.run_id, runs.c.projection).where(
    runs.c.run_id.in_(bindparam("run_ids", expanding=True))
)
_PROGRESS = sa.select(runs.c.last_seq, runs.c.state, runs.c.annotation).where(
    runs.c.run_id == bindparam("run")
)
_ARTIFACTS = (
    sa.select(blobs.c.name, blobs.c.size, blobs.c.sha256)
    .where(blobs.c.run_id == bindparam("run"), blobs.c.checkpoint.is_(False))
    .order_by(blobs.c.name)
)
_BLOB = sa.select(blobs.c.data, blobs.c.sha256).where(
    blobs.c.run_id == bindparam("run"), blobs.c.name == bindparam("name")
)
