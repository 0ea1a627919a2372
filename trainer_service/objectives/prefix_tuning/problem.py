"""Soft keys and values in front of those of every layer of a frozen encoder (P-tuning v2).

They start as the keys and values of words at the first positions; the text's positions come after
them, as in PEFT. There is no reparametrisation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from mentorgrad.domain.spec import PrefixTuning, Projection
from trainer_service.encoding.encoders import TextEncoder
from trainer_service.objectives.adapters.adapter import Adapter, Start, put_head, token_inputs
from trainer_service.objectives.adapters.build import build_adapter, reopen_adapter
from trainer_service.objectives.build import BuildInputs
from trainer_service.objectives.initial_text import initial_text
from trainer_service.objectives.peft_files import hub_name
from trainer_service.objectives.peft_folder import PeftFolder
from trainer_service.objectives.peft_tensors import adapter_tensors, head_of
from trainer_service.objectives.prefix_tuning import initial_folder, require_architecture
from trainer_service.objectives.prompt_vocabulary import PromptVocabulary
from trainer_service.objectives.token_batches import TokenBatch
from trainer_service.objectives.tuned import Tuned, TunedFiles
from trainer_service.protocols import Objective

PATH = "spec.objective.prefix_tuning"
"""Path of the objective's fields in a request."""

_PEFT_NAME = "prompt_embeddings"


class Prefix(Adapter):
    """Keys and values of every layer.

    Args:
        spec: Length of the prefix; encoder, for PEFT's files.
        encoder: The encoder.
        words: Draws the token ids whose keys and values a new prefix is, int64 [n_tokens].

    Raises:
        InvalidInput: The encoder's attention takes no keys and values from outside.
    """

    def __init__(
        self,
        spec: PrefixTuning,
        encoder: TextEncoder,
        words: Callable[[torch.Generator], Tensor],
    ) -> None:
        require_architecture(encoder.config.model_type, f"{PATH}.encoder")
        self._spec, self._encoder, self._words = spec, encoder, words
        self.beside = spec.n_tokens
        self._layers = int(encoder.config.num_hidden_layers)
        self._heads = int(encoder.config.num_attention_heads)
        self._names = [
            f"layer.{i}.{kind}" for i in range(self._layers) for kind in ("key", "value")
        ]
        size = (spec.n_tokens, encoder.hidden_size)
        self.shapes: Mapping[str, tuple[int, ...]] = dict.fromkeys(self._names, size)
        typical = self._of_words(words(torch.Generator().manual_seed(0)))
        self.unit = float(torch.stack(list(typical.values())).square().mean().sqrt())

    @torch.no_grad()
    def _of_words(self, ids: Tensor) -> dict[str, Tensor]:
        """Keys and values of words, [n_tokens, hidden size] by name."""
        from transformers import DynamicCache

        cache: Any = DynamicCache()
        ids = ids.to(self._encoder.device)[None]
        self._encoder.hidden(torch.ones_like(ids), input_ids=ids, past_key_values=cache)
        made = [part for layer in cache.layers for part in (layer.keys, layer.values)]
        return {
            name: part[0].transpose(0, 1).flatten(1).float()
            for name, part in zip(self._names, made, strict=True)
        }

    def hidden(self, parts: Mapping[str, Tensor], batch: TokenBatch) -> Tensor:
        """See `Adapter`."""
        from transformers import DynamicCache

        count, rows = len(parts[self._names[0]]), len(batch.ids)
        cache: Any = DynamicCache()
        for layer in range(self._layers):
            key, value = (
                self._of_heads(parts[name], rows) for name in self._names[2 * layer : 2 * layer + 2]
            )
            cache.update(key, value, layer)
        mask = torch.nn.functional.pad(batch.mask, (self.beside, 0), value=1)
        inputs = token_inputs(batch, count)
        return self._encoder.hidden(mask.repeat(count, 1), past_key_values=cache, **inputs)

    def _of_heads(self, part: Tensor, rows: int) -> Tensor:
        """[k, n_tokens, hidden size] → [k * rows, heads, n_tokens, hidden size / heads]."""
        heads = part.view(*part.shape[:2], self._heads, -1).transpose(1, 2)
        return heads.unsqueeze(1).expand(-1, rows, -1, -1, -1).flatten(0, 1)

    def draw(self, parts: Mapping[str, Tensor], generator: torch.Generator) -> None:
        """The keys and values of words."""
        for name, part in self._of_words(self._words(generator)).items():
            parts[name].copy_(part)

    def peft_config(self, task_type: str) -> Any:
        """See `Adapter`."""
        from peft import PrefixTuningConfig, TaskType

        base, revision = hub_name(self._spec.encoder)
        return PrefixTuningConfig(
            task_type=TaskType(task_type),
            num_virtual_tokens=self._spec.n_tokens,
            token_dim=self._encoder.hidden_size,
            num_transformer_submodules=1,
            num_attention_heads=self._heads,
            num_layers=self._layers,
            encoder_hidden_size=self._encoder.hidden_size,
            base_model_name_or_path=base,
            revision=revision,
            inference_mode=True,
        )

    def peft_tensors(self, parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Adapter`: [n_tokens, layers * 2 * hidden size]."""
        return {_PEFT_NAME: torch.cat([parts[name] for name in self._names], dim=-1)}

    def start_from(self, folder: PeftFolder, labels: tuple[str, ...]) -> Start:
        """Puts a prefix of PEFT's into the tensors of a drawn parameter; what a longer one has
        besides stays as it is drawn.

        Args:
            folder: The prefix.
            labels: Label words of the run's task.

        Raises:
            InvalidInput: It is longer, of another model, or reparametrised.
        """
        if folder.config.get("prefix_projection"):
            raise folder.refusal("uses prefix_projection, which prefix_tuning does not have")
        prefix = adapter_tensors(folder).get(_PEFT_NAME)
        width = len(self._names) * self._encoder.hidden_size
        if prefix is None or prefix.ndim != 2 or prefix.shape[1] != width:
            raise folder.refusal("does not fit the encoder: it is of another model")
        if len(prefix) > self._spec.n_tokens:
            raise folder.refusal(
                f"has {len(prefix)} tokens; at most {self._spec.n_tokens} (n_tokens) are allowed",
                "PROMPT_TOO_LONG",
            )
        head = head_of(folder, labels)

        def start(parts: Mapping[str, Tensor]) -> None:
            for name, part in zip(self._names, prefix.chunk(len(self._names), -1), strict=True):
                parts[name][: len(part)] = part
            put_head(parts, head, self._spec.head_scale)

        return start


def build(spec: PrefixTuning, inputs: BuildInputs) -> Objective:
    """Loads the encoder and tokenises the texts of the rows.

    Raises:
        InvalidInput: The encoder, the length or `initial_text` cannot be used.
        Unsupported: peft is not installed.
    """
    encoder = inputs.encoder(spec.encoder)
    folder = initial_folder(spec, inputs.starts, PATH)
    vocabulary = PromptVocabulary(encoder.tokens, spec.n_tokens, Projection())
    ids: list[int] = []
    if folder is None:
        start = initial_text(
            spec, inputs.rows, lambda text: len(encoder.tokens.token_ids(text)), PATH
        )
        ids = vocabulary.initial_ids(start, f"{PATH}.initial_text")

    def words(generator: torch.Generator) -> Tensor:
        drawn = vocabulary.random_ids(generator, spec.n_tokens)
        drawn[: len(ids)] = torch.tensor(ids, dtype=drawn.dtype)
        return drawn

    prefix = Prefix(spec, encoder, words)
    if folder is None:
        return build_adapter(spec, inputs, encoder, prefix)
    folder.require_model(encoder.digest)
    return build_adapter(
        spec, inputs, encoder, prefix, prefix.start_from(folder, inputs.rows.labels)
    )


def reopen(files: TunedFiles, inputs: BuildInputs) -> Tuned:
    """Loads the encoder, to predict; see `reopen_adapter`."""
    spec = files.spec(PrefixTuning)

    def prefix(encoder: TextEncoder) -> Prefix:
        return Prefix(spec, encoder, lambda generator: torch.zeros(spec.n_tokens, dtype=torch.long))

    return reopen_adapter(files, inputs, spec, prefix)
