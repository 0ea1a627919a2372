"""An adapter of PEFT's as the start of a run; imports no torch. `peft_tensors` reads its tensors.

It is in a folder, or among the files of another run: then ``model.json`` says which model it
belongs to exactly.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mentorgrad.errors import InvalidInput, MentorgradError, Violation
from trainer_service.objectives.peft_files import CONFIG_FILE, WEIGHTS_FILE
from trainer_service.objectives.start_files import RUN, StartFiles, StartSources
from trainer_service.objectives.torch_free import MODEL_FILE

_PROMPT = "PROMPT_TUNING"

_PROMPTS = ("label_prompt", "prompt_tuning", "causal_prompt")
"""Objectives whose runs leave a soft prompt, not all of them for PEFT."""

_TEXTS = ("served_prompt", "causal_prompt")
"""Objectives whose runs leave a text for language models."""

_PICKLED = ("adapter_model.bin", "adapter_model.pt", "adapter_model.pth")


@dataclass(frozen=True, eq=False)
class PeftFolder:
    """An adapter that PEFT, or another run, has saved."""

    files: StartFiles
    """Its files."""
    field: str
    """Path of the spec's field, for violations."""
    config: Mapping[str, Any]
    """``adapter_config.json``; empty without."""
    document: Mapping[str, Any]
    """``model.json`` of another run; empty without."""

    def refusal(self, why: str, reason: str = "ADAPTER_UNSUITABLE") -> InvalidInput:
        """The error for an adapter that cannot be used."""
        return InvalidInput.field(self.field, f"{self.files.origin} {why}", reason=reason)

    @property
    def tokens(self) -> int:
        """Tokens of a prompt or prefix, as the configuration says; 0 if it does not."""
        own = self.config.get("num_virtual_tokens", self.document.get("spec", {}).get("n_tokens"))
        return own if isinstance(own, int) else 0

    def require_room(self, tokens: int, most: int) -> None:
        """Checks that a prompt or prefix of so many tokens fits the run's.

        Raises:
            InvalidInput: It is longer (reason PROMPT_TOO_LONG).
        """
        if tokens > most:
            wrong = f"has {tokens} tokens; at most {most} (n_tokens) are allowed"
            raise self.refusal(wrong, "PROMPT_TOO_LONG")

    def require_model(self, digest: str) -> None:
        """Checks that another run's model is this one.

        Raises:
            InvalidInput: It is another one (reason MODEL_CHANGED).
        """
        if self.document and self.document.get("model_sha256") != digest:
            raise self.refusal("is of a run with another model", "MODEL_CHANGED")


def peft_folder(
    reference: str, kinds: Sequence[str], model: str, sources: StartSources, field: str
) -> PeftFolder | None:
    """The adapter that a spec starts from; None if its field names neither a folder nor a run.

    Args:
        reference: The spec's field.
        kinds: PEFT's names of the types that can be used.
        model: Reference of the run's model.
        sources: Where it may be.
        field: Path of the field, for violations.

    Raises:
        InvalidInput: It cannot be used: it is missing, its weights are pickled (reason
            PICKLED_WEIGHTS), or it is of another model (MODEL_CHANGED) or type. A run is unknown
            (RUN_NOT_FOUND) or has left no files (NO_RESULT).
    """
    folder = _found(reference, sources, field)
    if folder is None:
        return None
    files, config, tuned = folder.files, folder.config, folder.document.get("model", "")
    if reference.startswith(RUN) and _name(tuned) != _name(model):
        raise folder.refusal(
            f"has tuned {tuned}, not {model}; if they are the same model, name it as that run does",
            "MODEL_CHANGED",
        )
    if not config and folder.document.get("objective") in _PROMPTS and _PROMPT in kinds:
        return folder
    if not config:
        kind = folder.document.get("objective", "")
        left = f"is of {kind}, which leaves" if kind else "is"
        raise folder.refusal(f"{left} no adapter of PEFT: it has no valid {CONFIG_FILE}")
    if WEIGHTS_FILE not in files.names:
        if any(name in files.names for name in _PICKLED):
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


def text_of_run(reference: str, sources: StartSources, field: str) -> str:
    """The prompt in words that another run left for a language model: ``run:ID``, or its files in a
    folder, ``peft:FOLDER``.

    Raises:
        InvalidInput: There is none.
    """
    found = _found(reference, sources, field)
    if found is None or found.document.get("objective") not in _TEXTS:
        raise InvalidInput.field(
            field,
            f"{reference} is no result of a run of {' or '.join(_TEXTS)}",
            reason="ADAPTER_UNSUITABLE",
        )
    return str(found.document["text"])


def _found(reference: str, sources: StartSources, field: str) -> PeftFolder | None:
    """What a spec's field names; None if it is a text.

    Raises:
        InvalidInput: It does not exist.
        Unavailable: The store is not available.
    """
    try:
        files = sources.find(reference)
        if files is None:
            return None
        config, document = _json(files, CONFIG_FILE), _json(files, MODEL_FILE)
    except MentorgradError as error:
        if error.retryable:  # the store is away
            raise
        violation = Violation(field, error.message)
        raise InvalidInput(violations=[violation], reason=error.reason) from error
    return PeftFolder(files, field, config or {}, document or {})


def _json(files: StartFiles, name: str) -> dict[str, Any] | None:
    """A JSON object; None if there is no valid one."""
    if name not in files.names:
        return None
    try:
        content = json.loads(files.read(name))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _name(model: str) -> str:
    """Repository or folder of a model, without its owner and revision."""
    return model.removeprefix("hf:").partition("@")[0].rstrip("/").rpartition("/")[2].lower()
