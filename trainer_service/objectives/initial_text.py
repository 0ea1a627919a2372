"""The text that a prompt starts from; no torch, so that specs can be validated without it."""

from __future__ import annotations

from collections.abc import Callable

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
    field, what = f"{path}.initial_text", "has"
    texts: tuple[str, ...] = (spec.initial_text,)
    if spec.initial_text == DESCRIPTION:
        texts = wordings(task.description, task.labels) if task is not None else ("",)
        what = "the shortest wording of the task's description has"
    elif spec.initial_text == LABELS:
        texts = (" ".join(task.labels) if task is not None else "",)
        what = "the label words have"
    if not texts:
        raise InvalidInput.field(field, "the task has no description")
    for text in texts:
        if count(text) <= spec.n_tokens:
            return text
    raise InvalidInput.field(
        field,
        f"{what} {min(map(count, texts))} tokens; at most {spec.n_tokens} (n_tokens) are allowed",
        reason="PROMPT_TOO_LONG",
    )
