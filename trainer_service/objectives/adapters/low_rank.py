"""Low-rank adapters of linear layers: several of them in one forward pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from trainer_service.encoding.encoders import TextEncoder
from trainer_service.objectives.adapters.adapter import Adapter, token_inputs
from trainer_service.objectives.adapters.targets import require_rank, target_names
from trainer_service.objectives.peft_files import hub_name
from trainer_service.objectives.token_batches import TokenBatch

A, B = "lora_A", "lora_B"
"""Names of the two factors, as in PEFT."""


def targeted_layers(encoder: TextEncoder, wanted: Sequence[str], path: str) -> dict[str, nn.Linear]:
    """The linear layers of an encoder that a spec names.

    Raises:
        InvalidInput: One of them does not exist (reason NO_SUCH_MODULE).
    """
    layers = encoder.linear_layers
    return {name: layers[name] for name in target_names(layers, wanted, path)}


class LowRank(Adapter):
    """Low-rank adapters of linear layers.

    Args:
        encoder: The encoder.
        layers: The adapted layers by name.
        ranks: Rank of each.
        factor: Factor of the products B A.
        reference: Reference of the encoder; PEFT's files name an ``hf:`` one.
        rank_field: Path of the spec's field with the rank.

    Raises:
        InvalidInput: A rank is beyond that of its layer.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        layers: Mapping[str, nn.Linear],
        ranks: Mapping[str, int],
        factor: float,
        reference: str,
        rank_field: str,
    ) -> None:
        for name, rank in ranks.items():
            require_rank(rank, {name: layers[name].weight.shape}, rank_field)
        self._encoder, self._layers, self._reference = encoder, layers, reference
        self.ranks, self.factor = ranks, factor
        self.shapes: Mapping[str, tuple[int, ...]] = {
            f"{name}.{factor}": shape
            for name, rank in ranks.items()
            for factor, shape in (
                (A, (rank, layers[name].in_features)),
                (B, (layers[name].out_features, rank)),
            )
        }
        numbers = sum(rank * layers[name].in_features for name, rank in ranks.items())
        self.unit = (sum(ranks.values()) / 3.0 / numbers) ** 0.5  # of A, as `draw` draws it

    def hidden(self, parts: Mapping[str, Tensor], batch: TokenBatch) -> Tensor:
        """See `Adapter`."""
        count = len(next(iter(parts.values())))
        mask = batch.mask.repeat(count, 1)
        with adapted(self._layers, parts, self.factor):
            return self._encoder.hidden(mask, **token_inputs(batch, count))

    def draw(self, parts: Mapping[str, Tensor], generator: torch.Generator) -> None:
        """Draws A uniformly within 1 / sqrt(in), as PEFT does; B stays 0."""
        for name in self._layers:
            part = parts[f"{name}.{A}"]
            part.copy_(uniform(part.shape, generator))

    def peft_config(self, task_type: str) -> Any:
        """See `Adapter`; layers of different ranks keep one factor."""
        from peft import LoraConfig, TaskType

        base, revision = hub_name(self._reference)
        rank = max(self.ranks.values())
        others = {name: own for name, own in self.ranks.items() if own != rank}
        return LoraConfig(
            task_type=TaskType(task_type),
            r=rank,
            lora_alpha=self.factor * rank,  # PEFT divides it by r
            target_modules=list(self.ranks),
            rank_pattern=others,
            alpha_pattern={name: self.factor * own for name, own in others.items()},
            base_model_name_or_path=base,
            revision=revision,
            inference_mode=True,
        )

    def peft_tensors(self, parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Adapter`."""
        return {f"{name}.weight": parts[name] for name in self.shapes}


def uniform(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Random numbers within 1 / sqrt(last dimension)."""
    noise = 2.0 * torch.rand(*shape, generator=generator) - 1.0
    return noise * float(shape[-1] ** -0.5)


@contextmanager
def adapted(
    layers: Mapping[str, nn.Linear], parts: Mapping[str, Tensor], factor: float
) -> Iterator[None]:
    """Adds factor * B A x to the outputs of linear layers, within the context.

    Args:
        layers: The layers by name. The first dimension of their inputs is a multiple of k: the rows
            of the first adapter, then those of the next.
        parts: A [k, rank, in] and B [k, out, rank] of each layer, by name.
        factor: Factor of the product.
    """
    with ExitStack() as hooks:
        for name, layer in layers.items():
            down, up = parts[f"{name}.{A}"], parts[f"{name}.{B}"]
            hooks.enter_context(_hooked(layer, down, up, factor))
        yield


@contextmanager
def _hooked(layer: nn.Linear, down: Tensor, up: Tensor, factor: float) -> Iterator[None]:
    def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        rows = inputs[0].reshape(len(down), -1, inputs[0].shape[-1])
        moved = torch.bmm(torch.bmm(rows, down.mT), up.mT)
        return output + factor * moved.view_as(output)

    handle = layer.register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()
