"""The interfaces of the run store: readers and writers of runs, and experiments.

Guarantees of every implementation:

- *Threads*: all methods may be called from any thread; none returns something that still changes.
- *Order*: events of a run are numbered from 1 without gaps; a reader never sees seq n+1 before n.
- *Atomicity*: an append is stored whole or not at all, in one transaction with the run's
  fold.
- *Ownership*: only the holder of the run's present attempt appends as a worker; all others get
  `Conflict`.
- *Idempotence*: appending the same events again, or creating with the same request_id, is a no-op.
- *Bytes*: blobs and raw tensors are checked against their SHA-256 when read (`DataLoss`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from mentorgrad.domain.event import Created, RunEvent
from mentorgrad.domain.query import (
    CandidateFilter,
    CandidatePage,
    EventQuery,
    RunFilter,
    RunOrder,
    RunPage,
    View,
)
from mentorgrad.domain.run import Artifact, DesiredState, Run, RunState, Trajectory
from mentorgrad.domain.spec import RunSpec
from run_store.experiments import ExperimentStore


@dataclass(frozen=True)
class Lease:
    """The right to append to a run as its worker."""

    run_id: str
    """The run."""
    attempt: int
    """Number of this attempt, from 1; a later claim makes it stale."""
    last_seq: int
    """Number of the run's last event, the claim's own included."""


class RunWriter(Protocol):
    """Records runs."""

    def create(self, created: Created, *, max_queued: int | None = None) -> tuple[Run, bool]:
        """Records a new queued run, or finds the one of the same request_id.

        Args:
            created: Its first event; an empty request_id gets one made.
            max_queued: Most QUEUED runs there may be besides.

        Returns:
            The run, and whether this call created it.

        Raises:
            AlreadyExists: The request_id names a run with another spec.
            ResourceExhausted: `max_queued` runs are waiting already (reason QUEUE_FULL).
        """
        ...

    def find_request(self, request_id: str, spec: RunSpec) -> Run | None:
        """The run that an earlier `create` of this request_id made; None when there is none.

        Raises:
            AlreadyExists: The request_id names a run with another spec.
            InvalidInput: The request_id cannot be stored.
        """
        ...

    def claim(self, run_id: str, owner: str, lease: timedelta) -> Lease:
        """Takes a QUEUED or INTERRUPTED run for a worker: RUNNING, attempt + 1, desired RUN.

        Raises:
            NotFound: No such run.
            PreconditionFailed: Its state forbids it (reason TRANSITION_FORBIDDEN).
        """
        ...

    def heartbeat(self, run_id: str, attempt: int, lease: timedelta) -> DesiredState:
        """Prolongs the lease and returns what the control plane wants.

        Raises:
            Conflict: The attempt is stale (reason STALE_ATTEMPT).
            NotFound: No such run.
        """
        ...

    def desired(self, run_id: str) -> DesiredState:
        """What the control plane wants; a read, cheap enough for five times a second."""
        ...

    def append(self, run_id: str, attempt: int, events: Sequence[RunEvent]) -> int:
        """Appends a worker's events, numbered on from the run's last one.

        `Resumed` supersedes the events of older attempts after its checkpoint; `Finished` and
        `StateChanged` change the run's state. A cancel that was asked for is never lost: when these
        events leave the run paused or interrupted, the store cancels it in the same transaction.

        Returns:
            Number of the run's last event; the store's own, where it cancelled the run.

        Raises:
            Conflict: Stale attempt (STALE_ATTEMPT), or the seqs are neither the next ones nor
                equal to what is there (UNEXPECTED_SEQ).
            PreconditionFailed: An event's state change is forbidden.
        """
        ...

    def transition(
        self, run_id: str, state: RunState, reason: str = "", *, attempt: int | None = None
    ) -> Run:
        """Appends a `StateChanged` as the control plane.

        Pausing or interrupting a run that was asked to cancel cancels it, as in `append`.

        Args:
            run_id: The run.
            state: The new state; `mentorgrad.domain.run.TRANSITIONS` says what is allowed.
            reason: Why, in one line.
            attempt: Only if this is still the run's attempt (to mark a run as interrupted).

        Raises:
            PreconditionFailed: Forbidden from the present state (TRANSITION_FORBIDDEN).
            Conflict: The attempt is another one by now (STALE_ATTEMPT).
            NotFound: No such run.
        """
        ...

    def set_desired(self, run_id: str, desired: DesiredState) -> Run:
        """Tells a RUNNING run's worker what is wanted.

        Raises:
            PreconditionFailed: It is not RUNNING (TRANSITION_FORBIDDEN).
        """
        ...

    def expired(self) -> tuple[Run, ...]:
        """RUNNING runs whose lease has run out: their workers are dead or cut off."""
        ...

    def put_blob(
        self, run_id: str, attempt: int, name: str, data: bytes, *, checkpoint: bool = False
    ) -> Artifact:
        """Stores a file of a run, replacing one of the same name.

        Args:
            run_id: The run.
            attempt: The worker's; refused when stale.
            name: For example ``prompt.safetensors``.
            data: Its bytes.
            checkpoint: Whether it is a checkpoint, which `artifacts` does not list.
        """
        ...

    def prune_checkpoints(self, run_id: str, attempt: int, keep: Sequence[str]) -> None:
        """Removes checkpoint blobs but those named.

        Raises:
            Conflict: The attempt is stale (STALE_ATTEMPT).
            NotFound: No such run.
        """
        ...

    def import_run(self, events: Iterable[RunEvent]) -> Run:
        """Imports a run, all or nothing; the same run again is a no-op.

        Raises:
            InvalidInput: Not a log: a gap, another run's event, the first not `created`, or the
                last one leaves the run in a state that is not final.
            AlreadyExists: The run_id or request_id names another run.
        """
        ...

    def delete(self, run_id: str) -> None:
        """Removes a run with everything of it.

        Raises:
            PreconditionFailed: It is RUNNING (TRANSITION_FORBIDDEN).
            NotFound: No such run.
        """
        ...


class RunReader(Protocol):
    """Answers questions about runs. The SDK's client passes the same contract suite.

    Every method raises `NotFound` (reason RUN_NOT_FOUND) for an unknown run.
    """

    def get_run(self, run_id: str) -> Run:
        """The run as it stands."""
        ...

    def list_runs(
        self,
        run_filter: RunFilter | None = None,
        order: RunOrder = RunOrder.NEWEST,
        page_size: int = 50,
        page_token: str = "",
    ) -> RunPage:
        """Runs by filter, in keyset pages that stay right while runs are added.

        Raises:
            InvalidInput: `page_size` is not within 1..1000, or `page_token` is malformed or of
                another query (reason BAD_PAGE_TOKEN).
        """
        ...

    def events(self, run_id: str, query: EventQuery | None = None) -> Iterable[RunEvent]:
        """Recorded events in order, lazily."""
        ...

    def trajectory(self, run_id: str, max_points: int = 0, view: View = View.FULL) -> Trajectory:
        """Effective snapshots in order of step; evenly thinned to `max_points` (0: all)."""
        ...

    def list_candidates(
        self,
        run_id: str,
        candidate_filter: CandidateFilter | None = None,
        page_size: int = 50,
        page_token: str = "",
    ) -> CandidatePage:
        """Effective candidates, in pages."""
        ...

    def artifacts(self, run_id: str) -> tuple[Artifact, ...]:
        """Files that the run left, by name."""
        ...

    def read_artifact(self, run_id: str, name: str) -> bytes:
        """A file's bytes, checkpoints included.

        Raises:
            NotFound: No such file (reason ARTIFACT_NOT_FOUND).
            DataLoss: The bytes do not match their digest.
        """
        ...


class RunStore(RunWriter, RunReader, ExperimentStore, Protocol):
    """All sides, and an end."""

    url: str
    """Where it is, without a password; fit for logs."""

    def progress(self, run_id: str) -> tuple[int, RunState]:
        """Number of the run's last event and its state; a read, cheap enough to poll.

        Raises:
            NotFound: No such run.
        """
        ...

    def queued(self) -> int:
        """How many runs are QUEUED; a read, cheap however many there are."""
        ...

    def check(self) -> None:
        """Raises `Unavailable` when the database does not answer."""
        ...

    def close(self) -> None:
        """Releases everything; the store cannot be used afterwards."""
        ...
