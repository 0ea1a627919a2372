"""The run spec: frozen dataclasses with the same names as the protos.

Every field has a default. `RunSpec()` is the embedded default: a soft prompt for the built-in task
`tickets`, tuned without a mentor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any

from mentorgrad.domain.objective import (
    CausalPrompt,
    External,
    Function,
    LabelPrompt,
    Lora,
    MultipleChoice,
    PrefixTuning,
    PromptTuning,
    ServedPrompt,
    Xgblora,
)
from mentorgrad.errors import Violation
from mentorgrad.schema import NAME_PATTERN, ByName, Validated, bounded

DEVICE = "device"
"""Key of `RunSpec.requires` for the kind of device: ``cpu`` or ``cuda``."""

ANY_DEVICE = "any"
"""Value of `DEVICE` with which a run may go on with another kind of device."""

MEMORY = "memory_mib"
"""Key of `RunSpec.requires` for the least memory of a device, in MiB."""

RANDOM_SETTINGS = "random_settings"
"""The control that proposes settings of gradient steps."""

CONTROLS = (
    *("none", "random_tokens", "random_init", "perturb", "recombine", "hint_tokens"),
    *("description", RANDOM_SETTINGS),
)
"""Proposal sources that use no LLM; reserved as mentor names."""


TASK_PATTERN = rf"{NAME_PATTERN}|hf:{NAME_PATTERN}(/{NAME_PATTERN}){{0,2}}(@[A-Za-z0-9._/-]+)?"
"""Regular expression for task names, including ``hf:`` names."""


class LongTexts(StrEnum):
    """What happens to texts that are longer than the tuned model's room for them."""

    TRUNCATE = "truncate"
    HEAD_TAIL = "head_tail"
    ERROR = "error"


class ClassWeight(StrEnum):
    """How the classes are weighted in the loss of gradient steps."""

    NONE = "none"
    BALANCED = "balanced"


class Schedule(StrEnum):
    """Learning-rate schedule over the steps of a run."""

    CONSTANT = "constant"
    LINEAR = "linear"
    COSINE = "cosine"


class Fallback(StrEnum):
    """What proposes restarts if the mentor is absent, slow or unusable."""

    NONE = "none"
    RANDOM_TOKENS = "random_tokens"


class MentorMode(StrEnum):
    """Whether gradient steps wait for the mentor."""

    BLOCKING = "blocking"
    OVERLAPPED = "overlapped"


class Policy(StrEnum):
    """Policy that decides whether to restart, and from which proposal."""

    RACE = "race"
    ALWAYS = "always"
    EXPLORE = "explore"
    BEST_OF = "best_of"
    FIRST = "first"


class Criterion(StrEnum):
    """What ranks candidates on the selection split."""

    LOSS = "loss"
    ACCURACY = "accuracy"
    MACRO_F1 = "macro_f1"
    MATTHEWS = "matthews"


class CaptureContent(StrEnum):
    """What is recorded and streamed of each snapshot."""

    OFF = "off"
    TEXT = "text"
    TEXT_AND_PARAMETERS = "text_and_parameters"


@dataclass(frozen=True)
class DataFiles:
    """Data files of a task: paths relative to one of the server's data roots, or
    ``upload:SHA256`` for what `AsyncClient.upload_data` has stored."""

    train: str = bounded("", required=True, max_length=500)
    """Train file (JSONL, CSV or Parquet), or a folder that holds one folder of images per class."""
    selection: str = bounded("", max_length=500)
    """Selection file; empty: rows drawn by seed from the train rows that are not used as shots."""
    test: str = bounded("", max_length=500)
    """Test file; empty: the run reports no test figures."""
    text_field: str = bounded("text", required=True, max_length=100)
    """Column that holds the text."""
    pair_field: str = bounded("", max_length=100)
    """Column of a second text that is joined to the first; empty: none."""
    label_field: str = bounded("label", required=True, max_length=100)
    """Column that holds the label: one of the task's `label_values`; without these an index into
    `labels`, or one of the label words."""
    image_field: str = bounded("", max_length=100)
    """Column of images, instead of texts: paths relative to the file's folder, or in Parquet the
    images themselves; empty: the rows are texts."""
    choice_fields: tuple[str, ...] = bounded((), max_length=1000)
    """Columns of the choices, in the order of `labels`, for a task whose label says which choice is
    right; empty: none. They become the second text, one choice per line."""


@dataclass(frozen=True)
class HubData:
    """Columns and splits of an ``hf:`` data set. Empty fields are inferred from the data set's
    features."""

    text_field: str = bounded("", max_length=100)
    """Column that holds the text, or the image; empty: the only text column, the first of two, or,
    without text columns, the only image column."""
    pair_field: str = bounded("", max_length=100)
    """Column of a second text; empty: none, or the second of two text columns if `text_field` is
    empty too."""
    template: str = bounded("", max_length=500)
    """Template that builds one text from several columns, for example ``{word}: {sentence1} /
    {sentence2}``; replaces `text_field`."""
    label_field: str = bounded("", max_length=100)
    """Column that holds the label; empty: the only class-label column, or ``label``."""
    train: str = bounded("", max_length=100)
    """Split of the train rows; empty: ``train``."""
    selection: str = bounded("", max_length=100)
    """Split of the selection rows; empty: the validation split if the test rows come from another
    split, otherwise rows drawn by seed from train."""
    test: str = bounded("", max_length=100)
    """Split of the test rows; empty: ``test`` if its labels are public, otherwise the validation
    split, otherwise one fifth of train, the same for every seed."""
    choice_fields: tuple[str, ...] = bounded((), max_length=1000)
    """Columns of the choices, in the order of the label indices, for a data set whose label says
    which choice is right; empty: none. They become the second text, one choice per line."""


@dataclass(frozen=True)
class Task(Validated, ByName):
    """A data set with labels and a one-line description."""

    name: str = bounded("tickets", pattern=TASK_PATTERN, required=True)
    """Name of a built-in task; of a published one or of an imported folder, which the server has;
    ``hf:org/name[/config][@revision]`` for a Hugging Face data set that the server has; or any name
    if `data` is set."""
    data: DataFiles | None = None
    """Data files of a custom task."""
    description: str = bounded("", max_length=500)
    """How the texts are classified, in one line; shown to the mentor."""
    labels: tuple[str, ...] = bounded((), max_length=1000)
    """Label words in the order of the label indices; required with `data`."""
    shots: int = bounded(16, ge=0, le=100_000)
    """Train rows per class, drawn by seed; 0: all rows."""
    selection_rows: int = bounded(64, ge=1, le=100_000)
    """Maximum number of selection rows per class."""
    hub: HubData | None = None
    """Columns and splits of an ``hf:`` data set; absent: inferred from its features."""
    label_values: tuple[str, ...] = bounded((), max_length=1000)
    """What the label column of the data files holds, in the order of `labels`. ``1``, ``1.0`` and
    ``"1"`` are one value, as are words that differ only in case or outer space. Empty: class
    indices, or label words."""
    long_texts: LongTexts = LongTexts.TRUNCATE
    """What happens to texts that are longer than the tuned model's room for them. ``truncate``: the
    beginning is kept. ``head_tail``: the beginning and the end, half of the room each. ``error``:
    the run fails."""
    class_weight: ClassWeight = ClassWeight.NONE
    """How the classes are weighted in the loss of gradient steps. ``balanced``: a row counts by the
    number of train rows, divided by the number of classes and by the train rows of its class, so
    that every class counts alike. Scores are not weighted."""
    test_rows: int = bounded(0, ge=0, le=100_000)
    """Maximum number of test rows per class, the same ones for every seed; 0: all rows."""

    def cross_violations(self) -> Iterator[Violation]:
        """Checks that custom tasks have a description and labels, and that labels are distinct."""
        is_hub = self.name.startswith("hf:")
        if is_hub and self.data is not None:
            yield Violation("data", "cannot be combined with an `hf:` name")
        if not is_hub and self.hub is not None:
            yield Violation("hub", "requires an `hf:` name")
        if self.data is not None and len(self.labels) < 2:
            yield Violation("labels", "must have at least two label words with `data`")
        if self.data is not None and not self.description:
            yield Violation("description", "is required with `data`")
        if self.data is not None and self.data.image_field and self.data.pair_field:
            yield Violation("data.pair_field", "cannot be combined with `image_field`")
        yield from self._choice_violations()
        if len(set(self.labels)) < len(self.labels):
            yield Violation("labels", "must not contain a label word twice")
        if self.label_values and self.data is None:
            yield Violation("label_values", "requires `data`")
        elif self.label_values and len(self.label_values) != len(self.labels):
            count = len(self.labels)
            yield Violation("label_values", f"must have one value per label word, {count} in all")

    def _choice_violations(self) -> Iterator[Violation]:
        for name, columns in (("data", self.data), ("hub", self.hub)):
            if columns is None or not columns.choice_fields:
                continue
            if columns.pair_field:
                yield Violation(f"{name}.choice_fields", "cannot be combined with `pair_field`")
            if self.labels and len(columns.choice_fields) != len(self.labels):
                count = len(self.labels)
                must = f"must have one column per label word, {count} in all"
                yield Violation(f"{name}.choice_fields", must)


@dataclass(frozen=True)
class Optimizer(ByName):
    """Optimizer of the gradient steps."""

    name: str = bounded("adamw", pattern=NAME_PATTERN, required=True)
    """Optimizer name: ``adamw``, ``sgd``, ``zo_sgd``, ``zo_sign``, ``zo_adam``,
    ``zo_conservative``, ``forward_grad`` or ``cma``."""
    learning_rate: float = bounded(5e-2, gt=0.0, le=100.0)
    """Peak learning rate, relative to the objective's unit; the initial step size of ``cma``. The
    default is high enough for the nearest words to change."""
    weight_decay: float = bounded(0.0, ge=0.0, le=10.0)
    """Decoupled weight decay."""
    momentum: float = bounded(0.9, ge=0.0, le=0.9999)
    """Momentum of ``sgd``."""
    batch_size: int = bounded(32, ge=1, le=4096)
    """Train rows per step."""
    schedule: Schedule = Schedule.CONSTANT
    """Learning-rate schedule over the run's steps."""
    warmup_steps: int = bounded(0, ge=0, le=1_000_000)
    """Steps over which the learning rate rises to its peak."""
    clip_norm: float = bounded(0.0, ge=0.0, le=1e6)
    """Maximum norm of the gradient, or of its estimate; 0: no clipping."""
    perturbation: float = bounded(1e-2, gt=0.0, le=100.0)
    """Distance of the two points of a finite difference from the parameters (the zo optimizers), in
    standard deviations per number and relative to the objective's unit."""
    directions: int | None = bounded(None, ge=1, le=1024)
    """Random directions averaged per step (the zo optimizers and ``forward_grad``), or points per
    step (``cma``, at least 4). Absent: 1 direction, or 20 points."""
    subspace: int = bounded(256, ge=1, le=1000)
    """Dimensions of the random subspace in which ``cma`` searches if there are more than 300
    numbers."""
    accumulation: int = bounded(1, ge=1, le=4096)
    """Parts that a step's batch is divided into. They pass through the model one after the other,
    and their gradients are added. A step then needs less memory and has the same result up to
    rounding."""
    automatic_batch_size: bool = False
    """Whether a step that lacks memory is repeated in twice as many parts, with half of the rows in
    each. `StepDivided` events and the result say how many rows passed at a time."""


@dataclass(frozen=True)
class Stages:
    """How the run is divided into stages."""

    count: int = bounded(4, ge=1, le=10_000)
    """Number of stages; the mentor is asked between consecutive stages."""
    steps: int = bounded(40, ge=0, le=1_000_000)
    """Gradient steps per stage. The last stage continues until the budget of gradient steps, or of
    forward rows, is spent. 0: the mentor is asked repeatedly without gradient steps between
    requests."""
    candidates: int = bounded(4, ge=1, le=64)
    """Number of snapshots per stage that become candidates; `stride` selects them."""
    first_steps: int | None = bounded(None, ge=0, le=1_000_000)
    """Gradient steps of the first stage; 0: the mentor is asked before the first step. Absent: the
    same as `steps`."""
    stride: int = bounded(0, ge=0, le=1_000_000)
    """Which snapshots become candidates. 0: the last one and others at even spacing. Otherwise: the
    first one of the stage and every `stride`-th after it, `candidates` in all, and in addition the
    last one, from which the run continues."""

    def length(self, stage: int) -> int:
        """Gradient steps of a stage, before any budget is applied."""
        return self.steps if stage > 0 or self.first_steps is None else self.first_steps

    @property
    def total_steps(self) -> int:
        """Gradient steps of all stages, before any budget is applied."""
        return self.length(0) + (self.count - 1) * self.steps


@dataclass(frozen=True)
class MentorChoice(ByName):
    """Source of restart proposals and how it is asked."""

    name: str = bounded("none", pattern=NAME_PATTERN, required=True)
    """Name of a mentor that the trainer knows, or of a control: ``none``, ``random_tokens``,
    ``random_init``, ``perturb``, ``recombine``, ``hint_tokens``, ``description`` or
    ``random_settings``."""
    strategy: str = bounded("maao", pattern=NAME_PATTERN, required=True)
    """Strategy, which turns a trajectory into a question to the LLM; controls ignore it."""
    options: Mapping[str, Any] = bounded(factory=dict, max_length=64)
    """Options of the strategy or control, validated against its JSON Schema."""
    proposals: int = bounded(8, ge=1, le=256)
    """Proposals per restart."""
    required: bool = False
    """Whether creating the run fails if the mentor is absent."""
    fallback: Fallback = Fallback.NONE
    """What proposes restarts if the mentor does not."""
    timeout: timedelta = bounded(timedelta(seconds=60), gt=0.0, le=3600.0)
    """Maximum time to wait for one answer."""
    mode: MentorMode = MentorMode.BLOCKING
    """``blocking``: the run waits for the answer. ``overlapped``: gradient steps continue until the
    answer arrives, and it is applied at a step boundary."""
    shuffled: bool = False
    """Whether candidates' scores are shuffled before they are sent to the mentor. This tests
    whether the trajectory matters at all. Controls receive no trajectory and ignore it."""
    hide_card: bool = False
    """Whether the task's description and label words are withheld from the mentor."""
    exemplars: int = bounded(0, ge=0, le=64)
    """Number of train rows shown to the mentor, if the strategy wants them; 0: none."""
    hint_tokens: int = bounded(8, ge=1, le=64)
    """Tokens per position in a gradient hint, if the strategy (or ``hint_tokens``) wants hints."""
    description_first: bool = False
    """Whether the first wording of the task's description that fits the prompt is the first
    proposal, before the mentor's or the control's own. It is one of the `proposals`. Later, a
    mentor is shown it as any earlier proposal. Without a description or labels, or if `hide_card`
    withholds them, it is left out, which the answer's detail says."""

    @property
    def is_control(self) -> bool:
        """Whether the trainer itself makes the proposals, without an LLM."""
        return self.name in CONTROLS


@dataclass(frozen=True)
class Acceptance:
    """How restarts are decided."""

    policy: Policy = Policy.RACE
    """``race``: the incumbent and the best proposals take probe steps, and the run continues from
    the lowest selection loss. ``always``: the best proposal. ``explore``: a proposal drawn by its
    score, with `temperature`. ``best_of``: the best proposal if it scores better than the incumbent
    written as words. ``first``: the first proposal that can be embedded, without scoring."""
    finalists: int = bounded(3, ge=1, le=64)
    """Number of proposals that enter a race."""
    probe_steps: int = bounded(10, ge=1, le=100_000)
    """Gradient steps per branch of a race."""
    temperature: float = bounded(0.05, gt=0.0, le=100.0)
    """Temperature of ``explore``, in units of the loss."""
    blend: float = bounded(1.0, gt=0.0, le=1.0)
    """Weight of the proposal in the restart point; the incumbent has the remaining weight."""
    keep_moments: bool = False
    """Whether the optimizer's moments are kept across a restart."""
    probe_scores: int = bounded(1, ge=1, le=1_000)
    """Number of times each branch of a race is scored, evenly spaced, the last time at its end. The
    branch's lowest score counts, and the run continues from that point."""
    screening_rounds: int = bounded(1, ge=1, le=16)
    """Rounds of successive halving in which proposals are scored. 1: every proposal is scored on
    the whole selection split. With r rounds, the first round scores all proposals on 1/2^(r-1) of
    the rows; each later round doubles the rows for the better half, but for at least `finalists`
    proposals. Only proposals that reach the last round are scored on the whole split and can be
    chosen."""
    first: Policy = Policy.ALWAYS
    """Policy of the first restart if the first stage takes no steps, so that the incumbent is the
    initial prompt; `policy` decides all others."""


@dataclass(frozen=True)
class Capture:
    """What is recorded and streamed of the trajectory."""

    content: CaptureContent = CaptureContent.TEXT_AND_PARAMETERS
    """Words; words and raw parameters; or nothing."""
    every: int = bounded(1, ge=1, le=1_000_000)
    """Steps between recorded snapshots."""


@dataclass(frozen=True)
class Budget:
    """Limits of a run's costs; equal for all arms of a comparison."""

    gradient_steps: int | None = bounded(None, ge=0, le=100_000_000)
    """Maximum number of gradient steps, including probe steps and hints; absent: the steps of all
    stages plus those of races and hints. 0: the run takes no step, whatever `stages` says; every
    stage asks the mentor, and the result is the best prompt in words."""
    evaluations: int | None = bounded(None, ge=1, le=100_000_000)
    """Maximum number of evaluations on the selection split; absent: unlimited."""
    forward_rows: int | None = bounded(None, ge=1, le=10**15)
    """Maximum number of forward rows; absent: unlimited. A forward row is one row that passes once
    through the tuned model; a forward-mode derivative counts 2, a forward and backward pass 3."""


@dataclass(frozen=True)
class RunSpec:
    """Complete specification of a run."""

    objective: (
        LabelPrompt
        | Function
        | External
        | PromptTuning
        | CausalPrompt
        | ServedPrompt
        | MultipleChoice
        | Lora
        | PrefixTuning
        | Xgblora
    ) = field(default_factory=LabelPrompt)
    """What is optimised and how a parameter is scored."""
    task: Task = field(default_factory=Task)
    """Data; not used by ``function``."""
    optimizer: Optimizer = field(default_factory=Optimizer)
    """Optimizer of the gradient steps."""
    stages: Stages = field(default_factory=Stages)
    """How the run is divided into stages."""
    mentor: MentorChoice = field(default_factory=MentorChoice)
    """Source of restart proposals."""
    acceptance: Acceptance = field(default_factory=Acceptance)
    """How restarts are decided."""
    capture: Capture = field(default_factory=Capture)
    """What is recorded of the trajectory."""
    budget: Budget = field(default_factory=Budget)
    """Limits of the run's costs."""
    seed: int = bounded(0, ge=0, le=2**63 - 1)
    """Random seed. It fixes the splits, the initial parameters, the batch order and the mentor's
    seeds."""
    checkpoint_interval: timedelta = bounded(timedelta(seconds=10), gt=0.0, le=86_400.0)
    """Maximum time between two checkpoints."""
    name: str = bounded("", max_length=200)
    """Display name; need not be unique."""
    labels: Mapping[str, str] = bounded(factory=dict, max_length=64)
    """Free key-value labels for finding the run."""
    criterion: Criterion = Criterion.LOSS
    """What ranks candidates on the selection split: in restart decisions, races and for the result.
    ``loss``: the lowest first. ``accuracy``, ``macro_f1`` and ``matthews``: the highest first, and
    the lower loss first in case of a tie."""
    devices: int = bounded(1, ge=1, le=64)
    """Devices that the run occupies at once. Each has a process of its own, which computes a part
    of the rows of every step and of every score; the run's results are those of one device up to
    rounding. On a CPU they are worker slots of the trainer."""
    requires: Mapping[str, str] = bounded(factory=dict, max_length=16)
    """Labels that the worker must have, such as ``gpu``: ``h200``; others leave the run to it. The
    key ``device`` asks for a kind of device, ``cpu`` or ``cuda``; with ``any``, the run may go on
    on another kind than it began on, and then its result depends on when. The key ``memory_mib``
    asks for a device with at least so much memory, in MiB."""
    webhooks: tuple[str, ...] = bounded((), max_length=16)
    """Names of the trainer's webhooks that are told when the run ends, pauses or is interrupted."""
