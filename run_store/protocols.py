"""Interface of the run store.

Guarantees of every implementation:

- *Threads*: all methods are thread-safe, and returned values never change.
- *Order*: events of a run are numbered from 1 without gaps; a reader never sees seq n+1 before n.
- *Atomicity*: an append is stored completely or not at all, in one transaction with the run that is
  computed from it.
- *Leases*: only the worker with the run's current attempt can append; others get `Conflict`.
- *Idempotence*: appending the same events again, or creating with the same request_id, is a no-op.
- *Integrity*: blobs and raw tensors are checked against their SHA-256 when read (`DataLoss`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from mentorgrad.domain.annotation import RunUpdate
from mentorgrad.domain.event import Created, RunEvent
from mentorgrad.domain.query import RunReader as RunReader
from mentorgrad.domain.run import Artifact, DesiredState, Run, RunState
from mentorgrad.domain.spec import RunSpec
from run_store.agents import AgentStore
from run_store.audit import AuditStore
from run_store.care import StoreCare
from run_store.experiments import ExperimentStore
from run_store.outbox import OutboxStore
from run_store.run_news import NewsReader
from run_store.snapshot_blocks import BlockReader
from run_store.stored_events import StoredEventReader
from run_store.uploads import UploadStore
from run_store.visibility import Viewer


@dataclass(frozen=True)
class Lease:
    """The right to append to a run as its worker."""

    run_id: str
    """The run."""
    attempt: int
    """Attempt number, from 1; a later claim makes it stale."""
    last_seq: int
    """Seq of the run's last event, including the one of the claim."""


@dataclass(frozen=True)
class RunFile:
    """A file of a run."""

    name: str
    """File name, for example ``prompt.safetensors``."""
    data: bytes
    """Content."""
    checkpoint: bool = False
    """Whether it is a checkpoint, which `artifacts` does not list."""


class RunWriter(Protocol):
    """The write interface: records runs."""

    def create(
        self, created: Created, *, max_queued: int | None = None, experiment_id: str = ""
    ) -> tuple[Run, bool]:
        """Creates a QUEUED run, or returns the existing one with this request_id.

        Request_ids are an owner's own, and so are those of each experiment.

        Args:
            created: Its first event; if the request_id is empty, the store generates one.
            max_queued: Maximum number of other QUEUED runs.
            experiment_id: The experiment that creates the run; empty: none.

        Returns:
            The run, and whether this call created it.

        Raises:
            AlreadyExists: The request_id belongs to a run with another spec.
            ResourceExhausted: `max_queued` runs are already waiting (reason QUEUE_FULL), or as many
                of the viewer's owner as `Viewer.queue_limit` (OWNER_QUEUE_FULL); or this owner
                keeps `Viewer.run_limit` runs (OWNER_RUNS_FULL), or `Viewer.size_limit` bytes of
                ended ones (OWNER_STORE_FULL).
            InvalidInput: The spec names an upload that is not stored (reason UPLOAD_NOT_FOUND).
        """
        ...

    def find_request(
        self, request_id: str, spec: RunSpec, *, experiment_id: str = ""
    ) -> Run | None:
        """The run that an earlier `create` created with this request_id, or None.

        Raises:
            AlreadyExists: The request_id belongs to a run with another spec.
            InvalidInput: The request_id cannot be stored.
        """
        ...

    def claim(self, run_id: str, owner: str, lease: timedelta) -> Lease:
        """Assigns a QUEUED or INTERRUPTED run to a worker: RUNNING, attempt + 1, desired RUN.

        Raises:
            NotFound: No such run.
            PreconditionFailed: Not allowed in its state (reason TRANSITION_FORBIDDEN).
        """
        ...

    def claim_next(
        self, among: Sequence[str], owner: str, lease: timedelta, owner_limit: int | None = None
    ) -> Lease | None:
        """Claims the run among these that is next, as `claim` does.

        The order is that of `next_runs`. A run that is being claimed is passed over, so that many
        claims at once do not wait for each other.

        Args:
            among: The runs that the caller can execute.
            owner: Who holds the lease.
            lease: Duration of the lease.
            owner_limit: Maximum RUNNING runs of one owner; None: no limit.

        Returns:
            None: None of them waits any more.
        """
        ...

    def heartbeat(self, run_id: str, attempt: int, lease: timedelta) -> DesiredState:
        """Renews the lease and returns the desired state.

        Raises:
            Conflict: The attempt is stale (reason STALE_ATTEMPT).
            NotFound: No such run.
        """
        ...

    def desired(self, run_id: str) -> DesiredState:
        """The state that the control plane wants; cheap enough to read five times per second."""
        ...

    def append(
        self, run_id: str, attempt: int, events: Sequence[RunEvent], files: Sequence[RunFile] = ()
    ) -> int:
        """Appends a worker's events, whose numbers continue from the run's last one, and stores
        files, as `put_blob` does, in the same transaction. Without new events, it stores nothing.

        `Resumed` supersedes the events of older attempts after its checkpoint; `Finished` and
        `StateChanged` change the run's state. A requested cancel is never lost: if the events pause
        or interrupt the run, the store cancels it in the same transaction.

        Returns:
            Seq of the run's last event: the store's own event, if it cancelled the run.

        Raises:
            Conflict: The attempt is stale (STALE_ATTEMPT), or the events are neither the next ones
                nor equal to the stored ones (UNEXPECTED_SEQ).
            PreconditionFailed: An event's state change is not allowed.
        """
        ...

    def next_runs(
        self, count: int, owner_limit: int | None = None, skip: int = 0
    ) -> tuple[Run, ...]:
        """The QUEUED and INTERRUPTED runs to execute next, at most `count`. Owners take turns: the
        one with the fewest RUNNING runs is first, and of its runs the oldest.

        Args:
            count: Maximum number of runs.
            owner_limit: Maximum RUNNING runs of one owner; None: no limit.
            skip: Number of runs before them that are left out.
        """
        ...

    def transition(
        self,
        run_id: str,
        state: RunState,
        reason: str = "",
        *,
        attempt: int | None = None,
        max_queued: int | None = None,
    ) -> Run:
        """Appends a `StateChanged` on behalf of the control plane.

        If a cancel was requested, pausing or interrupting the run cancels it, as in `append`.

        Args:
            run_id: The run.
            state: The new state; `mentorgrad.domain.run.TRANSITIONS` lists the allowed transitions.
            reason: Reason, one line.
            attempt: If given, the run must still be at this attempt (for runs of dead workers).
            max_queued: Maximum number of other QUEUED runs, for a run that becomes QUEUED.

        Raises:
            ResourceExhausted: There is no room in the queue; see `create`.
            PreconditionFailed: Not allowed from the current state (TRANSITION_FORBIDDEN).
            Conflict: The run has a newer attempt (STALE_ATTEMPT).
            NotFound: No such run.
        """
        ...

    def set_desired(self, run_id: str, desired: DesiredState) -> Run:
        """Sets the desired state of a RUNNING run, for its worker.

        Raises:
            PreconditionFailed: The run is not RUNNING (TRANSITION_FORBIDDEN).
        """
        ...

    def expired(self, longest: timedelta | None = None) -> tuple[Run, ...]:
        """RUNNING runs whose lease has expired: their workers are dead or disconnected.

        Args:
            longest: Duration of a lease; one that would last longer was dated by a clock that was
                ahead, and counts as this long from now on. None: unknown.
        """
        ...

    def put_blob(
        self, run_id: str, attempt: int, name: str, data: bytes, *, checkpoint: bool = False
    ) -> Artifact:
        """Stores a file of a run; replaces a file with the same name.

        Args:
            run_id: The run.
            attempt: The worker's attempt; must be current.
            name: File name, for example ``prompt.safetensors``.
            data: Content.
            checkpoint: Whether it is a checkpoint, which `artifacts` does not list.

        Raises:
            Conflict: The attempt is stale (STALE_ATTEMPT).
        """
        ...

    def prune_checkpoints(self, run_id: str, attempt: int, keep: Sequence[str]) -> None:
        """Deletes all checkpoints except those named in `keep`.

        Raises:
            Conflict: The attempt is stale (STALE_ATTEMPT).
            NotFound: No such run.
        """
        ...

    def import_run(self, events: Sequence[RunEvent]) -> Run:
        """Imports a run in one transaction; importing the same run again is a no-op.

        Raises:
            InvalidInput: Not the log of a finished run: a gap, an event of another run, the first
                event is not `created`, or the run's last state is not final.
            ResourceExhausted: The owner keeps `Viewer.run_limit` runs (reason OWNER_RUNS_FULL), or
                `Viewer.size_limit` bytes of ended ones (OWNER_STORE_FULL).
            AlreadyExists: The run_id or request_id belongs to another run, or the run_id to another
                owner's.
        """
        ...

    def update_run(self, run_id: str, update: RunUpdate, request_id: str = "") -> Run:
        """Edits the labels and the note of a run, in any state; no event records it. What is
        already so stays, so that repeating a call changes nothing.

        Args:
            run_id: The run.
            update: The changes.
            request_id: Id of the request, for the audit.

        Raises:
            NotFound: No such run.
            InvalidInput: The changes are not valid, or concern a label by which the run's
                experiment knows it (reason RESERVED_LABEL).
        """
        ...

    def delete(self, run_id: str) -> None:
        """Deletes a run with all its data, and the uploads that only it has used.

        Raises:
            PreconditionFailed: The run is RUNNING (TRANSITION_FORBIDDEN).
            NotFound: No such run.
        """
        ...


class RunStore(
    RunWriter,
    RunReader,
    StoredEventReader,
    BlockReader,
    NewsReader,
    ExperimentStore,
    UploadStore,
    AuditStore,
    AgentStore,
    OutboxStore,
    StoreCare,
    Protocol,
):
    """A complete store: runs, experiments, uploads, audit, agents, outbox, care, views, health,
    closing."""

    url: str
    """URL without the password, for logs."""

    def seen_by(self, viewer: Viewer) -> RunStore:
        """The part of this store that a viewer sees: for all methods that name or list a record,
        what is not visible does not exist. What is created belongs to the viewer's owner and
        project. The store itself is seen completely; what it creates has no owner, so that all see
        it.

        The view shares this store's connections, and is closed with it.
        """
        ...

    def progress(self, run_id: str) -> tuple[int, RunState]:
        """Seq of the run's last event, and the run's state; cheap enough to poll.

        Raises:
            NotFound: No such run.
        """
        ...

    def queued(self) -> int:
        """Number of QUEUED runs; cheap for any number of runs."""
        ...

    def check(self) -> None:
        """Raises `Unavailable` if the database is not available."""
        ...

    def check_writable(self) -> None:
        """Raises `Unavailable` if the database is not available, or may only be read (reason
        STORE_READ_ONLY)."""
        ...

    def close(self) -> None:
        """Releases all resources; the store cannot be used afterwards."""
        ...


SeenStore = Callable[[], RunStore]
"""Returns the part of a store that the present caller sees."""
