"""Soft keys and values in front of those of every layer of a frozen model (P-tuning v2).

They start as the keys and values of words at the first positions; the text's positions come after
them, as in PEFT. There is no reparametrisation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from mentorgrad.domain.objective import PrefixTuning, Projection
from trainer_service.encoding.encoders import TextEncoder
from trainer_service.objectives.adapters.adapter import Adapter, Pass, Start, put_head
from trainer_service.objectives.adapters.build import (
    AdaptedModel,
    adapted_model,
    build_adapter,
    reopen_adapter,
)
from trainer_service.objectives.adapters.language_model_inputs import model_of
from trainer_service.objectives.build import BuildInputs
from trainer_service.objectives.initial_text import initial_text
from trainer_service.objectives.peft_files import hub_name
from trainer_service.objectives.peft_folder import PeftFolder
from trainer_service.objectives.peft_tensors import adapter_tensors, head_of
from trainer_service.objectives.prefix_tuning import initial_folder, require_architecture
from trainer_service.objectives.prefix_tuning.prefix_cache import prefix_cache
from trainer_service.objectives.prompt_vocabulary import PromptVocabulary
from trainer_service.objectives.tuned import Tuned, TunedFiles
from trainer_service.protocols import Objective

PATH = "spec.objective.prefix_tuning"
"""Path of the objective's fields in a request."""

_PEFT_NAME = "prompt_embeddings"


class Prefix(Adapter):
    """Keys and values of every layer.

    Args:
        spec: Length of the prefix; name of the model, for PEFT's files.
        model: The frozen model.
        words: Draws the token ids whose keys and values a new prefix is, int64 [n_tokens].

    Raises:
        InvalidInput: An encoder's attention takes no keys and values from outside.
    """

    def __init__(
        self,
        spec: PrefixTuning,
        model: AdaptedModel,
        words: Callable[[torch.Generator], Tensor],
    ) -> None:
        if isinstance(model, TextEncoder):
            require_architecture(model.config.model_type, f"{PATH}.encoder")
        self._spec, self._model, self._words = spec, model, words
        self.beside = spec.n_tokens
        typical = states_of_words(model, words(torch.Generator().manual_seed(0)))
        self._layers, _, self._heads, _, head_size = typical.shape
        self._dtype, self._width = typical.dtype, self._heads * head_size
        self.unit = float(typical.float().square().mean().sqrt())
        self._names = [
            f"layer.{i}.{kind}" for i in range(self._layers) for kind in ("key", "value")
        ]
        size = (spec.n_tokens, self._width)
        self.shapes: Mapping[str, tuple[int, ...]] = dict.fromkeys(self._names, size)

    def hidden(self, parts: Mapping[str, Tensor], rows: int, run: Pass) -> Tensor:
        """See `Adapter`."""
        made = [self._of_heads(parts[name], rows) for name in self._names]
        return run(prefix_cache(zip(made[::2], made[1::2], strict=True)))

    def _of_heads(self, part: Tensor, rows: int) -> Tensor:
        """[k, n_tokens, width] → [k * rows, heads, n_tokens, width / heads]."""
        split = part.view(*part.shape[:2], self._heads, -1).transpose(1, 2)
        heads = split.to(self._dtype)
        return heads.unsqueeze(1).expand(-1, rows, -1, -1, -1).flatten(0, 1)

    def draw(self, parts: Mapping[str, Tensor], generator: torch.Generator) -> None:
        """The keys and values of words."""
        made = states_of_words(self._model, self._words(generator))
        for name, part in zip(self._names, made.flatten(0, 1), strict=True):
            parts[name].copy_(part.transpose(0, 1).flatten(1))

    def peft_config(self, task_type: str) -> Any:
        """See `Adapter`."""
        from peft import PrefixTuningConfig, TaskType

        base, revision = hub_name(model_of(self._spec))
        return PrefixTuningConfig(
            task_type=TaskType(task_type),
            num_virtual_tokens=self._spec.n_tokens,
            token_dim=self._width,
            num_transformer_submodules=1,
            num_attention_heads=self._heads,
            num_layers=self._layers,
            encoder_hidden_size=self._width,
            base_model_name_or_path=base,
            revision=revision,
            inference_mode=True,
        )

    def peft_tensors(self, parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Adapter`: [n_tokens, layers * 2 * width]."""
        return {_PEFT_NAME: torch.cat([parts[name] for name in self._names], dim=-1)}

    def start_from(self, folder: PeftFolder, labels: tuple[str, ...]) -> Start:
        """Puts a prefix of PEFT's into the tensors of a drawn parameter; what a longer one has
        besides stays as it is drawn.

        Args:
            folder: The prefix.
            labels: Label words of the run's task.

        Raises:
            InvalidInput: It is longer, or of another model.
        """
        prefix = adapter_tensors(folder).get(_PEFT_NAME)
        width = len(self._names) * self._width
        if prefix is None or prefix.ndim != 2 or prefix.shape[1] != width:
            raise folder.refusal("does not fit the model: it is of another model")
        folder.require_room(len(prefix), self._spec.n_tokens)
        head = head_of(folder, labels)

        def start(parts: Mapping[str, Tensor]) -> None:
            for name, part in zip(self._names, prefix.chunk(len(self._names), -1), strict=True):
                parts[name][: len(part)] = part
            put_head(parts, head, self._spec.head_scale)

        return start


@torch.no_grad()
def states_of_words(model: AdaptedModel, ids: Tensor) -> Tensor:
    """Keys and values of words at the first positions.

    Args:
        model: The frozen model.
        ids: Token ids, int64 [n].

    Returns:
        [layers, 2, heads, n, head size], in the model's dtype.
    """
    from transformers import DynamicCache

    cache: Any = DynamicCache()
    ids = ids.to(model.device)[None]
    if isinstance(model, TextEncoder):
        model.hidden(torch.ones_like(ids), input_ids=ids, past_key_values=cache)
    else:
        places = torch.arange(ids.shape[1], device=model.device)[None]
        vectors = model.tokens.vectors[ids]
        model.hidden(vectors, torch.ones_like(ids), places, cache, use_cache=True)
    return torch.stack([torch.cat([layer.keys, layer.values]) for layer in cache.layers])


def build(spec: PrefixTuning, inputs: BuildInputs) -> Objective:
    """Loads the model and tokenises the texts of the rows.

    Raises:
        InvalidInput: The model, the length or `initial_text` cannot be used.
        Unsupported: peft is not installed.
    """
    model = adapted_model(spec, inputs)
    folder = initial_folder(spec, inputs.starts, PATH)
    vocabulary = PromptVocabulary(model.tokens, spec.n_tokens, Projection())
    ids: list[int] = []
    if folder is None:
        text = initial_text(spec, inputs.rows, lambda text: len(model.tokens.token_ids(text)), PATH)
        ids = vocabulary.initial_ids(text, f"{PATH}.initial_text")

    def words(generator: torch.Generator) -> Tensor:
        drawn = vocabulary.random_ids(generator, spec.n_tokens)
        drawn[: len(ids)] = torch.tensor(ids, dtype=drawn.dtype)
        return drawn

    prefix = Prefix(spec, model, words)
    if folder is None:
        return build_adapter(spec, inputs, model, prefix)
    folder.require_model(model.digest)
    start = prefix.start_from(folder, inputs.rows.labels)
    return build_adapter(spec, inputs, model, prefix, start)


def reopen(files: TunedFiles, inputs: BuildInputs) -> Tuned:
    """Loads the model, to predict; see `reopen_adapter`."""
    spec = files.spec(PrefixTuning)

    def prefix(model: AdaptedModel) -> Prefix:
        return Prefix(spec, model, lambda generator: torch.zeros(spec.n_tokens, dtype=torch.long))

    return reopen_adapter(files, inputs, spec, prefix)
