"""The soft prompt that a run starts from, if it is another run's or PEFT's."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from mentorgrad.domain.objective import CausalPrompt, LabelPrompt, PromptTuning
from trainer_service.objectives.build import BuildInputs
from trainer_service.objectives.peft_folder import PeftFolder
from trainer_service.objectives.peft_tensors import prompt_of
from trainer_service.objectives.prompt_checks import initial_folder


def initial_prompt(
    spec: LabelPrompt | PromptTuning | CausalPrompt,
    inputs: BuildInputs,
    digest: str,
    room: Sequence[int],
) -> tuple[PeftFolder, Tensor] | None:
    """The folder that a spec starts from, and its prompt, [tokens, width] or
    [classes, tokens, width]; None if it starts from words.

    Args:
        spec: The objective.
        inputs: Where folders may be.
        digest: SHA-256 of the model.
        room: Shape of the prompt that it begins: [n_tokens, width] or [classes, n_tokens, width].

    Raises:
        InvalidInput: It is of another model, or does not fit.
    """
    folder = initial_folder(spec, inputs.starts, inputs.path)
    if folder is None:
        return None
    folder.require_model(digest)
    prompt = prompt_of(folder)
    lead, (size, width) = list(room[:-2]), room[-2:]
    if prompt.shape[-1] != width or list(prompt.shape[:-2]) not in ([], lead):
        raise folder.refusal(f"holds a prompt of shape {list(prompt.shape)}, not {list(room)}")
    folder.require_room(prompt.shape[-2], size)
    return folder, prompt
