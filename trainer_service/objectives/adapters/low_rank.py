"""Low-rank adapters of linear layers: several of them in one forward pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from trainer_service.encoding.linear_layers import is_transposed, linear_shape
from trainer_service.encoding.recomputing import held
from trainer_service.objectives.adapters.adapter import Adapter, Pass
from trainer_service.objectives.adapters.targets import require_rank, target_names
from trainer_service.objectives.peft_files import hub_name

A, B = "lora_A", "lora_B"
"""Names of the two factors, as in PEFT."""


def targeted_layers(
    layers: Mapping[str, nn.Module], wanted: Sequence[str], path: str
) -> dict[str, nn.Module]:
    """Those of a model's linear layers that a spec names.

    Raises:
        InvalidInput: One of them does not exist (reason NO_SUCH_MODULE).
    """
    return {name: layers[name] for name in target_names(layers, wanted, path)}


class LowRank(Adapter):
    """Low-rank adapters of linear layers.

    Args:
        layers: The adapted layers by name.
        ranks: Rank of each.
        factor: Factor of the products B A.
        reference: Reference of the model; PEFT's files name an ``hf:`` one.
        rank_field: Path of the spec's field with the rank.

    Raises:
        InvalidInput: A rank is beyond that of its layer.
    """

    peft_lead = "base_model.model."

    def __init__(
        self,
        layers: Mapping[str, nn.Module],
        ranks: Mapping[str, int],
        factor: float,
        reference: str,
        rank_field: str,
    ) -> None:
        sizes = {name: linear_shape(layers[name]) for name in ranks}  # [out, in]
        for name, rank in ranks.items():
            require_rank(rank, {name: sizes[name]}, rank_field)
        self._layers, self._reference = layers, reference
        self.ranks, self.factor = ranks, factor
        self.shapes: Mapping[str, tuple[int, ...]] = {
            f"{name}.{factor}": shape
            for name, rank in ranks.items()
            for factor, shape in (
                (A, (rank, sizes[name][1])),
                (B, (sizes[name][0], rank)),
            )
        }
        numbers = sum(rank * sizes[name][1] for name, rank in ranks.items())
        self.unit = (sum(ranks.values()) / 3.0 / numbers) ** 0.5  # of A, as `draw` draws it

    def hidden(self, parts: Mapping[str, Tensor], rows: int, run: Pass) -> Tensor:
        """See `Adapter`."""
        with held(lambda: adapted(self._layers, parts, self.factor)):
            return run(None)

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
            fan_in_fan_out=any(is_transposed(layer) for layer in self._layers.values()),
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
    layers: Mapping[str, nn.Module], parts: Mapping[str, Tensor], factor: float
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
def _hooked(layer: nn.Module, down: Tensor, up: Tensor, factor: float) -> Iterator[None]:
    def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        rows = inputs[0].reshape(len(down), -1, inputs[0].shape[-1]).to(down.dtype)
        moved = torch.bmm(torch.bmm(rows, down.mT), up.mT)
        return output + (factor * moved.view_as(output)).to(output.dtype)

    handle = layer.register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()
