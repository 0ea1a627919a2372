"""Exports a tuned prompt with its linear head as a PEFT adapter.

PEFT's sequence classification reads position 0, which is a soft token with prompt tuning. So the
adapter is one of token classification (`objectives.token_classifier_export`)::

    logits = model(**tokenizer(texts, ...)).logits[:, n_tokens]  # cls; first: [:, 0]
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from trainer_service.objectives.peft_files import prompt_tuning_config
from trainer_service.objectives.prompt_checks import require_peft
from trainer_service.objectives.token_classifier_export import TokenClassifierExport


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

        def peft_config(task_type: str) -> Any:
            return prompt_tuning_config(
                task_type,
                n_tokens=n_tokens,
                width=int(getattr(config, "embedding_size", None) or config.hidden_size),
                heads=getattr(config, "num_attention_heads", None),
                layers=getattr(config, "num_hidden_layers", None),
                model=encoder,
            )

        self._export = TokenClassifierExport(config, classes, peft_config)
        self.task_type = self._export.task_type
        """PEFT's task type of the adapter."""

    def files(self, prompt: Tensor, weight: Tensor, bias: Tensor) -> dict[str, bytes]:
        """Configuration and weight files for `PeftModel.from_pretrained`, by file name.

        Args:
            prompt: float32 [n_tokens, word width].
            weight: float32 [classes, hidden size].
            bias: float32 [classes].
        """
        return self._export.files({"prompt_embeddings": prompt}, weight, bias)
