"""Base of the SQL store's reader and writer: transactions, loading of runs, and errors."""

from __future__ import annotations

import contextlib
import copy
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from mentorgrad.domain.run import Run
from mentorgrad.errors import DataLoss, MentorgradError, PreconditionFailed, Unavailable
from mentorgrad.wire import codec
from run_store import dialects, invariants, paging
from run_store.kept_makers import KeptMakers
from run_store.lease_watch import LeaseWatch
from run_store.tables import experiments, metadata, runs
from run_store.visibility import EVERYTHING, Viewer, visible
from run_store.wal_checkpoints import WalCheckpoints

FEW_ROWS = {"yield_per": 16}
"""Rows fetched at once if a row may have several MiB."""

CREATE_LOCK = 0x6D67637265617465
"""Key of the lock under which runs are created, so that request_ids, the queue length and the files
that runs use stay valid."""

_CACHED_RUNS = 64

_TOLD = {
    "STORE_BUSY": "is busy",
    "STORE_CORRUPT": "is corrupt",
    "STORE_FULL": "has no space left",
    dialects.READ_ONLY: "cannot be written",
}
"""What is said of a store, by the reason of the error."""


class SqlBase:
    """An open database.

    Args:
        engine: SQLAlchemy engine.
        url: URL without the password, for logs.
    """

    def __init__(self, engine: Engine, url: str) -> None:
        self.url = url
        self._engine = engine
        self._writer = dialects.writer_of(engine)
        self._asker = dialects.asker_of(engine)
        self._viewer: Viewer = EVERYTHING
        self._closed = threading.Event()
        # SQLite allows one writer at a time, and the others poll; threads of one process wait for
        # this lock instead.
        is_sqlite = engine.dialect.name == "sqlite"
        self._turn: contextlib.AbstractContextManager[Any] = (
            threading.Lock() if is_sqlite else contextlib.nullcontext()
        )
        self._checkpoints = WalCheckpoints(engine)
        self._lease_watch = LeaseWatch()
        self._cache: OrderedDict[str, tuple[bytes, Run]] = OrderedDict()
        self._cache_lock = threading.Lock()
        self._makers = KeptMakers()

    def seen_by(self, viewer: Viewer) -> Self:
        """See `RunStore.seen_by`."""
        view = copy.copy(self)
        view._viewer = viewer
        return view

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Connection]:
        """A read transaction: sees one state of the database."""
        with self._translated(), self._engine.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def _asking(self) -> Iterator[Connection]:
        """For a single statement that reads. Further ones may see later states."""
        with self._translated(), self._asker.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Connection]:
        """A write transaction: commits, or rolls back if the block raises."""
        with self._translated(), self._turn, self._writer.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def _writing_much(self) -> Iterator[Connection]:
        """`_writing` for megabytes: the commit does not wait for SQLite's WAL checkpoint."""
        with (
            self._translated(),
            self._turn,
            self._writer.connect() as connection,
            self._checkpoints.put_off(connection),
            connection.begin(),
        ):
            yield connection

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        if self._closed.is_set():
            raise Unavailable("the run store is closed")
        try:
            yield
        except (sa.exc.IntegrityError, sa.exc.ProgrammingError, sa.exc.DataError) as error:
            if dialects.reason_of(error) != dialects.READ_ONLY:
                raise  # a bug, not a state of the database
            raise self._refused(error) from None
        except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
            raise self._refused(error) from None

    def _refused(self, error: sa.exc.SQLAlchemyError) -> MentorgradError:
        return self._refusal(dialects.reason_of(error), dialects.one_line(error))

    def _refusal(self, reason: str, said: str) -> MentorgradError:
        """The error of a database that refuses; only the log gets its address and its words."""
        what = _TOLD.get(reason, "does not answer")
        cls = DataLoss if reason == "STORE_CORRUPT" else Unavailable
        refused = cls(f"the run store {self.url} {what}: {said}", reason=reason)
        shown = PreconditionFailed if reason == dialects.READ_ONLY else cls
        refused.told = shown(f"the run store {what}", reason=reason)
        return refused

    def _load(self, connection: Connection, run_id: str, *, lock: bool = False) -> Run:
        """Loads a run.

        Args:
            connection: Connection in a transaction.
            run_id: The run.
            lock: Whether to lock its row (on SQLite, a writer locks the whole file anyway).

        Raises:
            NotFound: No such run.
        """
        statement = _PROJECTION_LOCKED if lock else _PROJECTION
        return self._decode(run_id, *self._row(connection, statement, run_id))

    def _row(
        self, connection: Connection, statement: sa.Select[Any], record_id: str, kind: str = "run"
    ) -> sa.Row[Any]:
        """The row of a run, or of an ``experiment``; malformed ids are not passed to the database.

        Raises:
            NotFound: There is no row, or it is not visible.
        """
        if conditions := visible(_TABLES[kind], self._viewer):
            statement = statement.where(*conditions)
        found = (
            connection.execute(statement, {kind: record_id}).one_or_none()
            if invariants.is_run_id(record_id)
            else None
        )
        if found is None:
            raise invariants.not_found(kind, record_id)
        return found

    def _decode(self, run_id: str, data: bytes) -> Run:
        """Decodes a stored run; cached until it changes."""
        with self._cache_lock:
            cached = self._cache.get(run_id)
        if cached is not None and cached[0] == data:
            return cached[1]
        run = codec.decode(Run, data)
        self._remember(run, data)
        return run

    def _remember(self, run: Run, data: bytes) -> None:
        with self._cache_lock:
            self._cache[run.run_id] = (data, run)
            self._cache.move_to_end(run.run_id)
            if len(self._cache) > _CACHED_RUNS:
                self._cache.popitem(last=False)

    def check(self) -> None:
        """See `RunStore.check`."""
        with self._translated(), dialects.looking(self._engine) as connection:
            connection.execute(sa.select(runs.c.run_id).limit(1))

    def check_writable(self) -> None:
        """See `RunStore.check_writable`."""
        with self._translated(), self._engine.connect() as connection:
            why = dialects.missing_privilege(connection, metadata.tables)
        if why:
            raise self._refusal(dialects.READ_ONLY, why)

    def close(self) -> None:
        """See `RunStore.close`."""
        self._closed.set()
        self._checkpoints.close()
        self._engine.dispose()


def keyset_page(
    statement: sa.Select[Any], keys: Sequence[sa.ColumnElement[Any]], cursor: paging.Cursor
) -> sa.Select[Any]:
    """Adds the order, the start after the cursor, and the limit to a statement."""
    if cursor.after is not None:
        place = sa.tuple_(*keys)
        after = sa.tuple_(*(sa.literal(part) for part in cursor.after))
        statement = statement.where(place < after if cursor.descending else place > after)
    order = [key.desc() if cursor.descending else key.asc() for key in keys]
    return statement.order_by(*order).limit(cursor.page_size + 1)


_TABLES = {"run": runs, "experiment": experiments}
_PROJECTION = sa.select(runs.c.projection).where(runs.c.run_id == sa.bindparam("run"))
_PROJECTION_LOCKED = _PROJECTION.with_for_update()
