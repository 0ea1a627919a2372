"""A folder of PEFT's as the start of a run; imports no torch. `peft_tensors` reads its tensors.

A run's files are such a folder, too: then ``model.json`` says which model they belong to exactly.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mentorgrad.errors import InvalidInput, MentorgradError, Violation
from mentorgrad.model_refs import resolve
from trainer_service.objectives.peft_files import CONFIG_FILE, WEIGHTS_FILE
from trainer_service.objectives.torch_free import MODEL_FILE

PREFIX = "peft:"
"""What the reference of such a folder begins with, in a spec."""

_PROMPT = "PROMPT_TUNING"

_PROMPTS = ("label_prompt", "prompt_tuning", "causal_prompt")
"""Objectives whose runs leave a soft prompt, not all of them for PEFT."""

_PICKLED = ("adapter_model.bin", "adapter_model.pt", "adapter_model.pth")


@dataclass(frozen=True, eq=False)
class PeftFolder:
    """An adapter that PEFT, or another run, has saved."""

    path: Path
    """The folder."""
    field: str
    """Path of the spec's field, for violations."""
    config: Mapping[str, Any]
    """``adapter_config.json``."""
    document: Mapping[str, Any]
    """``model.json`` of another run; empty without."""

    def refusal(self, why: str, reason: str = "ADAPTER_UNSUITABLE") -> InvalidInput:
        """The error for an adapter that cannot be used."""
        return InvalidInput.field(self.field, f"{self.path.name} {why}", reason=reason)

    def require_model(self, digest: str) -> None:
        """Checks that another run's model is this one.

        Raises:
            InvalidInput: It is another one (reason MODEL_CHANGED).
        """
        if self.document and self.document.get("model_sha256") != digest:
            raise self.refusal("is of a run with another model", "MODEL_CHANGED")


def peft_folder(
    reference: str, kinds: Sequence[str], model: str, roots: Sequence[Path] | None, field: str
) -> PeftFolder | None:
    """The folder that a spec starts from; None if it does not begin with `PREFIX`.

    Args:
        reference: The spec's field.
        kinds: PEFT's names of the types that can be used.
        model: Reference of the run's model.
        roots: Folders that it must be in; None: any folder.
        field: Path of the field, for violations.

    Raises:
        InvalidInput: It cannot be used: it is missing, its weights are pickled (reason
            PICKLED_WEIGHTS), or it is of another model (MODEL_CHANGED) or type.
    """
    if not reference.startswith(PREFIX):
        return None
    try:
        path = resolve(reference.removeprefix(PREFIX), roots=roots)
        config = _json(path / CONFIG_FILE)
    except MentorgradError as error:
        violation = Violation(field, error.message)
        raise InvalidInput(violations=[violation], reason=error.reason) from error
    folder = PeftFolder(path, field, config or {}, _json(path / MODEL_FILE) or {})
    if config is None and folder.document.get("objective") in _PROMPTS and _PROMPT in kinds:
        return folder
    if config is None:
        raise folder.refusal(f"is no adapter of PEFT: it has no valid {CONFIG_FILE}")
    if not (path / WEIGHTS_FILE).is_file():
        if any((path / name).is_file() for name in _PICKLED):
            raise folder.refusal(
                f"holds pickled weights, which can run any code and are not read; save it with "
                f"safe_serialization=True ({WEIGHTS_FILE})",
                "PICKLED_WEIGHTS",
            )
        raise folder.refusal(f"has no {WEIGHTS_FILE}")
    kind = str(config.get("peft_type"))
    if kind not in kinds:
        raise folder.refusal(f"holds an adapter of the type {kind}; needed: {' or '.join(kinds)}")
    base = config.get("base_model_name_or_path")
    if isinstance(base, str) and base and _name(base) != _name(model):
        raise folder.refusal(
            f"is an adapter of {base}, not of {model}; if they are the same model, remove "
            f"base_model_name_or_path from {CONFIG_FILE}",
            "MODEL_CHANGED",
        )
    return folder


def _json(file: Path) -> dict[str, Any] | None:
    """A JSON object; None if there is no valid one."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _name(model: str) -> str:
    """Repository or folder of a model, without its owner and revision."""
    return model.removeprefix("hf:").partition("@")[0].rstrip("/").rpartition("/")[2].lower()
