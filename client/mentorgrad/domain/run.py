"""Runs: current state and result."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import numpy as np

from mentorgrad.domain.loss_line import LossLine
from mentorgrad.domain.objective import External, Function
from mentorgrad.domain.spec import Criterion, RunSpec
from mentorgrad.domain.summary import DataFrame, Summarised
from mentorgrad.errors import PreconditionFailed
from mentorgrad.schema import bounded, figure, recorded, snake_case


class RunState(StrEnum):
    """State of a run."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"

    @property
    def is_final(self) -> bool:
        """Whether the state is final."""
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
"""Allowed state transitions; every state change is checked against this table."""


class DesiredState(StrEnum):
    """State that the control plane requests of a running worker."""

    RUN = "run"
    FINISH = "finish"
    PAUSE = "pause"
    CANCEL = "cancel"


class CandidateSource(StrEnum):
    """Origin of a candidate's parameters."""

    SNAPSHOT = "snapshot"
    PROJECTION = "projection"
    PROPOSAL = "proposal"


@dataclass(frozen=True)
class Score:
    """Score of one parameter on one split."""

    loss: float = figure()
    """Mean loss over the rows of the split (in nats for classification)."""
    accuracy: float | None = figure(None)
    """Share of correctly classified rows; absent if the objective has no classes."""
    rows: int = 0
    """Number of scored rows; less than the split if only a part of it was scored."""
    macro_f1: float | None = figure(None)
    """Unweighted mean over the classes of F1; absent if the rows have fewer than two classes."""
    matthews: float | None = figure(None)
    """Matthews correlation coefficient; absent if the rows have fewer than two classes."""
    raw_loss: float | None = figure(None)
    """Mean loss without calibration; absent if the scores are not calibrated."""
    raw_accuracy: float | None = figure(None)
    """Share of correctly classified rows without calibration; absent if the scores are not
    calibrated."""
    prior: tuple[float, ...] = bounded((), max_length=1_000)
    """Probability of each label, whatever the text, by which the score is calibrated; empty without
    calibration."""

    @property
    def rank(self) -> float:
        """The loss for an order, lowest first: NaN, which has none, comes last."""
        return math.inf if math.isnan(self.loss) else self.loss


def criterion(score: Score, by: Criterion) -> float:
    """The figure of a score that selection minimises: the loss, or the negative of the others.

    Raises:
        PreconditionFailed: The score lacks the figure (reason CRITERION_UNDEFINED).
    """
    if by is Criterion.LOSS:
        return score.loss
    value: float | None = getattr(score, by.value)
    if value is None:
        raise PreconditionFailed(
            f"{by.value} is undefined on the {score.rows} scored rows", reason="CRITERION_UNDEFINED"
        )
    return -value


def preference(score: Score, by: Criterion) -> tuple[float, float]:
    """Sort key by `criterion`, the best score first: in case of a tie the lower loss. A score whose
    loss is not finite comes last."""
    if not math.isfinite(score.loss):
        return math.inf, math.inf
    return criterion(score, by), score.loss


@dataclass(frozen=True)
class Candidate(Summarised):
    """One parameter with its score on the selection split."""

    candidate_id: str = ""
    """Unique within the run, for example ``s2/step80``, ``s2/step80/words`` or ``s2/p3``."""
    source: CandidateSource = CandidateSource.SNAPSHOT
    """Origin of the parameters."""
    stage: int = 0
    """Stage in which the candidate was scored, from 0."""
    step: int = 0
    """Step of the trajectory that the candidate belongs to."""
    text: str = recorded()
    """Nearest words, or the numbers for ``function``."""
    toward_text: str = recorded()
    """Words nearest to the direction of movement since the start of the stage."""
    positions_changed: int = 0
    """Number of positions whose nearest token differs from the start of the stage."""
    projection_distance: float | None = figure(None)
    """Mean distance between the parameters and the tokens of `text`, in the projection's metric."""
    filled: tuple[int, ...] = bounded((), max_length=4_096)
    """Positions filled by the proposal's tokens; the others keep the incumbent's vectors."""
    parents: tuple[str, ...] = bounded((), max_length=4_096)
    """Ids of the candidates that this one is derived from."""
    score: Score = field(default_factory=Score)
    """Score on the selection split."""
    settings: Mapping[str, Any] | None = bounded(None, max_length=64)
    """Settings of the gradient steps: those in effect, or those that are proposed. None if the run
    has none."""
    probe_loss: float | None = figure(None)
    """Selection loss after the probe steps, of proposed settings that entered a race."""

    def _summary(self) -> dict[str, Any]:
        return {
            "candidate_id": self.candidate_id,
            "source": self.source.value,
            "loss": self.score.loss,
            "accuracy": self.score.accuracy,
            "text": self.text,
        }


@dataclass(frozen=True)
class Usage:
    """Costs of a run."""

    gradient_steps: int = 0
    """Gradient steps, including probe steps and hints."""
    probe_steps: int = 0
    """Gradient steps taken in races (included in `gradient_steps`)."""
    evaluations: int = 0
    """Number of parameters scored on the whole selection split; partial scores count by rows,
    rounded up per answer."""
    mentor_calls: int = 0
    """Number of mentor requests."""
    usable_answers: int = 0
    """Number of answers with at least one proposal that could be scored."""
    fallbacks: int = 0
    """Number of times the fallback proposed instead of the mentor."""
    prompt_tokens: int = 0
    """Tokens in questions."""
    reply_tokens: int = 0
    """Tokens in replies."""
    mentor_time: timedelta = timedelta(0)
    """Time spent waiting for the mentor."""
    train_time: timedelta = timedelta(0)
    """Wall-clock time of the worker from start to the end of training, over all attempts. Excludes
    the final test and the baselines."""
    lag_steps: int = 0
    """Gradient steps taken while waiting for the mentor in overlapped mode (included in
    `gradient_steps`)."""
    hint_steps: int = 0
    """Backward passes for gradient hints (included in `gradient_steps`)."""
    forward_rows: int = 0
    """Rows that passed through the tuned model: 1 per forward pass, 2 per forward-mode derivative,
    3 per forward and backward pass. Includes the caches of texts, hints and exemplars; not the
    baselines and the final test."""
    exemplar_rows: int = 0
    """Forward rows of the losses on train rows that the mentor is shown (included in
    `forward_rows`)."""
    tuned_model_tokens: int = 0
    """Tokens of prompts and replies that a served tuned model reported, or that llama.cpp evaluated
    (`served_prompt`). Includes the baselines and the final test."""


@dataclass(frozen=True)
class Baseline:
    """What a method without prompt tuning reaches on the rows of a run. It knows every labelled row
    of train and selection, chooses its settings by cross-validation on them, is scored on the test
    split once, and costs none of the budget."""

    name: str = ""
    """``majority``, ``zero_shot``, ``linear_probe`` or ``prototypes``."""
    test: Score | None = None
    """Score on the test split; absent if the baseline could not be computed."""
    labelled_rows: int = 0
    """Number of labelled rows that it was fitted on; 0 for ``zero_shot``."""
    detail: str = recorded()
    """The settings that cross-validation chose, or why there is no score."""


@dataclass(frozen=True)
class RunResult:
    """Result of a finished run: the snapshot with the lowest selection loss of the whole run."""

    returned: Candidate = field(default_factory=Candidate)
    """Returned candidate; its parameters are the artifact ``prompt.safetensors``."""
    test: Score | None = None
    """Score of the returned snapshot on the test split, which is used only for this."""
    zero_shot: Score | None = None
    """Test score of the label words without a prompt (``label_prompt``)."""
    majority_accuracy: float | None = figure(None)
    """Share of the most frequent class in the test split."""
    restarts_applied: int = 0
    """Number of restarts that continued from a proposal."""
    usage: Usage = field(default_factory=Usage)
    """Costs of the run."""
    baselines: tuple[Baseline, ...] = bounded((), max_length=100)
    """Methods without prompt tuning on the same rows, as far as the objective has them; empty
    without test rows."""
    rows_at_once: int = 0
    """Maximum train rows that passed through the model at a time in the last step, if its batch was
    divided into parts; 0 if it was not."""


@dataclass(frozen=True)
class Run(Summarised):
    """Current state of a run, a fold of its log."""

    run_id: str = ""
    """Assigned by the server; unique, and sortable by creation time."""
    request_id: str = ""
    """Idempotency key chosen by the caller; the same key refers to the same run."""
    spec: RunSpec = field(default_factory=RunSpec)
    """The spec with all defaults filled in."""
    state: RunState = RunState.QUEUED
    """Current state."""
    created_at: datetime | None = None
    """Creation time (UTC)."""
    started_at: datetime | None = None
    """Time when a worker first started the run (UTC)."""
    finished_at: datetime | None = None
    """Time when the run reached a final state (UTC)."""
    attempt: int = 0
    """Number of workers that have started the run."""
    last_seq: int = 0
    """Sequence number of the last event."""
    stage: int = 0
    """Current stage, from 0."""
    step: int = 0
    """Steps of the trajectory so far, without probe steps."""
    train_loss: float | None = figure(None)
    """Train loss of the latest snapshot."""
    best_selection_loss: float | None = figure(None)
    """Lowest selection loss of any candidate so far."""
    restarts_applied: int = 0
    """Number of restarts that continued from a proposal."""
    usage: Usage = field(default_factory=Usage)
    """Costs so far."""
    versions: dict[str, str] = field(default_factory=dict)
    """Library versions at creation."""
    result: RunResult | None = None
    """Result; present if the run succeeded."""
    reason: str = recorded()
    """Reason for the state, if it is not obvious."""
    owner: str = ""
    """Who created or imported the run: the owner of the caller's token, or the subject of its
    client certificate; empty: created before runs had owners, and visible to every caller."""
    project: str = ""
    """Project of the caller; its other members see the run, too. Empty: none."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels as edited last; those of the spec if never edited."""
    note: str = recorded()
    """Note of whoever works with the run; empty: none."""
    raw_dropped_at: datetime | None = None
    """When the store dropped the run's raw parameters and checkpoints to save space (UTC). From
    then on, the run is read like one that captured no parameters."""
    loss_line: LossLine = field(default_factory=LossLine)
    """Lowest selection loss over the steps so far. Empty: no candidate has a finite loss, or the
    run was recorded before there were such lines."""

    def _summary(self) -> dict[str, Any]:
        objective = self.spec.objective
        own = objective.name if isinstance(objective, (External, Function)) else ""
        test = self.result.test if self.result is not None else None
        return {
            "run_id": self.run_id,
            "name": self.spec.name,
            "state": self.state.value,
            "objective": snake_case(type(objective).__name__),
            "task": own or self.spec.task.name,
            "mentor": self.spec.mentor.name,
            "step": self.step,
            "restarts_applied": self.restarts_applied,
            "best_selection_loss": self.best_selection_loss,
            "test_loss": test.loss if test is not None else None,
            "test_accuracy": test.accuracy if test is not None else None,
            "created_at": self.created_at,
        }


@dataclass(frozen=True)
class Snapshot:
    """The parameters after one step."""

    step: int = 0
    """Step of the trajectory, from 1."""
    train_loss: float = figure()
    """Loss on the step's batch."""
    learning_rate: float = figure()
    """Learning rate of the step."""
    gradient_norm: float = figure()
    """Euclidean norm of the step's gradient."""
    text: str = recorded()
    """Nearest words; empty if words are not captured."""
    positions_changed: int = 0
    """Number of positions whose nearest token differs from the start of the stage."""


@dataclass(frozen=True)
class Trajectory(Summarised):
    """Snapshots of a run in order, as arrays with the same first dimension."""

    run_id: str
    """Id of the run."""
    snapshots: tuple[Snapshot, ...]
    """Snapshots in step order."""
    stages: tuple[int, ...]
    """Stage of each snapshot."""
    parameters: np.ndarray | None = None
    """Raw parameters, float32 [snapshots, *shape of a parameter]; absent if not captured or not
    requested."""

    def to_frame(self) -> DataFrame:
        """One row per snapshot, with the columns run_id and stage and the fields of `Snapshot`.

        Raises:
            Unsupported: pandas is not installed (extra ``frame``).
        """
        from mentorgrad.frames import to_frame

        frame = to_frame(self.snapshots, Snapshot)
        frame.insert(0, "run_id", self.run_id)
        frame.insert(1, "stage", self.stages)
        return frame

    def _summary(self) -> dict[str, Any]:
        first, last = self.snapshots[:1], self.snapshots[-1:]
        return {
            "run_id": self.run_id,
            "snapshots": len(self.snapshots),
            "stages": len(set(self.stages)),
            "first_step": first[0].step if first else None,
            "last_step": last[0].step if last else None,
            "first_train_loss": first[0].train_loss if first else None,
            "last_train_loss": last[0].train_loss if last else None,
            "parameters": None if self.parameters is None else self.parameters.shape,
        }


@dataclass(frozen=True)
class Artifact:
    """A file produced by a run."""

    name: str = ""
    """File name, for example ``prompt.safetensors``."""
    size_bytes: int = 0
    """Size in bytes."""
    sha256: str = ""
    """SHA-256 digest in hexadecimal."""
