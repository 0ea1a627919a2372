"""Checks of specs that tune adapters; no weights are read, and no torch is imported."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mentorgrad.domain.spec import CaptureContent, Lora, PrefixTuning, Xgblora
from mentorgrad.errors import InvalidInput
from run_store.invariants import MAX_BLOB_BYTES, MAX_SEGMENT_BYTES
from trainer_service.encoding.model_files import TokenCounter, hidden_width, max_positions
from trainer_service.objectives.adapters.targets import target_names, weight_shapes
from trainer_service.objectives.kinds import CheckInputs
from trainer_service.objectives.prompt_checks import check_encoder, check_long_texts, require_peft

LEAST_TEXT_TOKENS = 3
"""Minimum tokens that must be left for a text: start, end and one token."""

_MAX_HEADER_BYTES = 90_000_000
"""Maximum bytes of a pending answer in the header of a checkpoint, which safetensors limits."""


def check_adapted_encoder(
    spec: Lora | PrefixTuning | Xgblora, inputs: CheckInputs, beside: int = 0
) -> tuple[Path, TokenCounter] | tuple[None, None]:
    """Checks that peft is there, the encoder, and the room for texts.

    Args:
        spec: The objective.
        inputs: Takes the violations.
        beside: Tokens that the adapter adds to each row.

    Returns:
        The encoder's folder and tokenizer; (None, None) after adding a violation.
    """
    require_peft(inputs.path.rpartition(".")[2])
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
        shapes = weight_shapes(folder, f"{inputs.path}.encoder")
        return {
            name: shapes[name] for name in target_names(shapes, spec.target_modules, inputs.path)
        }
    except InvalidInput as error:
        inputs.findings.extend(error.violations, error.reason)
        return {}


def check_numbers(adapter: int, field: str, folder: Path, inputs: CheckInputs) -> None:
    """Checks that checkpoints can hold the parameter, and warns if the trajectory cannot.

    Args:
        adapter: Numbers of the adapter, without the head.
        field: The spec's field that makes it large.
        folder: The encoder's.
        inputs: The run; takes the violation and the warning.
    """
    classes = len(inputs.task.labels) if inputs.task else 1
    size = 4 * (adapter + classes * (hidden_width(folder) + 1))
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
