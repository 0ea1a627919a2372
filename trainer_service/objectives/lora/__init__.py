"""The objective ``lora``: a low-rank adapter of a frozen encoder, with a linear head, or of a
causal language model.

This module imports no torch; `problem` does.
"""

from __future__ import annotations

from mentorgrad.domain.objective import Lora
from mentorgrad.errors import InvalidInput
from trainer_service.objectives.adapters.checks import (
    check_adapted_model,
    check_numbers,
    costs,
    targeted,
)
from trainer_service.objectives.adapters.language_model_inputs import model_of
from trainer_service.objectives.adapters.targets import TOO_HIGH, require_rank
from trainer_service.objectives.kinds import CheckInputs, ObjectiveKind
from trainer_service.objectives.peft_folder import PeftFolder, peft_folder
from trainer_service.objectives.start_files import FOLDER, RUN, StartSources

_UNSUPPORTED = ("use_dora", "layer_replication")
"""What changes the meaning of the factors, or needs more than them."""

_HEADS = ("classifier", "score")
"""Names of heads in transformers, which PEFT saves besides."""


def initial_folder(spec: Lora, sources: StartSources, path: str) -> PeftFolder | None:
    """The adapter that a spec starts from; None: a random one.

    Raises:
        InvalidInput: It cannot be used, or `initial` is something else.
    """
    field = f"{path}.initial"
    folder = peft_folder(spec.initial, ("LORA",), model_of(spec), sources, field)
    if folder is None and spec.initial:
        raise InvalidInput.field(
            field, f"must be empty, or {FOLDER} and a folder, or {RUN} and the id of a run"
        )
    if folder is None:
        return None
    _require_plain(folder)
    if not folder.config.get("rank_pattern"):
        rank = folder.config.get("r")
        if isinstance(rank, int) and rank > spec.rank:
            raise folder.refusal(f"has the rank {rank}; the run's is {spec.rank}", TOO_HIGH)
    return folder


def _require_plain(folder: PeftFolder) -> None:
    """Checks that the adapter is nothing but factors.

    Raises:
        InvalidInput: It is more.
    """
    config = folder.config
    used = [name for name in _UNSUPPORTED if config.get(name)]
    saved = config.get("modules_to_save") or []
    if not isinstance(saved, list) or any(name not in _HEADS for name in saved):
        used.append("modules_to_save")
    if config.get("bias", "none") != "none":
        used.append("bias")
    if used:
        raise folder.refusal(f"uses {', '.join(used)}, which lora does not have")


def check(spec: Lora, inputs: CheckInputs) -> None:
    """Checks the model, the named layers, the rank and the size of the parameter."""
    folder, _ = check_adapted_model(spec, inputs)
    if folder is None:
        return
    shapes = targeted(spec, folder, inputs)
    try:
        initial_folder(spec, inputs.starts, inputs.path)
        require_rank(spec.rank, shapes, f"{inputs.path}.rank")
    except InvalidInput as error:
        inputs.findings.extend(error.violations, error.reason)
    check_numbers(spec, spec.rank * sum(map(sum, shapes.values())), "rank", folder, inputs)


KIND = ObjectiveKind(
    Lora,
    "trainer_service.objectives.lora.problem:build",
    costs,
    check,
    reopen="trainer_service.objectives.lora.problem:reopen",
    has_words=False,
    is_written=False,
    forward_row="a row through the encoder or the language model",
)
