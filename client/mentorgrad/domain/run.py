"""A run as it stands, and what it gave."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

import numpy as np

from mentorgrad.domain.spec import RunSpec
from mentorgrad.schema import bounded, figure, recorded


class RunState(StrEnum):
    """Where a run is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"

    @property
    def is_final(self) -> bool:
        """Whether nothing can follow."""
        return not TRANSITIONS[self]


TRANSITIONS: dict[RunState, frozenset[RunState]] = {
    RunState.QUEUED: frozenset(
        {RunState.RUNNING, RunState.PAUSED, RunState.CANCELLED, RunState.FAILED}
    ),
    RunState.RUNNING: frozenset(
        {
            RunState.PAUSED,
            RunState.SUCCEEDED,
            RunState.FAILED,
            RunState.CANCELLED,
            RunState.INTERRUPTED,
        }
    ),
    RunState.PAUSED: frozenset({RunState.QUEUED, RunState.CANCELLED}),
    RunState.INTERRUPTED: frozenset(
        {RunState.QUEUED, RunState.RUNNING, RunState.CANCELLED, RunState.FAILED}
    ),
    RunState.SUCCEEDED: frozenset(),
    RunState.FAILED: frozenset(),
    RunState.CANCELLED: frozenset(),
}
"""The allowed transitions; everything that changes a state asks here."""


class DesiredState(StrEnum):
    """What the control plane wants of a running worker."""

    RUN = "run"
    PAUSE = "pause"
    CANCEL = "cancel"


class CandidateSource(StrEnum):
    """Where a candidate's parameters come from."""

    SNAPSHOT = "snapshot"
    PROJECTION = "projection"
    PROPOSAL = "proposal"


@dataclass(frozen=True)
class Score:
    """How well one parameter does on one split."""

    loss: float = figure()
    """Mean loss over the split's rows (nats for classification)."""
    accuracy: float | None = figure(None)
    """Share of rows that are right; absent where there are no classes."""
    rows: int = 0
    """Rows of the split."""


@dataclass(frozen=True)
class Candidate:
    """One parameter with its score on the selection split."""

    candidate_id: str = ""
    """Unique within the run, for example ``s2/step80`` or ``s2/step80/words`` or ``s2/p3``."""
    source: CandidateSource = CandidateSource.SNAPSHOT
    """Where the parameters come from."""
    stage: int = 0
    """Stage in which it was scored, from 0."""
    step: int = 0
    """Step of the trajectory it belongs to."""
    text: str = recorded()
    """Nearest words (or the numbers, for ``function``)."""
    toward_text: str = recorded()
    """Words it moved towards since the stage's start."""
    positions_changed: int = 0
    """Positions whose nearest token differs from the stage's start."""
    projection_distance: float | None = figure(None)
    """Mean distance between the parameters and the tokens of `text`, in the projection's metric."""
    filled: tuple[int, ...] = bounded((), max_length=4_096)
    """Positions that a proposal's tokens fill; the others keep the incumbent's vectors."""
    parents: tuple[str, ...] = bounded((), max_length=4_096)
    """Ids of the candidates it was made from."""
    score: Score = field(default_factory=Score)
    """On the selection split."""


@dataclass(frozen=True)
class Usage:
    """What a run has spent."""

    gradient_steps: int = 0
    """Gradient steps, probe steps and hints included."""
    probe_steps: int = 0
    """Of these, steps of races."""
    evaluations: int = 0
    """Parameters scored on the whole selection split."""
    mentor_calls: int = 0
    """Times the mentor was asked."""
    usable_answers: int = 0
    """Answers with at least one proposal that could be scored."""
    fallbacks: int = 0
    """Times the fallback proposed instead."""
    prompt_tokens: int = 0
    """Tokens of the questions."""
    reply_tokens: int = 0
    """Tokens of the replies."""
    mentor_time: timedelta = timedelta(0)
    """Time spent waiting for the mentor."""
    train_time: timedelta = timedelta(0)
    """Wall-clock time of the worker, from start to result, over all attempts."""
    lag_steps: int = 0
    """Of the gradient steps, those taken while the mentor thought."""
    hint_steps: int = 0
    """Of the gradient steps, backward passes for gradient hints."""


@dataclass(frozen=True)
class RunResult:
    """What a finished run gave: the snapshot that was best on *selection* in the whole run."""

    returned: Candidate = field(default_factory=Candidate)
    """The candidate whose parameters are the artifact ``prompt.safetensors``."""
    test: Score | None = None
    """The returned snapshot on *test*, touched once."""
    zero_shot: Score | None = None
    """The bare label words on *test* (``label_prompt``)."""
    majority_accuracy: float | None = figure(None)
    """Share of the most frequent class in *test*."""
    restarts_applied: int = 0
    """Restarts that went on from a proposal."""
    usage: Usage = field(default_factory=Usage)
    """What was spent."""


@dataclass(frozen=True)
class Run:
    """A run as it stands: a projection of its log."""

    run_id: str = ""
    """Server-made, unique, sortable by time of creation."""
    request_id: str = ""
    """The creator's key; the same key names the same run."""
    spec: RunSpec = field(default_factory=RunSpec)
    """The spec with all defaults filled in."""
    state: RunState = RunState.QUEUED
    """Where it is in its life."""
    created_at: datetime | None = None
    """When it was created."""
    started_at: datetime | None = None
    """When a worker first took it."""
    finished_at: datetime | None = None
    """When it reached a final state."""
    attempt: int = 0
    """How many workers have taken it."""
    last_seq: int = 0
    """Number of its last event."""
    stage: int = 0
    """Present stage, from 0."""
    step: int = 0
    """Steps of the trajectory so far (probe steps not included)."""
    train_loss: float | None = figure(None)
    """Of the latest snapshot."""
    best_selection_loss: float | None = figure(None)
    """Lowest selection loss of a candidate so far."""
    restarts_applied: int = 0
    """Restarts that went on from a proposal."""
    usage: Usage = field(default_factory=Usage)
    """What was spent so far."""
    versions: dict[str, str] = field(default_factory=dict)
    """Library versions that the run was created with."""
    result: RunResult | None = None
    """Present when it succeeded."""
    reason: str = recorded()
    """Why it is in this state, where that is not plain."""


@dataclass(frozen=True)
class Snapshot:
    """The parameters after one step."""

    step: int = 0
    """Step of the trajectory, from 1."""
    train_loss: float = figure()
    """Loss of the step's batch."""
    learning_rate: float = figure()
    """Learning rate of the step."""
    gradient_norm: float = figure()
    """Euclidean norm of the step's gradient."""
    text: str = recorded()
    """Nearest words; empty when words are not captured."""
    positions_changed: int = 0
    """Positions whose nearest token differs from the stage's start."""


@dataclass(frozen=True)
class Trajectory:
    """Snapshots of a run in order, as arrays of equal first dimension."""

    run_id: str
    """The run."""
    snapshots: tuple[Snapshot, ...]
    """In order of step."""
    stages: tuple[int, ...]
    """Stage of each snapshot."""
    parameters: np.ndarray | None = None
    """float32 [snapshots, *shape of a parameter]; absent when not captured or not asked for."""


@dataclass(frozen=True)
class Artifact:
    """A file that a run leaves."""

    name: str = ""
    """For example ``prompt.safetensors``."""
    size_bytes: int = 0
    """Length."""
    sha256: str = ""
    """Digest in hexadecimal."""
