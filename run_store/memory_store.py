"""In-memory run store, for tests and temporary runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from mentorgrad.domain.event import (
    CandidatesScored,
    Created,
    Resumed,
    RunEvent,
    StateChanged,
)
from mentorgrad.domain.fold import effective, fold, fold_history, for_figures
from mentorgrad.domain.query import (
    CandidateFilter,
    CandidatePage,
    EventQuery,
    RunFilter,
    RunOrder,
    RunPage,
    View,
)
from mentorgrad.domain.run import (
    Artifact,
    Candidate,
    DesiredState,
    Run,
    RunState,
    Trajectory,
)
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import Unavailable
from mentorgrad.ids import new_run_id
from mentorgrad.wire import codec
from run_store import invariants, paging, trajectory
from run_store.memory_experiments import MemoryExperiments
from run_store.protocols import Lease
from run_store.stored_events import StoredEvent

T = TypeVar("T")

_PAGE = 256
"""Events per page of a lazy reader."""


@dataclass
class _Blob:
    data: bytes
    sha256: str
    checkpoint: bool


@dataclass
class _Record:
    """All stored data of one run."""

    run: Run
    events: list[RunEvent] = field(default_factory=list)
    superseded: set[int] = field(default_factory=set)
    blobs: dict[str, _Blob] = field(default_factory=dict)
    desired: DesiredState = DesiredState.RUN
    lease_expires: float = 0.0

    def add(self, event: RunEvent) -> None:
        """Appends one event that has been validated."""
        self.run = fold(self.run, event, map(for_figures, self.events))
        self.events.append(event)
        if isinstance(event.payload, Resumed):
            self.superseded = _superseded(self.events)

    def settle(self) -> None:
        """Resets the desired state after a change, if the run has no worker any more."""
        if self.run.state is RunState.RUNNING:
            return
        cancel = invariants.overdue_cancel(self.run, self.desired)
        if cancel is not None:
            self.add(cancel)
        self.desired = DesiredState.RUN


def _superseded(log: Sequence[RunEvent]) -> set[int]:
    return {event.seq for event in log} - {event.seq for event in effective(log)}


def _frozen(event: RunEvent) -> RunEvent:
    """A deep copy, independent of later changes by the caller."""
    return codec.decode_event(codec.encode_event(event))


class MemoryRunStore(MemoryExperiments):
    """In-memory implementation of `run_store.protocols.RunStore`: all guarantees but durability."""

    def __init__(self) -> None:
        super().__init__()
        self.url = "memory:"
        self._lock = threading.RLock()
        self._records: dict[str, _Record] = {}
        self._closed = False

    def _record(self, run_id: str) -> _Record:
        self.check()
        if run_id not in self._records:
            raise invariants.run_not_found(run_id)
        return self._records[run_id]

    def _runs(self) -> Iterable[Run]:
        return [record.run for record in self._records.values()]

    # -- writing ------------------------------------------------------------------------------

    def create(self, created: Created, *, max_queued: int | None = None) -> tuple[Run, bool]:
        """See `RunWriter.create`."""
        created = invariants.check_created(created)
        with self._lock:
            there = self.find_request(created.request_id, created.spec)
            if there is not None:
                return there, False
            waiting = sum(r.run.state is RunState.QUEUED for r in self._records.values())
            if max_queued is not None and waiting >= max_queued:
                raise invariants.queue_full(waiting)
            run_id = new_run_id()
            record = _Record(Run(run_id=run_id))
            record.add(_frozen(RunEvent(run_id, 1, 0, datetime.now(UTC), created)))
            self._records[run_id] = record
            return record.run, True

    def find_request(self, request_id: str, spec: RunSpec) -> Run | None:
        """See `RunWriter.find_request`."""
        invariants.check_request_id(request_id)
        with self._lock:
            self.check()
            for record in self._records.values():
                if request_id and record.run.request_id == request_id:
                    invariants.check_same_request(record.run, spec)
                    return record.run
            return None

    def claim(self, run_id: str, owner: str, lease: timedelta) -> Lease:
        """See `RunWriter.claim`."""
        with self._lock:
            record = self._record(run_id)
            invariants.check_transition(record.run, RunState.RUNNING)
            attempt = record.run.attempt + 1
            self._change(record, RunState.RUNNING, "", attempt)
            record.desired = DesiredState.RUN
            record.lease_expires = time.time() + lease.total_seconds()
            return Lease(run_id, attempt, record.run.last_seq)

    def heartbeat(self, run_id: str, attempt: int, lease: timedelta) -> DesiredState:
        """See `RunWriter.heartbeat`."""
        with self._lock:
            record = self._record(run_id)
            invariants.check_attempt(record.run, attempt)
            record.lease_expires = time.time() + lease.total_seconds()
            return record.desired

    def desired(self, run_id: str) -> DesiredState:
        """See `RunWriter.desired`."""
        with self._lock:
            return self._record(run_id).desired

    def append(self, run_id: str, attempt: int, events: Sequence[RunEvent]) -> int:
        """See `RunWriter.append`."""
        invariants.check_chunk(run_id, attempt, events)
        with self._lock:
            record = self._record(run_id)
            invariants.check_holder(record.run, attempt)
            new = self._new_events(record, events)
            if new:
                invariants.check_attempt(record.run, attempt)
            trial = record.run
            for index, event in enumerate(new):
                invariants.check_follows(trial, event, f"events[{index}]")
                trial = fold_history(trial, event)
            for event in new:
                record.add(_frozen(event))
            record.settle()
            return record.run.last_seq

    def _new_events(self, record: _Record, events: Sequence[RunEvent]) -> Sequence[RunEvent]:
        """The events that are not stored yet; the others must be equal to the stored ones."""
        last_seq = record.run.last_seq
        known = [event for event in events if event.seq <= last_seq]
        for event in known:
            there = record.events[event.seq - 1] if event.seq > 0 else None
            if there is None or codec.encode_event(there) != codec.encode_event(event):
                invariants.check_attempt(record.run, event.attempt)
                raise invariants.unexpected_seq(record.run.run_id, event.seq, last_seq)
        new = events[len(known) :]
        if new and new[0].seq != last_seq + 1:
            raise invariants.unexpected_seq(record.run.run_id, new[0].seq, last_seq)
        return new

    def transition(
        self, run_id: str, state: RunState, reason: str = "", *, attempt: int | None = None
    ) -> Run:
        """See `RunWriter.transition`."""
        with self._lock:
            record = self._record(run_id)
            invariants.check_control(record.run, state, attempt)
            self._change(record, state, reason, record.run.attempt)
            return record.run

    def _change(self, record: _Record, state: RunState, reason: str, attempt: int) -> None:
        payload = StateChanged(state, reason)
        seq = record.run.last_seq + 1
        record.add(RunEvent(record.run.run_id, seq, attempt, datetime.now(UTC), payload))
        record.settle()

    def set_desired(self, run_id: str, desired: DesiredState) -> Run:
        """See `RunWriter.set_desired`."""
        with self._lock:
            record = self._record(run_id)
            if record.run.state is not RunState.RUNNING:
                raise invariants.forbidden(record.run, f"be asked to {desired.value}")
            record.desired = desired
            return record.run

    def expired(self) -> tuple[Run, ...]:
        """See `RunWriter.expired`."""
        with self._lock:
            self.check()
            now = time.time()
            return tuple(
                record.run
                for record in self._records.values()
                if record.run.state is RunState.RUNNING and record.lease_expires <= now
            )

    def put_blob(
        self, run_id: str, attempt: int, name: str, data: bytes, *, checkpoint: bool = False
    ) -> Artifact:
        """See `RunWriter.put_blob`."""
        invariants.check_blob(name, data)
        with self._lock:
            record = self._record(run_id)
            invariants.check_attempt(record.run, attempt)
            blob = _Blob(bytes(data), invariants.sha256(data), checkpoint)
            record.blobs[name] = blob
            return Artifact(name, len(data), blob.sha256)

    def prune_checkpoints(self, run_id: str, attempt: int, keep: Sequence[str]) -> None:
        """See `RunWriter.prune_checkpoints`."""
        with self._lock:
            record = self._record(run_id)
            invariants.check_attempt(record.run, attempt)
            blobs = record.blobs
            for name in [n for n, blob in blobs.items() if blob.checkpoint and n not in keep]:
                del blobs[name]

    def import_run(self, events: Iterable[RunEvent]) -> Run:
        """See `RunWriter.import_run`."""
        log = list(map(_frozen, events))
        record = _Record(invariants.folded(log), log, _superseded(log))
        with self._lock:
            self.check()
            run_id, request_id = record.run.run_id, record.run.request_id
            there = self._records.get(run_id)
            if there is not None:
                if list(map(codec.encode_event, there.events)) != list(
                    map(codec.encode_event, record.events)
                ):
                    raise invariants.import_taken(run_id)
                return there.run
            for other in self._records.values():
                if request_id and other.run.request_id == request_id:
                    raise invariants.request_id_taken(request_id, other.run.run_id)
            self._records[run_id] = record
            return record.run

    def delete(self, run_id: str) -> None:
        """See `RunWriter.delete`."""
        with self._lock:
            record = self._record(run_id)
            if record.run.state is RunState.RUNNING:
                raise invariants.forbidden(record.run, "be deleted")
            del self._records[run_id]

    # -- reading ------------------------------------------------------------------------------

    def get_run(self, run_id: str) -> Run:
        """See `RunReader.get_run`."""
        with self._lock:
            return self._record(run_id).run

    def progress(self, run_id: str) -> tuple[int, RunState]:
        """See `RunStore.progress`."""
        run = self.get_run(run_id)
        return run.last_seq, run.state

    def list_runs(
        self,
        run_filter: RunFilter | None = None,
        order: RunOrder = RunOrder.NEWEST,
        page_size: int = 50,
        page_token: str = "",
    ) -> RunPage:
        """See `RunReader.list_runs`."""
        run_filter = run_filter or RunFilter()
        cursor = paging.run_cursor(run_filter, order, page_size, page_token)
        with self._lock:
            self.check()
            runs = self._runs()
        page, token = cursor.page_of(
            (paging.run_position(run, order), run) for run in runs if _fits(run, run_filter)
        )
        return RunPage(tuple(page), token)

    def events(self, run_id: str, query: EventQuery | None = None) -> Iterable[RunEvent]:
        """See `RunReader.events`."""
        with self._lock:
            self._record(run_id)
        return self._read_events(run_id, query or EventQuery())

    def stored_events(self, run_id: str, query: EventQuery | None = None) -> Iterable[StoredEvent]:
        """See `StoredEventReader.stored_events`."""
        return map(StoredEvent.encoded, self.events(run_id, query))

    def _read_events(self, run_id: str, query: EventQuery) -> Iterator[RunEvent]:
        start = max(query.after_seq, 0)
        while True:
            with self._lock:
                record = self._record(run_id)
                page = record.events[start : start + _PAGE]
                superseded = set(record.superseded) if query.effective else set()
            for event in page:
                if (query.kinds and event.kind not in query.kinds) or event.seq in superseded:
                    continue
                yield event if query.view is View.FULL else event.summary()
            start += len(page)
            if len(page) < _PAGE:
                return

    def trajectory(self, run_id: str, max_points: int = 0, view: View = View.FULL) -> Trajectory:
        """See `RunReader.trajectory`."""
        return trajectory.collect(self, run_id, max_points, view)

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
        with self._lock:
            record = self._record(run_id)
            scored = [
                (event.seq, position, candidate)
                for event in record.events
                if isinstance(event.payload, CandidatesScored)
                and event.seq not in record.superseded
                for position, candidate in enumerate(event.payload.candidates)
            ]
        page, token = cursor.page_of(
            (paging.candidate_position(candidate, seq, position, wanted), candidate)
            for seq, position, candidate in scored
            if _is_wanted(candidate, wanted)
        )
        return CandidatePage(tuple(page), token)

    def artifacts(self, run_id: str) -> tuple[Artifact, ...]:
        """See `RunReader.artifacts`."""
        with self._lock:
            blobs = sorted(self._record(run_id).blobs.items())
            return tuple(
                Artifact(name, len(blob.data), blob.sha256)
                for name, blob in blobs
                if not blob.checkpoint
            )

    def read_artifact(self, run_id: str, name: str) -> bytes:
        """See `RunReader.read_artifact`."""
        with self._lock:
            blob = self._record(run_id).blobs.get(name)
        if blob is None:
            raise invariants.artifact_not_found(run_id, name)
        return invariants.check_digest(blob.data, blob.sha256, f"{name} of run {run_id}")

    # -- the store itself ---------------------------------------------------------------------

    def queued(self) -> int:
        """See `RunStore.queued`."""
        with self._lock:
            self.check()
            return sum(r.run.state is RunState.QUEUED for r in self._records.values())

    def check(self) -> None:
        """See `RunStore.check`."""
        if self._closed:
            raise Unavailable("the run store is closed")

    def close(self) -> None:
        """See `RunStore.close`."""
        with self._lock:
            self._closed = True
            self._records.clear()
            self._experiments.clear()


def _fits(run: Run, wanted: RunFilter) -> bool:
    spec = run.spec
    created = run.created_at or datetime.min.replace(tzinfo=UTC)
    return all(
        (
            not wanted.states or run.state in wanted.states,
            wanted.objective in ("", invariants.objective_of(spec)),
            wanted.task in ("", invariants.task_of(spec)),
            wanted.mentor in ("", spec.mentor.name),
            wanted.name_contains.casefold() in spec.name.casefold(),
            all(spec.labels.get(key) == value for key, value in wanted.labels.items()),
            wanted.created_after is None or created >= wanted.created_after,
            wanted.created_before is None or created < wanted.created_before,
        )
    )


def _is_wanted(candidate: Candidate, wanted: CandidateFilter) -> bool:
    return (not wanted.sources or candidate.source in wanted.sources) and (
        wanted.stage is None or candidate.stage == wanted.stage
    )
