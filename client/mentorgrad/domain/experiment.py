"""An experiment: arms compared at equal limits, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import NAME_PATTERN, MentorChoice, RunSpec, Task
from mentorgrad.errors import Violation
from mentorgrad.schema import Validated, bounded, figure

MAX_RUNS = 100_000
"""Most runs of one experiment."""


@dataclass(frozen=True)
class Arm:
    """One configuration that is compared."""

    name: str = bounded("mentor", pattern=NAME_PATTERN, required=True, max_length=100)
    """Unique within the experiment."""
    mentor: MentorChoice = field(default_factory=MentorChoice)
    """Who proposes restarts: what arms differ in."""
    changes: Mapping[str, Any] = bounded(factory=dict, max_length=64)
    """What else differs from the experiment's base, by the spec's field names; named in the
    report."""


@dataclass(frozen=True)
class Variation:
    """A change of the base that holds for every arm alike, for example another number of shots."""

    name: str = bounded("base", pattern=NAME_PATTERN, required=True, max_length=100)
    """Unique within the experiment."""
    changes: Mapping[str, Any] = bounded(factory=dict, max_length=64)
    """What differs from the base, by the spec's field names."""


@dataclass(frozen=True)
class Tuning:
    """How the learning rate of every arm is chosen, each by itself: the one of lowest mean
    selection loss of the returned snapshot."""

    learning_rates: tuple[float, ...] = bounded((), gt=0.0, le=100.0, max_length=32)
    """The learning rates that are tried; empty: the base's is used."""
    task: Task = field(default_factory=Task)
    """The task that they are tried on, with its own selection split."""
    seeds: tuple[int, ...] = bounded((), ge=0, le=2**63 - 1, max_length=1000)
    """Seeds of each."""


@dataclass(frozen=True)
class ExperimentSpec(Validated):
    """Tasks x variations x arms x seeds at equal limits."""

    name: str = bounded("experiment", required=True, max_length=200)
    """A name for people; need not be unique."""
    description: str = bounded("", max_length=500)
    """What is asked, in one line."""
    base: RunSpec = field(default_factory=RunSpec)
    """What all runs have in common; its task, mentor and seed are replaced, its budget limits every
    run."""
    tasks: tuple[Task, ...] = bounded((), max_length=1000)
    """At least one."""
    variations: tuple[Variation, ...] = bounded((), max_length=1000)
    """Changes that hold for every arm; empty: the base alone."""
    arms: tuple[Arm, ...] = bounded((), max_length=1000)
    """At least two."""
    seeds: tuple[int, ...] = bounded((), ge=0, le=2**63 - 1, max_length=10_000)
    """Each fixes split, initial prompt and batch order across arms."""
    subject: str = bounded("", max_length=100)
    """The arm whose worth is asked; empty: the first whose mentor is no control and is not
    shuffled, or else the first."""
    tuning: Tuning = field(default_factory=Tuning)
    """How learning rates are chosen."""
    parallel: int = bounded(0, ge=0, le=10_000)
    """Most of its runs that are queued or running at once; 0: as many as the trainer executes at
    once."""

    def cross_violations(self) -> Iterator[Violation]:
        """Something to compare, told apart by name."""
        for name, least in (("tasks", 1), ("arms", 2), ("seeds", 1)):
            if len(getattr(self, name)) < least:
                yield Violation(name, f"must have at least {least}")
        for name in ("tasks", "arms", "variations"):
            names = [item.name for item in getattr(self, name)]
            if len(set(names)) < len(names):
                yield Violation(name, "must not have the same name twice")
        if len(set(self.seeds)) < len(self.seeds):
            yield Violation("seeds", "must not repeat a seed")
        if self.subject and self.subject not in {arm.name for arm in self.arms}:
            yield Violation("subject", "must be the name of an arm")
        if self.tuning.learning_rates and not self.tuning.seeds:
            yield Violation("tuning.seeds", "must have at least 1")
        if self.runs > MAX_RUNS:
            yield Violation("", f"makes {self.runs} runs, more than {MAX_RUNS}")

    @property
    def runs(self) -> int:
        """How many runs it has, tuning runs included."""
        tuning = len(self.tuning.learning_rates) * len(self.tuning.seeds)
        each = len(self.tasks) * max(1, len(self.variations)) * len(self.seeds)
        return len(self.arms) * (each + tuning)

    @property
    def subject_arm(self) -> str:
        """The arm whose worth is asked, worked out where `subject` is empty."""
        if self.subject or not self.arms:
            return self.subject
        asked = [arm for arm in self.arms if not arm.mentor.is_control and not arm.mentor.shuffled]
        return (asked or list(self.arms))[0].name


class ExperimentState(StrEnum):
    """Where an experiment is in its life."""

    RUNNING = "running"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        """Whether nothing can follow."""
        return not EXPERIMENT_TRANSITIONS[self]


EXPERIMENT_TRANSITIONS: dict[ExperimentState, frozenset[ExperimentState]] = {
    ExperimentState.RUNNING: frozenset(
        {ExperimentState.FINISHED, ExperimentState.CANCELLED, ExperimentState.FAILED}
    ),
    ExperimentState.FINISHED: frozenset(),
    ExperimentState.CANCELLED: frozenset(),
    ExperimentState.FAILED: frozenset(),
}
"""The allowed transitions; everything that changes a state asks here."""


@dataclass(frozen=True)
class ExperimentProgress:
    """How many runs of an experiment are where."""

    total: int = 0
    """All that it will have, tuning runs included."""
    waiting: int = 0
    """Waiting for a worker or not queued yet."""
    running: int = 0
    """Under way."""
    succeeded: int = 0
    """Ended with a result."""
    failed: int = 0
    """Ended otherwise."""
    tuning: bool = False
    """Whether learning rates are still being chosen."""
    time_left: timedelta | None = None
    """About how long the rest takes, from the runs so far; absent while nothing is known."""


@dataclass(frozen=True)
class Experiment:
    """An experiment as it stands."""

    experiment_id: str = ""
    """Server-made, unique, sortable by time of creation."""
    request_id: str = ""
    """The creator's key; the same key names the same experiment."""
    spec: ExperimentSpec = field(default_factory=ExperimentSpec)
    """With all defaults filled in."""
    state: ExperimentState = ExperimentState.RUNNING
    """Where it is in its life."""
    created_at: datetime | None = None
    """When it was created."""
    finished_at: datetime | None = None
    """When it ended."""
    progress: ExperimentProgress = field(default_factory=ExperimentProgress)
    """How far it is."""
    reason: str = ""
    """Why it is in this state, where that is not plain."""


@dataclass(frozen=True)
class ExperimentPage:
    """A page of experiments."""

    experiments: tuple[Experiment, ...]
    """Newest first."""
    next_page_token: str = ""
    """Opaque; empty on the last page."""


class Figure(StrEnum):
    """What is measured of a returned snapshot."""

    TEST_LOSS = "test_loss"
    TEST_ACCURACY = "test_accuracy"
    SELECTION_LOSS = "selection_loss"


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval."""

    mean: float = figure()
    """The mean."""
    low: float = figure()
    """Lower end of the 95% interval."""
    high: float = figure()
    """Upper end of the 95% interval."""
    count: int = 0
    """Runs or pairs it is made of."""


@dataclass(frozen=True)
class ArmReport:
    """What one arm gave and cost; means over its runs."""

    arm: str = ""
    """The arm."""
    uses_llm: bool = False
    """Whether its proposals come from an LLM."""
    shuffled: bool = False
    """Whether its scores were shuffled."""
    learning_rate: float = 0.0
    """The learning rate that was chosen or given."""
    runs: int = 0
    """Runs with a result."""
    failed: int = 0
    """Runs without one."""
    test_loss: Estimate | None = None
    """Of the returned snapshots."""
    test_accuracy: Estimate | None = None
    """Of the returned snapshots; absent where there are no classes."""
    selection_loss: Estimate | None = None
    """Of the returned snapshots."""
    gradient_steps: float = 0.0
    """Gradient steps a run, probe steps and hints included."""
    evaluations: float = 0.0
    """Evaluations a run."""
    restarts: float = 0.0
    """Restarts applied a run."""
    mentor_calls: float = 0.0
    """Calls of an LLM a run."""
    tokens: float = 0.0
    """Tokens of questions and replies a run."""
    seconds: float = 0.0
    """Wall-clock seconds of a run."""
    idle_share: float = 0.0
    """Share of the time in which the trainer's device waited for the mentor."""
    fallback_share: float = 0.0
    """Share of the questions that the fallback had to answer, or nobody did."""
    changes: str = ""
    """What else differed from the base, as JSON; empty: nothing."""


@dataclass(frozen=True)
class Comparison:
    """The subject against another arm: paired by task, variation and seed. Negative: the subject is
    lower."""

    other: str = ""
    """The other arm."""
    figure: Figure = Figure.TEST_LOSS
    """What is compared."""
    task: str = ""
    """The task; empty: pooled over all."""
    variation: str = ""
    """The variation; empty: pooled over all."""
    difference: Estimate = field(default_factory=Estimate)
    """Mean difference, every task and variation of equal weight; the interval by a bootstrap
    stratified by task that draws whole seeds."""
    win_rate: float = 0.0
    """Share of the pairs in which the subject is better; ties count half."""


@dataclass(frozen=True)
class Health:
    """Whether plain training works at all on a task."""

    task: str = ""
    """The task."""
    variation: str = ""
    """The variation."""
    arm: str = ""
    """The arm that stands for plain training."""
    accuracy: float | None = None
    """Its mean accuracy on *test*."""
    majority_accuracy: float | None = None
    """Share of the most frequent class in *test*."""
    zero_shot_accuracy: float | None = None
    """Accuracy of the bare label words on *test*."""
    healthy: bool = False
    """Whether plain training beats the most frequent class."""


@dataclass(frozen=True)
class Cell:
    """One run as a report counts it, for those who want to compute for themselves."""

    run_id: str = ""
    """The run."""
    arm: str = ""
    """Its arm."""
    task: str = ""
    """Its task."""
    variation: str = ""
    """Its variation."""
    seed: int = 0
    """Its seed."""
    test_loss: float | None = figure(None)
    """Of the returned snapshot."""
    test_accuracy: float | None = figure(None)
    """Of the returned snapshot."""
    selection_loss: float | None = figure(None)
    """Of the returned snapshot."""
    state: RunState = RunState.QUEUED
    """Its state."""


@dataclass(frozen=True)
class Report:
    """What came of an experiment."""

    experiment_id: str = ""
    """The experiment."""
    name: str = ""
    """Its name."""
    description: str = ""
    """The question."""
    complete: bool = False
    """Whether all runs have ended."""
    subject: str = ""
    """The arm whose worth is asked."""
    strongest_control: str = ""
    """The LLM-free control of lowest mean test loss, the plain arm aside; empty: there is none."""
    verdict: str = ""
    """One sentence."""
    arms: tuple[ArmReport, ...] = ()
    """In the experiment's order."""
    comparisons: tuple[Comparison, ...] = ()
    """Pooled first, then by variation, by task, and by both."""
    health: tuple[Health, ...] = ()
    """By task and variation."""
    cells: tuple[Cell, ...] = ()
    """Every run."""
    gradient_steps_limit: int = 0
    """Limit of gradient steps a run; 0: none."""
    evaluations_limit: int = 0
    """Limit of evaluations a run; 0: none."""
    versions: dict[str, str] = field(default_factory=dict)
    """Library versions."""
