"""PEFT's files: what the objectives that export adapters share."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Iterator
from enum import Enum
from typing import Any

from mentorgrad.errors import MentorgradError
from mentorgrad.model_refs import parse_hub

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"


def prompt_tuning_config(
    task_type: str,
    *,
    n_tokens: int,
    width: int,
    heads: int | None,
    layers: int | None,
    model: str,
) -> Any:
    """A new PEFT configuration, each time, because PEFT modifies it.

    Args:
        task_type: PEFT's name of it.
        n_tokens: Length of the prompt.
        width: Length of a word vector.
        heads: Attention heads of the model.
        layers: Layers of the model.
        model: Reference of the model; the adapter records ``hf:`` names.
    """
    from peft import PromptTuningConfig, TaskType

    base, revision = hub_name(model)
    return PromptTuningConfig(
        task_type=TaskType(task_type),
        num_virtual_tokens=n_tokens,
        token_dim=width,
        num_transformer_submodules=1,
        num_attention_heads=heads,
        num_layers=layers,
        base_model_name_or_path=base,
        revision=revision,
        inference_mode=True,
    )


def config_file(config: Any) -> dict[str, bytes]:
    """The configuration as the file that `PeftModel.from_pretrained` reads."""
    plain = {name: _plain(value) for name, value in config.to_dict().items()}
    return {CONFIG_FILE: json.dumps(plain, indent=2, sort_keys=True).encode() + b"\n"}


def _plain(value: Any) -> Any:
    if isinstance(value, set):
        return sorted(value)
    return value.value if isinstance(value, Enum) else value


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Suppresses warnings that PEFT causes with newer transformers releases."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def hub_name(model: str) -> tuple[str | None, str | None]:
    """Repository and revision of an ``hf:`` reference; None for a local path."""
    if not model.startswith("hf:"):
        return None, None
    try:
        parts = parse_hub(model)
    except MentorgradError:
        return None, None
    return parts.repo, parts.revision
