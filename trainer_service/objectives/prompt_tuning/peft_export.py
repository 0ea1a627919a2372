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

import copy
from typing import Any

import torch
from torch import Tensor, nn

from trainer_service import tensorfile
from trainer_service.objectives.peft_files import (
    WEIGHTS_FILE,
    config_file,
    prompt_tuning_config,
    quietly,
)
from trainer_service.objectives.prompt_checks import require_peft

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
        require_peft("prompt_tuning")
        self._n_tokens = n_tokens
        self._encoder = encoder
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
        with quietly():
            names = self._names()
            configuration = config_file(self._peft_config())
        ours = {"prompt": prompt, "weight": weight, "bias": bias}
        tensors = {name: ours[ours_name] for name, ours_name in names.items()}
        return {
            **configuration,
            WEIGHTS_FILE: tensorfile.save(tensors, {"format": "pt"}),
        }

    def _peft_config(self) -> Any:
        return prompt_tuning_config(
            self.task_type,
            n_tokens=self._n_tokens,
            width=self._token_width(),
            heads=getattr(self._config, "num_attention_heads", None),
            layers=getattr(self._config, "num_hidden_layers", None),
            model=self._encoder,
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

        with torch.device("meta"), quietly():
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
