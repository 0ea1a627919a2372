"""Checks that the objectives with a soft prompt share; no weights are read."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

from mentorgrad.domain.objective import (
    Calibration,
    CausalPrompt,
    LabelPrompt,
    PrefixTuning,
    PromptTuning,
    ServedPrompt,
)
from mentorgrad.domain.spec import LongTexts
from mentorgrad.errors import InvalidInput, MentorgradError, Unsupported
from mentorgrad.installed import pip_line
from mentorgrad.model_refs import resolve
from run_store.invariants import MAX_SEGMENT_BYTES
from trainer_service.encoding.model_files import TokenCounter, require_encoder
from trainer_service.objectives.initial_text import initial_text
from trainer_service.objectives.kinds import CheckInputs
from trainer_service.objectives.peft_folder import PeftFolder, peft_folder
from trainer_service.objectives.start_files import StartSources
from trainer_service.objectives.torch_free import CONTENT_FREE_TEXTS
from trainer_service.tasks.data import Split, TaskData

_LOOKED_AT = 200
"""Train rows of which the tokens are looked at."""
_SHOWN = 40
"""Characters of a text by which its row is found in a file that was split."""
_MANY_UNKNOWN = 0.05
"""Share of unknown tokens that is warned of."""

LONG_TEXTS = "spec.task.long_texts"
"""Path of the field in a request."""


def require_peft(user: str) -> None:
    """Checks, before a run starts, that a tuned prompt can be exported as a PEFT adapter.

    Args:
        user: What needs it, for the message.

    Raises:
        Unsupported: peft is not installed.
    """
    if importlib.util.find_spec("peft") is None:
        raise Unsupported(
            f"{user} needs peft; run: {pip_line('trainer,peft')}",
            reason="MISSING_EXTRA",
        )


def check_encoder(
    reference: str, inputs: CheckInputs, require: Callable[[Path], None] = require_encoder
) -> tuple[Path, TokenCounter] | tuple[None, None]:
    """The encoder's folder and tokenizer; (None, None) after adding a violation.

    Args:
        reference: The encoder.
        inputs: Takes the violation.
        require: Checks that a folder holds an encoder of the kind that is needed.
    """
    try:
        folder = resolve(reference, roots=inputs.model_roots)
        require(folder)
        tokens = TokenCounter(folder)
        tokens.require_marks()
        return folder, tokens
    except MentorgradError as error:
        inputs.findings.add(f"{inputs.path}.encoder", error.message, error.reason)
        return None, None


def check_long_texts(
    inputs: CheckInputs, count: Callable[[str], int], most: int, *, exact: bool = True
) -> None:
    """Warns of texts that the run will cut, or refuses them where that is an error.

    Args:
        inputs: The rows; takes the violation or the warning.
        count: Number of tokens of a text.
        most: Maximum tokens of a row's texts.
        exact: Whether the numbers are those of the build, rather than about those.
    """
    if inputs.task is None:
        return
    task, how = inputs.task, inputs.run.task.long_texts
    # No token is shorter than a byte.
    long = [
        (split, index, row.joined)
        for split in Split
        for index, row in enumerate(task.rows(split), start=1)
        if len(row.joined.encode()) > most and count(row.joined) > most
    ]
    if not long:
        return
    whole = sum(map(len, map(task.rows, Split)))
    what = f"{len(long)} of {whole} texts take more than {most} tokens"
    if how is not LongTexts.ERROR:
        about = "" if exact else "about "
        inputs.warn(f"{about}{what}, and will be cut ({LONG_TEXTS} = {how.value})")
    elif exact:
        split, index, text = long[0]
        first = f"the first is row {index} of {split.value} ({text[:_SHOWN]!r}...)"
        inputs.findings.add(
            "spec.task", f"{what}, {first}; set {LONG_TEXTS} to cut them", "TEXT_TOO_LONG"
        )


def check_unknown_tokens(inputs: CheckInputs, tokens: TokenCounter) -> None:
    """Warns of texts of which the encoder does not know many tokens, such as those of a language
    that it was not trained on."""
    if inputs.task is None:
        return
    share = tokens.unknown(row.joined for row in inputs.task.train[:_LOOKED_AT])
    if share > _MANY_UNKNOWN:
        inputs.warn(
            f"{share:.0%} of the tokens of the texts are unknown to the model; an encoder whose "
            "tokenizer knows their language or signs, such as a multilingual one, would suit"
        )


def train_rows(spec: CausalPrompt | ServedPrompt, task: TaskData) -> int:
    """Train rows that the demonstrations leave."""
    return len(task.train) - spec.demonstrations * len(task.labels)


def calibration_rows(spec: CausalPrompt | ServedPrompt, task: TaskData) -> int:
    """Inputs whose label probabilities a score's calibration takes, besides the scored rows."""
    rows = {
        Calibration.NONE: 0,
        Calibration.CONTENT_FREE: len(CONTENT_FREE_TEXTS),
        Calibration.BATCH: train_rows(spec, task),
        Calibration.MATCHED: train_rows(spec, task),
    }
    return rows[spec.calibration]


def check_demonstrations(spec: CausalPrompt | ServedPrompt, inputs: CheckInputs) -> None:
    """Checks that the demonstrations leave train rows of every class."""
    if inputs.task is None:
        return
    rows = [row.label for row in inputs.task.train]
    fewest = min(rows.count(label) for label in range(len(inputs.task.labels)))
    if spec.demonstrations >= fewest:
        inputs.findings.add(
            f"{inputs.path}.demonstrations",
            f"must be less than {fewest}, the train rows of the smallest class",
            "TOO_FEW_ROWS",
        )


def check_size(numbers: int, inputs: CheckInputs) -> None:
    """Checks that one snapshot fits a segment."""
    if 4 * numbers > MAX_SEGMENT_BYTES:
        inputs.findings.add(
            f"{inputs.path}.n_tokens",
            f"gives {4 * numbers} bytes of parameters; one snapshot may have at most "
            f"{MAX_SEGMENT_BYTES}",
            "PROMPT_TOO_LONG",
        )


def initial_folder(
    spec: LabelPrompt | PromptTuning | CausalPrompt, sources: StartSources, path: str
) -> PeftFolder | None:
    """The soft prompt that a spec starts from; None: words.

    Raises:
        InvalidInput: It cannot be used.
    """
    model = spec.model if isinstance(spec, CausalPrompt) else spec.encoder
    field = f"{path}.initial_text"
    folder = peft_folder(spec.initial_text, ("PROMPT_TUNING",), model, sources, field)
    if folder is not None:
        folder.require_room(folder.tokens, spec.n_tokens)
    return folder


def check_initial_text(
    objective: LabelPrompt | PromptTuning | CausalPrompt | PrefixTuning,
    count: Callable[[str], int],
    inputs: CheckInputs,
) -> None:
    """Checks that the initial text, or a wording of the task's description, fits the prompt.

    Args:
        objective: The text and the length of the prompt.
        count: Number of tokens of a text, or a lower bound.
        inputs: Takes the violation.
    """
    try:
        if not isinstance(objective, PrefixTuning):
            initial_folder(objective, inputs.starts, inputs.path)
        initial_text(objective, inputs.task, count, inputs.path)
    except InvalidInput as error:
        inputs.findings.extend(error.violations, error.reason)
