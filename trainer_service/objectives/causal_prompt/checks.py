"""What is checked of a spec before its run is queued, without torch and without reading weights.

Where a model's tokenizer can be read, lengths are counted in tokens. A count is a lower bound of
what the build counts, so that nothing is refused here that the build accepts.
"""

from __future__ import annotations

from pathlib import Path

from mentorgrad.domain.objective import Calibration, CausalPrompt, PromptPosition
from mentorgrad.errors import MentorgradError
from mentorgrad.model_refs import resolve
from trainer_service.encoding.causal_files import context_tokens, model_width, require_causal_model
from trainer_service.encoding.gguf_files import folder_so_far, require_gguf_reader
from trainer_service.encoding.model_files import TokenCounter, read_json
from trainer_service.objectives.input_template import TEXT_PAIR, Template, TemplateError
from trainer_service.objectives.kinds import CheckInputs
from trainer_service.objectives.prompt_checks import (
    check_demonstrations,
    check_initial_text,
    check_long_texts,
    check_size,
    require_peft,
)
from trainer_service.tasks.data import Row, TaskData

_EMPTY = Row("", 0)

_SETTINGS = "tokenizer_config.json"
_AS_IT_IS = ("TokenizersBackend", "PreTrainedTokenizerFast")
"""Classes of transformers that use ``tokenizer.json`` as it is. Others make a tokenizer anew from
its vocabulary, which may divide a text into fewer tokens."""


def check(spec: CausalPrompt, inputs: CheckInputs) -> None:
    """Checks the model, the template, the labels, the number of rows and the initial text.

    Raises:
        Unsupported: A package that the position or the model needs is not installed.
    """
    if spec.position is PromptPosition.BEFORE_TEXT:
        require_peft("causal_prompt with the position before_text")
    path, tokens = check_language_model(spec, inputs)
    if path is not None:
        check_size(spec.n_tokens * model_width(path), inputs)
    if tokens is not None:
        check_initial_text(spec, lambda text: _least(tokens, "\n", text), inputs)


def check_language_model(
    spec: CausalPrompt, inputs: CheckInputs
) -> tuple[Path | None, TokenCounter | None]:
    """Checks the model, the template, the labels, the number of rows and the room for texts.

    Returns:
        The model's folder or GGUF file, None after adding a violation; and its tokenizer, None if
        it is not known here.

    Raises:
        Unsupported: A package that the model needs is not installed.
    """
    template = _template(spec, inputs)
    if inputs.task is not None:
        _check_rows(spec, inputs.task, inputs)
    path = _model(spec, inputs)
    if path is None:
        return None, None
    folder = folder_so_far(path, inputs.cache_dir)
    if folder is None:
        require_gguf_reader()
    tokens = _tokens(folder, inputs)
    _check_room(spec, template, tokens, context_tokens(folder or path), inputs)
    return folder or path, tokens


def room_field(spec: CausalPrompt) -> str:
    """The field to change if an input has no room; inputs of adapters have no prompt."""
    return "n_tokens" if spec.n_tokens else "max_length"


def _template(spec: CausalPrompt, inputs: CheckInputs) -> Template | None:
    is_before = spec.position is PromptPosition.BEFORE_TEXT
    if spec.chat_template and is_before:
        inputs.findings.add(f"{inputs.path}.chat_template", "needs the position after_text")
    # Without a task, which is a violation of its own, any texts are taken as its rows'.
    is_paired = inputs.task.is_paired if inputs.task is not None else TEXT_PAIR in spec.template
    try:
        return Template.parse(spec.template, spec.position, is_paired)
    except TemplateError as error:
        inputs.findings.add(f"{inputs.path}.template", str(error))
        return None


def _check_rows(spec: CausalPrompt, task: TaskData, inputs: CheckInputs) -> None:
    findings = inputs.findings
    for index, label in enumerate(task.labels):
        if not label.strip():
            findings.add("spec.task.labels", f"label {index + 1} must not be empty", "LABEL_TOKENS")
    check_demonstrations(spec, inputs)
    of_rows = spec.calibration in (Calibration.BATCH, Calibration.MATCHED)
    if of_rows and len(task.train) + len(task.selection) < 2:
        wrong = f"{spec.calibration.value} needs more than one row"
        findings.add(f"{inputs.path}.calibration", wrong, "TOO_FEW_ROWS")


def _model(spec: CausalPrompt, inputs: CheckInputs) -> Path | None:
    """The model's folder or GGUF file; None after adding a violation."""
    try:
        path = resolve(spec.model, roots=inputs.model_roots)
        require_causal_model(path)
        return path
    except MentorgradError as error:
        inputs.findings.add(f"{inputs.path}.model", error.message, error.reason)
        return None


def _tokens(folder: Path | None, inputs: CheckInputs) -> TokenCounter | None:
    """The model's tokenizer; None if it is not known here, or after adding a violation."""
    try:
        if folder is None or read_json(folder, _SETTINGS).get("tokenizer_class") not in _AS_IT_IS:
            return None
        return TokenCounter(folder)
    except MentorgradError as error:
        inputs.findings.add(f"{inputs.path}.model", error.message, error.reason)
        return None


def _check_room(
    spec: CausalPrompt,
    template: Template | None,
    tokens: TokenCounter | None,
    context: int,
    inputs: CheckInputs,
) -> None:
    """Checks that prompt and template leave room for a text."""
    limit = min(context, spec.max_length or context)
    taken, what = spec.n_tokens, "gives"
    # What a chat template makes of the texts is known when the run starts.
    if template is not None and tokens is not None and not spec.chat_template:
        taken, what = taken + _fixed_tokens(spec, template, tokens), "gives, with the template,"
    if taken < limit:
        if tokens is not None:
            check_long_texts(inputs, tokens.count, limit - taken - 1, exact=False)
        return
    of = "max_length" if limit < context else "the model"
    inputs.findings.add(
        f"{inputs.path}.{room_field(spec)}",
        f"{what} at least {taken} tokens without a text and a label; {of} allows {limit}",
        "PROMPT_TOO_LONG",
    )


def _fixed_tokens(spec: CausalPrompt, template: Template, tokens: TokenCounter) -> int:
    """Tokens of the template without a text, at least."""
    tail = template.tail(_EMPTY)
    if spec.position is PromptPosition.BEFORE_TEXT:
        return tokens.count(tail)
    return tokens.count(template.head(_EMPTY)) + _least(tokens, "a", tail)


def _least(tokens: TokenCounter, beginning: str, text: str) -> int:
    """Tokens of a text that continues another one, at least: it is counted in one string with it if
    the tokenizer divides the two there, and alone otherwise (see `LineTokens`)."""
    alone = tokens.count(text)
    return min(alone, tokens.count(beginning + text) - tokens.count(beginning))
