"""Exports a tuned prompt with its linear head as a PEFT adapter.

PEFT's sequence classification reads position 0, which is a soft token with prompt tuning. Its
*token* classification returns the head's logits at every position instead, so each readout is an
index into them, and the adapter contains the head as a saved module::

    model = PeftModel.from_pretrained(
        AutoModelForTokenClassification.from_pretrained(base, num_labels=classes), folder
    )
    logits = model(**tokenizer(texts, ...)).logits[:, n_tokens]  # cls; first: [:, 0]

If the model's token classifier is more than dropout and a linear layer (ModernBERT), the adapter
cannot contain the head. It is then a feature extraction adapter, and the caller applies the head.
"""

from __future__ import annotations

import contextlib
import copy
import json
import warnings
from collections.abc import Iterator
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn

from mentorgrad.errors import MentorgradError
from mentorgrad.model_refs import parse_hub
from trainer_service import tensorfile
from trainer_service.objectives.prompt_tuning import require_peft

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"

_HEAD = "classifier"
"""Name of a token classifier's head in transformers."""


class PeftExport:
    """Builds the PEFT adapter files of one run.

    Args:
        config: The encoder's transformers configuration.
        n_tokens: Length of the prompt.
        classes: Outputs of the head.
        encoder: Reference of the encoder; the adapter records ``hf:`` names.

    Raises:
        Unsupported: peft is not installed.
    """

    def __init__(self, config: Any, n_tokens: int, classes: int, encoder: str) -> None:
        require_peft()
        self._n_tokens = n_tokens
        self._base, self._revision = _hub_name(encoder)
        self._config = copy.deepcopy(config)
        self._config.num_labels = classes
        self._carries_head = _is_plain(self._token_classifier())
        self.task_type = "TOKEN_CLS" if self._carries_head else "FEATURE_EXTRACTION"
        """PEFT's task type of the adapter."""

    def files(self, prompt: Tensor, weight: Tensor, bias: Tensor) -> dict[str, bytes]:
        """Configuration and weight files for `PeftModel.from_pretrained`, by file name.

        Args:
            prompt: float32 [n_tokens, word width].
            weight: float32 [classes, hidden size].
            bias: float32 [classes].
        """
        with _quietly():
            names = self._names()
            config = _plain_values(self._peft_config().to_dict())
        ours = {"prompt": prompt, "weight": weight, "bias": bias}
        tensors = {name: ours[ours_name] for name, ours_name in names.items()}
        return {
            CONFIG_FILE: json.dumps(config, indent=2, sort_keys=True).encode() + b"\n",
            WEIGHTS_FILE: tensorfile.save(tensors, {"format": "pt"}),
        }

    def _peft_config(self) -> Any:
        """Builds a new configuration each time, because PEFT modifies it."""
        from peft import PromptTuningConfig, TaskType

        return PromptTuningConfig(
            task_type=TaskType(self.task_type),
            num_virtual_tokens=self._n_tokens,
            token_dim=self._token_width(),
            num_transformer_submodules=1,
            num_attention_heads=getattr(self._config, "num_attention_heads", None),
            num_layers=getattr(self._config, "num_hidden_layers", None),
            base_model_name_or_path=self._base,
            revision=self._revision,
            inference_mode=True,
        )

    def _token_width(self) -> int:
        return int(getattr(self._config, "embedding_size", None) or self._config.hidden_size)

    def _names(self) -> dict[str, str]:
        """Maps PEFT's tensor names to ours, read from a model on the meta device."""
        from peft import PeftModelForFeatureExtraction, PeftModelForTokenClassification
        from peft import get_peft_model_state_dict as state_of
        from transformers import AutoModel

        if self._carries_head:
            wrapped: Any = PeftModelForTokenClassification(
                self._token_classifier(), self._peft_config()
            )
        else:
            with torch.device("meta"):
                base = AutoModel.from_config(self._config)
            wrapped = PeftModelForFeatureExtraction(base, self._peft_config())
        names = state_of(wrapped, save_embedding_layers=False)
        return {name: name.rpartition(".")[2] if _HEAD in name else "prompt" for name in names}

    def _token_classifier(self) -> nn.Module:
        from transformers import AutoModelForTokenClassification

        with torch.device("meta"), _quietly():
            try:
                model: nn.Module = AutoModelForTokenClassification.from_config(self._config)
            except ValueError:  # transformers has no token classifier for this architecture
                return nn.Identity()
        return model


def _is_plain(model: nn.Module) -> bool:
    """Whether a token classifier consists of its encoder, dropout and one linear layer."""
    parts = dict(model.named_children())
    kept = {name for name, part in parts.items() if not isinstance(part, nn.Dropout)}
    prefix = getattr(model, "base_model_prefix", "")
    return kept == {prefix, _HEAD} and isinstance(parts[_HEAD], nn.Linear)


def _hub_name(encoder: str) -> tuple[str | None, str | None]:
    """Repository and revision of an ``hf:`` reference; None for a local path."""
    if not encoder.startswith("hf:"):
        return None, None
    try:
        parts = parse_hub(encoder)
    except MentorgradError:
        return None, None
    return parts.repo, parts.revision


def _plain_values(config: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.value if isinstance(value, Enum) else value for name, value in config.items()
    }


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Suppresses warnings that PEFT causes with newer transformers releases."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
