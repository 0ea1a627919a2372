"""A LoRA adapter of PEFT's as the start of a run."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from trainer_service.objectives.adapters.adapter import Start, put_head
from trainer_service.objectives.adapters.low_rank import A, B, LowRank
from trainer_service.objectives.adapters.targets import TOO_HIGH
from trainer_service.objectives.peft_folder import PeftFolder
from trainer_service.objectives.peft_tensors import adapter_tensors, head_of


def start_from(
    folder: PeftFolder, adapter: LowRank, labels: Sequence[str], head_scale: float
) -> Start:
    """Puts a LoRA adapter into the tensors of a drawn parameter.

    What a higher rank has besides stays as it is drawn, with B = 0: the product is the same.

    Args:
        folder: PEFT's adapter.
        adapter: The run's.
        labels: Label words of the run's task.
        head_scale: Factor between the head's parameters and its weights.

    Raises:
        InvalidInput: It adapts other layers, has a higher rank, is of another model, or damaged.
    """
    try:
        found = _factors(folder, adapter)
    except (AttributeError, KeyError, TypeError, ValueError, re.error) as error:
        raise folder.refusal(f"is damaged: {error!r}") from None
    head = head_of(folder, labels)

    def start(parts: Mapping[str, Tensor]) -> None:
        for layer, (down, up) in found.items():
            parts[f"{layer}.{A}"][: len(down)] = down
            parts[f"{layer}.{B}"][:, : len(down)] = up
        put_head(parts, head, head_scale)

    return start


def _factors(folder: PeftFolder, adapter: LowRank) -> dict[str, tuple[Tensor, Tensor]]:
    """A and B of each layer, with the run's factor."""
    factors = {
        name.removesuffix(".weight"): tensor
        for name, tensor in adapter_tensors(folder).items()
        if ".lora_" in name
    }
    found: dict[str, tuple[Tensor, Tensor]] = {}
    for module in sorted({name.rpartition(".")[0] for name in factors}):
        layer = next((name for name in adapter.ranks if f".{module}".endswith(f".{name}")), None)
        if layer is None:
            raise folder.refusal(f"adapts {module}, which target_modules does not name")
        down, up = factors[f"{module}.{A}"], factors[f"{module}.{B}"]
        rank, ours = len(down), adapter.ranks[layer]
        if rank > ours:
            raise folder.refusal(f"has the rank {rank} in {module}; the run's is {ours}", TOO_HIGH)
        width, height = adapter.shapes[f"{layer}.{A}"][1], adapter.shapes[f"{layer}.{B}"][0]
        if down.shape != (rank, width) or up.shape != (height, rank):
            raise folder.refusal(f"does not fit {layer}: it is of another model")
        found[layer] = down, up * (_factor(folder.config, module, rank) / adapter.factor)
    if not found:
        raise folder.refusal("holds no factors of linear layers")
    return found


def _factor(config: Mapping[str, Any], module: str, rank: int) -> float:
    """PEFT's factor of a module's product."""
    patterns: Mapping[str, float] = config.get("alpha_pattern") or {}
    own = (alpha for end, alpha in patterns.items() if re.match(rf"(.*\.)?({end})$", module))
    alpha = float(next(own, config.get("lora_alpha", rank)))
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
