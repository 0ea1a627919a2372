"""The objective ``label_prompt``: a soft prompt before each class name, with a frozen encoder of
texts, or of texts and images (CLIP).

This module imports no torch; `problem` does.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from mentorgrad.domain.objective import LabelPrompt
from trainer_service.costs import RowCosts
from trainer_service.encoding.model_files import (
    embedding_width,
    is_clip,
    max_positions,
    max_text_tokens,
    require_clip,
    require_encoder,
)
from trainer_service.objectives.kinds import CheckInputs, ObjectiveKind
from trainer_service.objectives.label_prompt.images import check_images
from trainer_service.objectives.prompt_checks import (
    check_encoder,
    check_initial_text,
    check_long_texts,
    check_size,
    check_unknown_tokens,
)
from trainer_service.tasks.data import TaskData


def _require(folder: Path, images: bool | None) -> None:
    """Checks that an encoder is of the kind that the rows need; None: of any kind."""
    if is_clip(folder) if images is None else images:
        require_clip(folder)
    else:
        require_encoder(folder)


def check(spec: LabelPrompt, inputs: CheckInputs) -> None:
    """Checks the encoder, the images, the prompt's length and the initial text."""
    check_images(inputs)
    images = None if inputs.task is None else inputs.task.has_images
    folder, tokens = check_encoder(spec.encoder, inputs, partial(_require, images=images))
    if folder is None or tokens is None:
        return
    limit, labels = max_positions(folder), inputs.task.labels if inputs.task else ()
    longest = max(map(tokens.count, labels), default=1)
    length = spec.n_tokens + longest + 2  # the start and end tokens
    if length > limit:
        inputs.findings.add(
            f"{inputs.path}.n_tokens",
            f"gives {length} tokens with the longest label; the encoder allows {limit}",
            "PROMPT_TOO_LONG",
        )
    prompts = max(len(labels), 1) if spec.per_class else 1
    check_size(prompts * spec.n_tokens * embedding_width(folder), inputs)
    check_initial_text(spec, tokens.count, inputs)
    check_long_texts(inputs, tokens.count, max_text_tokens(folder) - 2)
    check_unknown_tokens(inputs, tokens)


def costs(spec: LabelPrompt, task: TaskData | None) -> RowCosts:
    """A pass encodes each class name once, and every row of train and selection once per run."""
    if task is None:
        return RowCosts()
    return RowCosts(
        per_row=0, per_pass=len(task.labels), setup=len(task.train) + len(task.selection)
    )


KIND = ObjectiveKind(
    LabelPrompt,
    "trainer_service.objectives.label_prompt.problem:build",
    costs,
    check,
    reopen="trainer_service.objectives.label_prompt.problem:reopen",
    takes_images=True,
    forward_row="a class name, a text or an image that is encoded",
)
