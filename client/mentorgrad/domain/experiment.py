"""Experiments: arms compared under equal limits, and their results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from mentorgrad.domain.pages import Page
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import MentorChoice, RunSpec, Task
from mentorgrad.domain.summary import DataFrame, Summarised
from mentorgrad.errors import Violation
from mentorgrad.schema import NAME_PATTERN, Validated, bounded, figure, recorded

MAX_RUNS = 100_000
"""Maximum number of runs per experiment."""


@dataclass(frozen=True)
class Arm:
    """One configuration compared in an experiment."""

    name: str = bounded("mentor", pattern=NAME_PATTERN, required=True, max_length=100)
    """Name, unique within the experiment."""
    mentor: MentorChoice = field(default_factory=MentorChoice)
    """Source of restart proposals; the arms differ in it."""
    changes: Mapping[str, Any] = bounded(factory=dict, max_length=64)
    """Other changes to the experiment's base spec, keyed by the spec's field names; listed in the
    report."""


@dataclass(frozen=True)
class Variation:
    """A change to the base spec that applies to every arm, for example another number of shots."""

    name: str = bounded("base", pattern=NAME_PATTERN, required=True, max_length=100)
    """Name, unique within the experiment."""
    changes: Mapping[str, Any] = bounded(factory=dict, max_length=64)
    """Changes to the base spec, keyed by the spec's field names."""


@dataclass(frozen=True)
class Tuning:
    """Learning-rate selection, done separately for each arm: the rate with the lowest mean
    selection loss of the returned snapshot is used."""

    learning_rates: tuple[float, ...] = bounded((), gt=0.0, le=100.0, max_length=32)
    """Learning rates to try; empty: use the base spec's learning rate."""
    task: Task = field(default_factory=Task)
    """Task on which the rates are tried; its own selection split is used."""
    seeds: tuple[int, ...] = bounded((), ge=0, le=2**63 - 1, max_length=1000)
    """Seeds used for each learning rate."""


@dataclass(frozen=True)
class ExperimentSpec(Validated):
    """Specification of an experiment: tasks x variations x arms x seeds, under equal limits."""

    name: str = bounded("experiment", required=True, max_length=200)
    """Display name; need not be unique."""
    description: str = bounded("", max_length=500)
    """The question the experiment answers, in one line."""
    base: RunSpec = field(default_factory=RunSpec)
    """Spec shared by all runs. Its task, mentor and seed are replaced; its budget limits every
    run."""
    tasks: tuple[Task, ...] = bounded((), max_length=1000)
    """Tasks; at least one."""
    variations: tuple[Variation, ...] = bounded((), max_length=1000)
    """Changes that apply to every arm; empty: the base spec only."""
    arms: tuple[Arm, ...] = bounded((), max_length=1000)
    """Arms; at least two."""
    seeds: tuple[int, ...] = bounded((), ge=0, le=2**63 - 1, max_length=10_000)
    """Random seeds. A seed fixes the split, the initial prompt and the batch order across all
    arms."""
    subject: str = bounded("", max_length=100)
    """Name of the arm to evaluate against the others; empty: the first arm whose mentor is neither
    a control nor shuffled, otherwise the first arm."""
    tuning: Tuning = field(default_factory=Tuning)
    """Learning-rate selection."""
    parallel: int = bounded(0, ge=0, le=10_000)
    """Maximum number of the experiment's runs that are queued or running at once; 0: as many as the
    trainer executes at once."""

    def cross_violations(self) -> Iterator[Violation]:
        """Checks that the experiment has tasks, arms and seeds, with distinct names."""
        for name, least in (("tasks", 1), ("arms", 2), ("seeds", 1)):
            if len(getattr(self, name)) < least:
                yield Violation(name, f"must have at least {least}")
        for name in ("tasks", "arms", "variations"):
            names = [item.name for item in getattr(self, name)]
            if len(set(names)) < len(names):
                yield Violation(name, "must have unique names")
        if len(set(self.seeds)) < len(self.seeds):
            yield Violation("seeds", "must not contain a seed twice")
        if self.subject and self.subject not in {arm.name for arm in self.arms}:
            yield Violation("subject", "must be the name of an arm")
        if self.tuning.learning_rates and not self.tuning.seeds:
            yield Violation("tuning.seeds", "must have at least 1")
        if self.runs > MAX_RUNS:
            yield Violation("", f"has {self.runs} runs, more than the limit of {MAX_RUNS}")

    @property
    def runs(self) -> int:
        """Number of runs, including learning-rate tuning runs."""
        tuning = len(self.tuning.learning_rates) * len(self.tuning.seeds)
        each = len(self.tasks) * max(1, len(self.variations)) * len(self.seeds)
        return len(self.arms) * (each + tuning)

    @property
    def subject_arm(self) -> str:
        """Name of the arm to evaluate: `subject`, or the default if `subject` is empty."""
        if self.subject or not self.arms:
            return self.subject
        asked = [arm for arm in self.arms if not arm.mentor.is_control and not arm.mentor.shuffled]
        return (asked or list(self.arms))[0].name


class ExperimentState(StrEnum):
    """State of an experiment."""

    RUNNING = "running"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        """Whether the state is final."""
        return not EXPERIMENT_TRANSITIONS[self]


EXPERIMENT_TRANSITIONS: dict[ExperimentState, frozenset[ExperimentState]] = {
    ExperimentState.RUNNING: frozenset(
        {ExperimentState.FINISHED, ExperimentState.CANCELLED, ExperimentState.FAILED}
    ),
    ExperimentState.FINISHED: frozenset(),
    ExperimentState.CANCELLED: frozenset(),
    ExperimentState.FAILED: frozenset(),
}
"""Allowed state transitions; every state change is checked against this table."""


@dataclass(frozen=True)
class ExperimentProgress:
    """Number of an experiment's runs in each state."""

    total: int = 0
    """Total number of runs, including learning-rate tuning runs."""
    waiting: int = 0
    """Runs that are queued or not created yet."""
    running: int = 0
    """Runs in progress."""
    succeeded: int = 0
    """Runs that ended with a result."""
    failed: int = 0
    """Runs that ended without a result."""
    tuning: bool = False
    """Whether learning rates are still being selected."""
    time_left: timedelta | None = None
    """Estimated remaining time, based on the runs so far; absent if no estimate is possible yet."""


@dataclass(frozen=True)
class Experiment(Summarised):
    """Current state of an experiment."""

    experiment_id: str = ""
    """Assigned by the server; unique, and sortable by creation time."""
    request_id: str = ""
    """Idempotency key chosen by the caller; the same key refers to the same experiment."""
    spec: ExperimentSpec = field(default_factory=ExperimentSpec)
    """The spec with all defaults filled in."""
    state: ExperimentState = ExperimentState.RUNNING
    """Current state."""
    created_at: datetime | None = None
    """Creation time (UTC)."""
    finished_at: datetime | None = None
    """End time (UTC)."""
    progress: ExperimentProgress = field(default_factory=ExperimentProgress)
    """Progress of the runs."""
    reason: str = ""
    """Reason for the state, if it is not obvious."""
    owner: str = ""
    """Who created the experiment; see `Run.owner`."""
    project: str = ""
    """Project of the caller; see `Run.project`."""

    def _summary(self) -> dict[str, Any]:
        progress = self.progress
        return {
            "experiment_id": self.experiment_id,
            "name": self.spec.name,
            "state": self.state.value,
            "arms": ", ".join(arm.name for arm in self.spec.arms),
            "tasks": ", ".join(task.name for task in self.spec.tasks),
            "runs": progress.total,
            "succeeded": progress.succeeded,
            "failed": progress.failed,
            "created_at": self.created_at,
        }


@dataclass(frozen=True)
class ExperimentPage(Page[Experiment]):
    """A page of experiments."""

    experiments: tuple[Experiment, ...]
    """Experiments, newest first."""
    next_page_token: str = ""
    """Page token of the next page; empty on the last page."""


class Figure(StrEnum):
    """Measured value of a returned snapshot."""

    TEST_LOSS = "test_loss"
    TEST_ACCURACY = "test_accuracy"
    SELECTION_LOSS = "selection_loss"


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95% confidence interval."""

    mean: float = figure()
    """Mean."""
    low: float = figure()
    """Lower end of the 95% interval."""
    high: float = figure()
    """Upper end of the 95% interval."""
    count: int = 0
    """Number of runs or pairs in the mean."""


@dataclass(frozen=True)
class ArmReport:
    """Results and costs of one arm, averaged over its runs."""

    arm: str = ""
    """Name of the arm."""
    uses_llm: bool = False
    """Whether the arm's proposals come from an LLM."""
    shuffled: bool = False
    """Whether the scores sent to the mentor were shuffled."""
    learning_rate: float = 0.0
    """Learning rate used: selected by tuning, or the base spec's."""
    runs: int = 0
    """Number of runs with a result."""
    failed: int = 0
    """Number of runs without a result."""
    test_loss: Estimate | None = None
    """Test loss of the returned snapshots."""
    test_accuracy: Estimate | None = None
    """Test accuracy of the returned snapshots; absent if the objective has no classes."""
    selection_loss: Estimate | None = None
    """Selection loss of the returned snapshots."""
    gradient_steps: float = 0.0
    """Gradient steps per run, including probe steps and hints."""
    evaluations: float = 0.0
    """Evaluations per run."""
    restarts: float = 0.0
    """Restarts applied per run."""
    mentor_calls: float = 0.0
    """LLM mentor requests per run."""
    tokens: float = 0.0
    """Question and reply tokens per run."""
    seconds: float = 0.0
    """Wall-clock time per run, in seconds."""
    idle_share: float = 0.0
    """Share of the run time in which the trainer's device waited for the mentor."""
    fallback_share: float = 0.0
    """Share of mentor requests that the mentor itself did not answer usably, including requests
    that the fallback answered."""
    changes: str = ""
    """Other changes to the base spec, as JSON; empty: none."""
    forward_rows: float = 0.0
    """Forward rows per run."""


@dataclass(frozen=True)
class Comparison:
    """The subject compared with another arm, paired by task, variation and seed. Negative: the
    subject's value is lower."""

    other: str = ""
    """Name of the other arm."""
    figure: Figure = Figure.TEST_LOSS
    """Figure that is compared."""
    task: str = ""
    """Task name; empty: pooled over all tasks."""
    variation: str = ""
    """Variation name; empty: pooled over all variations."""
    difference: Estimate = field(default_factory=Estimate)
    """Mean difference, with equal weight for every task and variation. The interval comes from a
    bootstrap stratified by task that resamples whole seeds."""
    win_rate: float = 0.0
    """Share of pairs in which the subject is better; ties count half."""


@dataclass(frozen=True)
class Health:
    """Check whether plain training (without restarts) works on a task."""

    task: str = ""
    """Task name."""
    variation: str = ""
    """Variation name."""
    arm: str = ""
    """Name of the arm used as plain training."""
    accuracy: float | None = None
    """Mean test accuracy of that arm."""
    majority_accuracy: float | None = None
    """Share of the most frequent class in the test split."""
    zero_shot_accuracy: float | None = None
    """Test accuracy of the label words without a prompt."""
    healthy: bool = False
    """Whether plain training is more accurate than always predicting the most frequent class."""


@dataclass(frozen=True)
class BaselineReport:
    """What a method without prompt tuning reaches on a task: see `Baseline`. It depends on rows and
    tuned model alone, so the arms share it."""

    baseline: str = ""
    """Name of the baseline, for example ``linear_probe``."""
    task: str = ""
    """Task name."""
    variation: str = ""
    """Variation name."""
    test_loss: Estimate | None = None
    """Loss on the test split, over seeds."""
    test_accuracy: Estimate | None = None
    """Accuracy on the test split, over seeds."""


@dataclass(frozen=True)
class Cell:
    """One run as the report counts it, for analyses of your own."""

    run_id: str = ""
    """Id of the run."""
    arm: str = ""
    """Arm name."""
    task: str = ""
    """Task name."""
    variation: str = ""
    """Variation name."""
    seed: int = 0
    """Random seed."""
    test_loss: float | None = figure(None)
    """Test loss of the returned snapshot."""
    test_accuracy: float | None = figure(None)
    """Test accuracy of the returned snapshot."""
    selection_loss: float | None = figure(None)
    """Selection loss of the returned snapshot."""
    state: RunState = RunState.QUEUED
    """State of the run."""
    reason: str = recorded()
    """Reason for the state, if it is not obvious: the beginning of `Run.reason`."""


@dataclass(frozen=True)
class Report(Summarised):
    """Results of an experiment."""

    experiment_id: str = ""
    """Id of the experiment."""
    name: str = ""
    """Name of the experiment."""
    description: str = ""
    """The question the experiment answers."""
    complete: bool = False
    """Whether all runs have ended."""
    subject: str = ""
    """Name of the arm that is evaluated against the others."""
    strongest_control: str = ""
    """Name of the LLM-free control with the lowest mean test loss, excluding the plain arm; empty:
    there is none."""
    verdict: str = ""
    """Conclusion in one sentence."""
    arms: tuple[ArmReport, ...] = ()
    """One report per arm, in the experiment's order."""
    comparisons: tuple[Comparison, ...] = ()
    """Comparisons: pooled first, then by variation, by task, and by both."""
    health: tuple[Health, ...] = ()
    """One check per task and variation."""
    cells: tuple[Cell, ...] = ()
    """All runs."""
    gradient_steps_limit: int = 0
    """Limit of gradient steps per run; 0: no limit."""
    evaluations_limit: int = 0
    """Limit of evaluations per run; 0: no limit."""
    versions: dict[str, str] = field(default_factory=dict)
    """Library versions."""
    baselines: tuple[BaselineReport, ...] = ()
    """Baselines per task and variation, beside the arms."""
    forward_rows_limit: int = 0
    """Limit of forward rows per run; 0: no limit."""

    def to_frame(self) -> DataFrame:
        """One row per run of the experiment, with the fields of `Cell` as columns.

        Raises:
            Unsupported: pandas is not installed (extra ``frame``).
        """
        from mentorgrad.frames import to_frame

        return to_frame(self.cells, Cell)

    def _summary(self) -> dict[str, Any]:
        return {
            "experiment_id": self.experiment_id,
            "name": self.name,
            "description": self.description,
            "complete": self.complete,
            "subject": self.subject,
            "runs": len(self.cells),
            "verdict": self.verdict,
        }

    def _repr_html_(self) -> str:
        """The verdict and the tables of results, for notebooks."""
        from mentorgrad.reports.html import tables

        return super()._repr_html_() + tables(self)
