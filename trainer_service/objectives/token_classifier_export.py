"""Exports an adapter of an encoder, with its linear head, as PEFT has it.

PEFT's *token* classification returns the head's logits at every position, so each readout is an
index into them, or their mean, and the adapter contains the head as a saved module::

    model = PeftModel.from_pretrained(
        AutoModelForTokenClassification.from_pretrained(base, num_labels=classes), folder
    )
    logits = model(**tokenizer(texts, ...)).logits[:, 0]

If the model's token classifier is more than dropout and a linear layer (ModernBERT), the adapter
cannot contain the head. It is then a feature extraction adapter, and the caller applies the head.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from trainer_service import tensorfile
from trainer_service.objectives.peft_files import WEIGHTS_FILE, config_file, quietly

_HEAD = "classifier"
"""Name of a token classifier's head in transformers."""


class TokenClassifierExport:
    """Builds the PEFT adapter files of one run.

    Args:
        config: The encoder's transformers configuration.
        classes: Outputs of the head.
        peft_config: PEFT's name of a task type → a new PEFT configuration.
    """

    def __init__(self, config: Any, classes: int, peft_config: Callable[[str], Any]) -> None:
        self._peft_config = peft_config
        self._config = copy.deepcopy(config)
        self._config.num_labels = classes
        self._carries_head = _is_plain(self._token_classifier())
        self.task_type = "TOKEN_CLS" if self._carries_head else "FEATURE_EXTRACTION"
        """PEFT's task type of the adapter."""

    def files(
        self, tensors: Mapping[str, Tensor], weight: Tensor, bias: Tensor
    ) -> dict[str, bytes]:
        """Configuration and weight files for `PeftModel.from_pretrained`, by file name.

        Args:
            tensors: The adapter's tensors, by the ends of their names in PEFT.
            weight: float32 [classes, hidden size].
            bias: float32 [classes].
        """
        with quietly():
            names = self._names()
            configuration = config_file(self._peft_config(self.task_type))
        head = {"weight": weight, "bias": bias}
        found = {name: _of(name, tensors, head) for name in names}
        return {**configuration, WEIGHTS_FILE: tensorfile.save(found, {"format": "pt"})}

    def _names(self) -> list[str]:
        """PEFT's tensor names, read from a model on the meta device."""
        from peft import PeftModelForFeatureExtraction, PeftModelForTokenClassification
        from peft import get_peft_model_state_dict as state_of
        from transformers import AutoModel

        config = self._peft_config(self.task_type)
        if self._carries_head:
            wrapped: Any = PeftModelForTokenClassification(self._token_classifier(), config)
        else:
            with torch.device("meta"):
                base = AutoModel.from_config(self._config)
            wrapped = PeftModelForFeatureExtraction(base, config)
        return list(state_of(wrapped, save_embedding_layers=False))

    def _token_classifier(self) -> nn.Module:
        from transformers import AutoModelForTokenClassification

        with torch.device("meta"), quietly():
            try:
                model: nn.Module = AutoModelForTokenClassification.from_config(self._config)
            except ValueError:  # transformers has no token classifier for this architecture
                return nn.Identity()
        return model


def _of(name: str, tensors: Mapping[str, Tensor], head: Mapping[str, Tensor]) -> Tensor:
    """The tensor of a name in PEFT."""
    for end, tensor in tensors.items():
        if f".{name}".endswith(f".{end}"):
            return tensor
    return head[name.rpartition(".")[2]]


def _is_plain(model: nn.Module) -> bool:
    """Whether a token classifier consists of its encoder, dropout and one linear layer."""
    parts = dict(model.named_children())
    kept = {name for name, part in parts.items() if not isinstance(part, nn.Dropout)}
    prefix = getattr(model, "base_model_prefix", "")
    return kept == {prefix, _HEAD} and isinstance(parts[_HEAD], nn.Linear)
