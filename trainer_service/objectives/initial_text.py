"""The text that a prompt starts from; no torch, so that specs can be validated without it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mentorgrad.domain.objective import CausalPrompt, LabelPrompt, PrefixTuning, PromptTuning
from mentorgrad.errors import InvalidInput
from trainer_service.objectives.start_files import names_files
from trainer_service.tasks.data import TaskData
from trainer_service.tasks.wordings import wordings

DESCRIPTION = "description"
"""Value of `initial_text` that stands for the task's description and labels."""

LABELS = "labels"
"""Value of `initial_text` that stands for the task's label words."""

RANDOM = "random"
"""Value of `initial_text` that stands for random words."""

EMPTY = "empty"
"""Value of `initial_text` that stands for fillers alone."""


def initial_text(
    spec: LabelPrompt | PromptTuning | CausalPrompt | PrefixTuning,
    task: TaskData | None,
    count: Callable[[str], int],
    path: str,
    default: str = "",
) -> str:
    """The spec's `initial_text`; for ``description``, the first wording of the task that fits.
    ``empty`` is returned as it is. What does not start from a text has none.

    Args:
        spec: The text and the length of the prompt.
        task: The task that the wordings describe; None if it is invalid itself.
        count: Number of tokens of a text.
        path: Path of the objective's fields in the request.
        default: What an empty one stands for, if it fits.

    Returns:
        A text that fits the prompt; empty: random words.

    Raises:
        InvalidInput: The text is too long, all wordings are, or the task has no description.
    """
    if spec.initial_text == RANDOM or names_files(spec.initial_text):
        return ""
    if not spec.initial_text:
        return default if count(default) <= spec.n_tokens else ""
    size, most, field = count, spec.n_tokens, f"{path}.initial_text"
    return fitting(texts_of(spec.initial_text, task), size, most, field)


def texts_of(text: str, task: TaskData | None) -> dict[str, str]:
    """What the text of a spec stands for, from rich to short, and what each is called in messages.

    Args:
        text: ``description``, ``labels`` or a text.
        task: The task that they describe; None if it is invalid itself.
    """
    if text == DESCRIPTION:
        made = wordings(task.description, task.labels) if task is not None else ("",)
        return dict.fromkeys(made, "the shortest wording of the task's description has")
    if text == LABELS:
        return {" ".join(task.labels) if task is not None else "": "the label words have"}
    return {text: "has"}


def fitting(
    texts: Mapping[str, str],
    size: Callable[[str], int],
    most: int,
    field: str,
    *,
    unit: str = "tokens",
    limit: str = "n_tokens",
) -> str:
    """The first text that fits a prompt.

    Args:
        texts: Of `texts_of`.
        size: Size of a text.
        most: Maximum size.
        field: Path of the spec's field.
        unit: What sizes are counted in.
        limit: Name of the spec's field that sets the maximum.

    Raises:
        InvalidInput: None fits (reason PROMPT_TOO_LONG), or there is none.
    """
    if not texts:
        raise InvalidInput.field(field, "the task has no description")
    sizes = {text: size(text) for text in texts}
    for text, own in sizes.items():
        if own <= most:
            return text
    shortest = min(sizes, key=sizes.__getitem__)
    raise InvalidInput.field(
        field,
        f"{texts[shortest]} {sizes[shortest]} {unit}; at most {most} ({limit}) are allowed",
        reason="PROMPT_TOO_LONG",
    )
