"""Checks of specs that tune adapters; no weights are read, and no torch is imported."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mentorgrad.domain.objective import CausalPrompt, Lora, Xgblora
from mentorgrad.domain.spec import CaptureContent
from mentorgrad.errors import InvalidInput
from run_store.invariants import MAX_BLOB_BYTES, MAX_SEGMENT_BYTES
from trainer_service.costs import RowCosts
from trainer_service.encoding.model_files import TokenCounter, hidden_width, max_positions
from trainer_service.objectives.adapters.language_model_inputs import AdapterSpec, as_prompt
from trainer_service.objectives.adapters.targets import target_names, weight_shapes
from trainer_service.objectives.causal_prompt.checks import check_language_model
from trainer_service.objectives.input_template import TEXT_PAIR
from trainer_service.objectives.kinds import CheckInputs
from trainer_service.objectives.prompt_checks import (
    calibration_rows,
    check_encoder,
    check_long_texts,
    require_peft,
)
from trainer_service.tasks.data import TaskData

LEAST_TEXT_TOKENS = 3
"""Minimum tokens that must be left for a text: start, end and one token."""

_MAX_HEADER_BYTES = 90_000_000
"""Maximum bytes of a pending answer in the header of a checkpoint, which safetensors limits."""


def check_adapted_model(
    spec: AdapterSpec, inputs: CheckInputs, beside: int = 0
) -> tuple[Path | None, TokenCounter | None]:
    """Checks that peft is there, the model, and the room for texts.

    Args:
        spec: The objective.
        inputs: Takes the violations.
        beside: Tokens that the adapter adds to each row.

    Returns:
        The model's folder, None after adding a violation or for a GGUF file that has not been
        dequantised yet; and its tokenizer, None if it is not known here.
    """
    require_peft(inputs.path.rpartition(".")[2])
    if not spec.model:
        return _check_adapted_encoder(spec, inputs, beside)
    paired = inputs.task.is_paired if inputs.task is not None else TEXT_PAIR in spec.template
    try:
        prompt = as_prompt(spec, paired, inputs.path)
    except InvalidInput as error:
        inputs.findings.extend(error.violations, error.reason)
        return None, None
    path, tokens = check_language_model(prompt, inputs)
    return (None if path is None or path.is_file() else path), tokens


def _check_adapted_encoder(
    spec: AdapterSpec, inputs: CheckInputs, beside: int
) -> tuple[Path | None, TokenCounter | None]:
    folder, tokens = check_encoder(spec.encoder, inputs)
    if folder is None or tokens is None:
        return None, None
    longest = min(spec.max_length, max_positions(folder))
    room = longest - beside
    if room < LEAST_TEXT_TOKENS:
        inputs.findings.add(
            f"{inputs.path}.n_tokens",
            f"leaves {room} of {longest} tokens for the text; at least {LEAST_TEXT_TOKENS} are "
            "needed",
            "PROMPT_TOO_LONG",
        )
        return None, None
    paired = inputs.task is not None and inputs.task.is_paired
    check_long_texts(inputs, tokens.count, room - 2 - paired, exact=not paired)
    return folder, tokens


def targeted(
    spec: Lora | Xgblora, folder: Path, inputs: CheckInputs
) -> Mapping[str, tuple[int, int]]:
    """Shapes [out, in] of the layers that a spec names; empty after adding a violation."""
    try:
        shapes = weight_shapes(folder)
        return {
            name: shapes[name] for name in target_names(shapes, spec.target_modules, inputs.path)
        }
    except InvalidInput as error:
        inputs.findings.extend(error.violations, error.reason)
        return {}


def check_numbers(
    spec: AdapterSpec, adapter: int, field: str, folder: Path, inputs: CheckInputs
) -> None:
    """Checks that checkpoints can hold the parameter, and warns if the trajectory cannot.

    Args:
        spec: The objective.
        adapter: Numbers of the adapter, without the head.
        field: The spec's field that makes it large.
        folder: The model's.
        inputs: The run; takes the violation and the warning.
    """
    classes = len(inputs.task.labels) if inputs.task else 1
    head = 0 if spec.model else classes * (hidden_width(folder) + 1)
    size = 4 * (adapter + head)
    run: Any = inputs.run
    proposals = run.mentor.proposals if run.mentor.name != "none" else 0
    # Parameters, start, best, moments, kept snapshots, the pool and a pending answer.
    held = 6 + run.stages.candidates + max(proposals, run.stages.candidates) + 3 + 2 * proposals
    if held * size > MAX_BLOB_BYTES or size * proposals * 4 // 3 > _MAX_HEADER_BYTES:
        inputs.findings.add(
            f"{inputs.path}.{field}",
            f"gives {size} bytes of parameters, of which a checkpoint holds up to {held}: more "
            f"than {MAX_BLOB_BYTES} in all; lower it, or stages.candidates and mentor.proposals",
            "ADAPTER_TOO_LARGE",
        )
    elif size > MAX_SEGMENT_BYTES and run.capture.content is CaptureContent.TEXT_AND_PARAMETERS:
        inputs.warn(
            f"a parameter has {size} bytes, more than the {MAX_SEGMENT_BYTES} of a record: the "
            "trajectory holds losses and summaries, and no raw parameters; checkpoints and the "
            "result are complete"
        )


def costs(spec: AdapterSpec, task: TaskData | None) -> RowCosts:
    """A pass takes each of its rows; a score of a language model takes the inputs of its
    calibration besides."""
    if not spec.model or task is None:
        return RowCosts(per_row=1)
    prompt = CausalPrompt(calibration=spec.calibration)
    return RowCosts(per_row=1, per_score=calibration_rows(prompt, task))
