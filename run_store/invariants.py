"""Rules of runs and experiments: validation and errors of a store, without SQL."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from mentorgrad.domain.annotation import MAX_LABELS, RunAnnotation, RunUpdate
from mentorgrad.domain.event import Created, Finished, Resumed, RunEvent, Segment, StateChanged
from mentorgrad.domain.experiment import (
    EXPERIMENT_TRANSITIONS,
    Experiment,
    ExperimentSpec,
    ExperimentState,
)
from mentorgrad.domain.fold import fold_history, for_figures, with_figures
from mentorgrad.domain.objective import Function
from mentorgrad.domain.run import TRANSITIONS, DesiredState, Run, RunState
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import (
    AlreadyExists,
    Conflict,
    DataLoss,
    InvalidInput,
    NotFound,
    PreconditionFailed,
)
from mentorgrad.field_limits import check
from mentorgrad.schema import snake_case
from mentorgrad.wire import codec
from run_store.experiments import LABELS

MAX_SEGMENT_BYTES = 4 * 1024 * 1024
"""Maximum raw parameters per segment; more would not fit into one message with its snapshots."""

MAX_BLOB_BYTES = 256 * 1024 * 1024
"""Maximum size of a run's file."""

MAX_RUN_BYTES = 2 * 1024 * 1024
"""Maximum size of an imported run without its events: spec, versions and result."""

MAX_ATTEMPTS = 1000
"""Maximum attempts, and maximum resumes, of an imported log; a store processes the log once for
each."""

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


Record = Run | Experiment
"""What a store creates on request."""


def _identity(record: Record) -> tuple[str, str]:
    """Kind and id of a record."""
    if isinstance(record, Experiment):
        return "experiment", record.experiment_id
    return "run", record.run_id


def not_found(kind: str, record_id: str) -> NotFound:
    """The error for an unknown ``run`` or ``experiment``."""
    return NotFound(
        f"the {kind} {record_id[:80]!r} does not exist", reason=f"{kind.upper()}_NOT_FOUND"
    )


def request_id_taken(there: Record) -> AlreadyExists:
    """The error for a request_id that belongs to another run or experiment."""
    kind, record_id = _identity(there)
    return AlreadyExists(
        f"the request_id {there.request_id[:200]!r} belongs to {kind} {record_id}, which has "
        "another spec",
        reason="REQUEST_ID_TAKEN",
        metadata={f"{kind}_id": record_id},
    )


def unexpected_seq(run_id: str, seq: int, last_seq: int) -> Conflict:
    """The error for an event that is neither the next one nor already stored."""
    return Conflict(
        f"event {seq} is neither the next event of run {run_id} after event {last_seq} nor equal "
        "to a stored one",
        reason="UNEXPECTED_SEQ",
    )


def is_run_id(text: str) -> bool:
    """Whether a text has the form of a run id; keeps other characters from the database."""
    return _RUN_ID.fullmatch(text) is not None


def check_created(created: Created) -> Created:
    """The first event, with a generated request_id if it has none.

    Raises:
        InvalidInput: The request_id cannot be stored.
    """
    if not created.request_id:
        return replace(created, request_id=uuid.uuid4().hex)
    check_request_id(created.request_id)
    return created


def check_request_id(request_id: str, path: str = "request_id") -> None:
    """Checks that a request_id can be stored.

    Raises:
        InvalidInput: It cannot be stored.
    """
    if len(request_id) > 200 or not request_id.isprintable():
        raise InvalidInput.field(path, "must be at most 200 printable characters")


def without_annotation(
    log: Sequence[RunEvent],
) -> tuple[Sequence[RunEvent], RunAnnotation | None]:
    """A log as it is stored, and what its first event says besides: the run's labels and note."""
    first = log[0].payload
    assert isinstance(first, Created)  # noqa: S101 - the log was folded
    if first.annotation is None:
        return log, None
    return [replace(log[0], payload=replace(first, annotation=None)), *log[1:]], first.annotation


def updated(run: Run, update: RunUpdate, experiment_id: str) -> Run:
    """A run with other labels, or another note.

    Args:
        run: The run.
        update: The changes.
        experiment_id: The experiment that created the run; empty: none.

    Raises:
        InvalidInput: The changes are not valid, leave the run with too many labels, or concern one
            by which the run's experiment knows it (reason RESERVED_LABEL).
    """
    check(update, "update")
    reserved = LABELS if experiment_id else ()
    given = [*update.labels, *update.remove_labels]
    for place, key in enumerate(given):
        if key in reserved and run.labels.get(key) != update.labels.get(key):
            index = place - len(update.labels)
            field = f"labels[{key!r}]" if index < 0 else f"remove_labels[{index}]"
            said = f"belongs to the run's experiment {experiment_id}"
            raise InvalidInput.field(f"update.{field}", said, reason="RESERVED_LABEL")
    labels = {key: text for key, text in run.labels.items() if key not in update.remove_labels}
    labels |= update.labels
    if len(labels) > MAX_LABELS:
        said = f"would give the run {len(labels)} labels; it may have at most {MAX_LABELS}"
        raise InvalidInput.field("update.labels", said)
    return replace(run, labels=labels, note=run.note if update.note is None else update.note)


def check_same_request(there: Record, spec: RunSpec | ExperimentSpec) -> None:
    """Checks that the existing run or experiment of a request_id has the requested spec.

    Raises:
        AlreadyExists: It has another spec.
    """
    if codec.encode(there.spec) != codec.encode(spec):
        raise request_id_taken(there)


def check_holder(run: Run, attempt: int) -> None:
    """Checks that an attempt is the run's latest.

    Raises:
        Conflict: It is stale.
    """
    if run.attempt != attempt:
        raise Conflict(
            f"attempt {attempt} of run {run.run_id} is stale: the current one is {run.attempt}",
            reason="STALE_ATTEMPT",
        )


def check_attempt(run: Run, attempt: int) -> None:
    """Checks that a worker may still write: its attempt is the latest, and the run is RUNNING.

    Raises:
        Conflict: The attempt is stale; a run that was interrupted or has ended has no current one.
    """
    check_holder(run, attempt)
    if run.state is not RunState.RUNNING:
        raise Conflict(
            f"attempt {attempt} of run {run.run_id} has ended: the run is {run.state.value}",
            reason="STALE_ATTEMPT",
        )


def forbidden(record: Record, action: str) -> PreconditionFailed:
    """The error for an action that the record's state does not allow; follows "cannot"."""
    kind, record_id = _identity(record)
    return PreconditionFailed(
        f"{kind} {record_id} is {record.state.value} and cannot {action}",
        reason="TRANSITION_FORBIDDEN",
        metadata={"state": record.state.value},
    )


def check_transition(record: Record, state: RunState | ExperimentState) -> None:
    """Checks that a run or an experiment may change to a state.

    Raises:
        PreconditionFailed: `TRANSITIONS` or `EXPERIMENT_TRANSITIONS` does not allow it.
    """
    allowed: Collection[RunState | ExperimentState] = (
        EXPERIMENT_TRANSITIONS[record.state]
        if isinstance(record, Experiment)
        else TRANSITIONS[record.state]
    )
    if state not in allowed:
        raise forbidden(record, f"become {state.value}")


def overdue_cancel(run: Run, desired: DesiredState) -> RunEvent | None:
    """Cancels a run whose worker stopped before it saw the request to cancel.

    Args:
        run: The run after the change by its worker, or by the control plane if the worker died.
        desired: The desired state until then.

    Returns:
        The event to append at once; None if no cancel was requested or the run has ended anyway.
    """
    if desired is not DesiredState.CANCEL or RunState.CANCELLED not in TRANSITIONS[run.state]:
        return None
    payload = StateChanged(RunState.CANCELLED, "cancelled on request")
    return RunEvent(run.run_id, run.last_seq + 1, run.attempt, datetime.now(UTC), payload)


def check_control(run: Run, state: RunState, attempt: int | None) -> None:
    """Checks that the control plane may change a run to a state.

    Raises:
        Conflict: The run has a newer attempt.
        PreconditionFailed: Not allowed; only a worker's claim can change a run to RUNNING.
    """
    if attempt is not None:
        check_holder(run, attempt)
    if state is RunState.RUNNING:
        raise forbidden(run, "become running except by a worker's claim")
    check_transition(run, state)


def check_chunk(run_id: str, attempt: int, events: Sequence[RunEvent]) -> None:
    """Checks that a worker's events belong to one run and attempt, without gaps.

    Raises:
        InvalidInput: An event of another run or attempt, a gap, or an invalid segment.
    """
    for index, event in enumerate(events):
        where = f"events[{index}]"
        if event.run_id != run_id:
            raise InvalidInput.field(f"{where}.run_id", f"must be {run_id}")
        if event.attempt != attempt:
            raise InvalidInput.field(f"{where}.attempt", f"must be {attempt}")
        if event.seq != events[0].seq + index:
            raise InvalidInput.field(f"{where}.seq", f"must be {events[0].seq + index}")
        check_event(event, where)


def check_event(event: RunEvent, where: str) -> None:
    """Checks that one event is valid by itself.

    Raises:
        InvalidInput: It is not valid.
    """
    payload = event.payload
    if event.time.tzinfo is None:
        raise InvalidInput.field(f"{where}.time", "must have a time zone")
    if isinstance(payload, Finished) and not payload.state.is_final:
        raise InvalidInput.field(f"{where}.finished.state", "must be a final state")
    if isinstance(payload, Segment) and payload.parameters is not None:
        _check_parameters(payload, payload.parameters, f"{where}.segment.parameters")


def _check_parameters(segment: Segment, parameters: np.ndarray, where: str) -> None:
    if parameters.ndim < 1 or len(parameters) != len(segment.snapshots):
        raise InvalidInput.field(
            where, f"must have one row per snapshot, {len(segment.snapshots)} in total"
        )
    if parameters.nbytes > MAX_SEGMENT_BYTES:
        raise InvalidInput.field(
            where, f"must have at most {MAX_SEGMENT_BYTES} bytes, not {parameters.nbytes}"
        )


def check_follows(run: Run, event: RunEvent, where: str) -> None:
    """Checks that an event may follow in its run's current state.

    Raises:
        InvalidInput: A second `Created`.
        PreconditionFailed: Its state change is not allowed.
    """
    payload = event.payload
    if isinstance(payload, Created):
        raise InvalidInput.field(where, "must not be `created`; only the first event is")
    if isinstance(payload, (StateChanged, Finished)):
        check_transition(run, payload.state)


def _check_next(run: Run, event: RunEvent, where: str) -> None:
    """Checks that an imported event may follow `run`, which is `Run()` before the first event.

    Raises:
        InvalidInput: It may not; names the field.
    """
    if event.seq != run.last_seq + 1:
        raise InvalidInput.field(f"{where}.seq", f"must be {run.last_seq + 1} (no gaps)")
    if event.attempt < run.attempt:
        raise InvalidInput.field(f"{where}.attempt", f"must be at least {run.attempt}")
    if event.attempt > MAX_ATTEMPTS:
        raise InvalidInput.field(f"{where}.attempt", f"must be at most {MAX_ATTEMPTS}")
    check_event(event, where)
    if event.seq == 1:
        _check_first(event, where)
        return
    if event.run_id != run.run_id:
        raise InvalidInput.field(f"{where}.run_id", f"must be {run.run_id}")
    try:
        check_follows(run, event, where)
    except PreconditionFailed as error:
        raise InvalidInput.field(where, error.message) from None


def _check_first(event: RunEvent, where: str) -> None:
    if not isinstance(event.payload, Created):
        raise InvalidInput.field(where, "must be `created`, as it is the first event")
    if not is_run_id(event.run_id):
        raise InvalidInput.field(f"{where}.run_id", f"must match {_RUN_ID.pattern}")
    check_request_id(event.payload.request_id, f"{where}.created.request_id")
    check(event.payload.spec, f"{where}.created.spec")
    if event.payload.annotation is not None:
        check(event.payload.annotation, f"{where}.created.annotation")


def folded(given: Iterable[RunEvent]) -> Run:
    """Validates a complete imported log and computes its run: numbered from 1, one run, allowed
    state changes, a final state.

    Raises:
        InvalidInput: It is not the log of one finished run, or too large; names the field.
    """
    run, resumes = Run(), 0
    course: list[RunEvent] = []
    for index, event in enumerate(given):
        where = f"events[{index}]"
        _check_next(run, event, where)
        resumes += isinstance(event.payload, Resumed)
        if resumes > MAX_ATTEMPTS:
            raise InvalidInput.field(
                where, f"is `resumed` again; a log may have at most {MAX_ATTEMPTS} of these"
            )
        run = fold_history(run, event)
        course.append(for_figures(event))
    if not course:
        raise InvalidInput.field("events", "must not be empty")
    if not run.state.is_final:
        raise InvalidInput.field(
            "events", f"must end in a final state; the run is {run.state.value} at the end"
        )
    if len(codec.encode(run)) > MAX_RUN_BYTES:
        raise InvalidInput.field(
            "events", f"must give a spec and result of at most {MAX_RUN_BYTES} bytes"
        )
    return with_figures(run, course)


def check_blob(name: str, data: bytes) -> None:
    """Checks that a file can be stored.

    Raises:
        InvalidInput: Its name or size exceeds the limits.
    """
    if not 0 < len(name) <= 200 or not name.isprintable():
        raise InvalidInput.field("name", "must be 1 to 200 printable characters")
    if len(data) > MAX_BLOB_BYTES:
        raise InvalidInput.field(
            "data", f"must have at most {MAX_BLOB_BYTES} bytes, not {len(data)}"
        )


def sha256(data: bytes | memoryview) -> str:
    """SHA-256 digest in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def check_digest(data: bytes, expected: str, what: str) -> bytes:
    """Returns the bytes if they match their digest.

    Raises:
        DataLoss: They do not match.
    """
    if sha256(data) != expected:
        raise DataLoss(f"the stored bytes of {what} do not match their digest")
    return data


def objective_of(spec: RunSpec) -> str:
    """Name of the objective, for filters."""
    return snake_case(type(spec.objective).__name__)


def task_of(spec: RunSpec) -> str:
    """Name of the task, for filters; empty for objectives without data."""
    return "" if isinstance(spec.objective, Function) else spec.task.name
