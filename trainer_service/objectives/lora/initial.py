"""A LoRA adapter of PEFT's as the start of a run."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from trainer_service.objectives.adapters.adapter import Start, put_head
from trainer_service.objectives.adapters.low_rank import A, B, LowRank
from trainer_service.objectives.peft_folder import PeftFolder

_UNSUPPORTED = ("use_dora", "fan_in_fan_out", "layer_replication")
"""What changes the meaning of the factors, or needs more than them."""

_HEADS = {"classifier", "score"}
"""Names of heads in transformers, which PEFT saves besides."""


def require_plain(folder: PeftFolder) -> None:
    """Checks that the adapter is nothing but factors.

    Raises:
        InvalidInput: It is more.
    """
    used = [name for name in _UNSUPPORTED if folder.config.get(name)]
    if set(folder.config.get("modules_to_save") or ()) - _HEADS:
        used.append("modules_to_save")
    if folder.config.get("bias", "none") != "none":
        used.append("bias")
    if used:
        raise folder.refusal(f"uses {', '.join(used)}, which lora does not have")


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
        InvalidInput: It adapts other layers, or has a higher rank.
    """
    require_plain(folder)
    factors = {
        name.removesuffix(".weight"): tensor
        for name, tensor in folder.tensors().items()
        if ".lora_" in name
    }
    found: dict[str, tuple[Tensor, Tensor]] = {}
    for module in sorted({name.rpartition(".")[0] for name in factors}):
        layer = next((name for name in adapter.ranks if f".{module}".endswith(f".{name}")), None)
        if layer is None:
            raise folder.refusal(f"adapts {module}, which target_modules does not name")
        down, up = factors[f"{module}.{A}"], factors[f"{module}.{B}"]
        if len(down) > adapter.ranks[layer]:
            what = f"has the rank {len(down)} in {module}; the run's is {adapter.ranks[layer]}"
            raise folder.refusal(what, "RANK_TOO_HIGH")
        scale = _factor(folder.config, module, len(down)) / adapter.factor
        found[layer] = down, up * scale
    if not found:
        raise folder.refusal("holds no factors of linear layers")
    head = folder.head(labels)

    def start(parts: Mapping[str, Tensor]) -> None:
        for layer, (down, up) in found.items():
            ours = parts[f"{layer}.{A}"], parts[f"{layer}.{B}"]
            if down.shape[1:] != ours[0].shape[1:] or up.shape[:1] != ours[1].shape[:1]:
                raise folder.refusal(f"does not fit {layer}: it is of another model")
            ours[0][: len(down)] = down
            ours[1][:, : len(down)] = up
        put_head(parts, head, head_scale)

    return start


def _factor(config: Mapping[str, Any], module: str, rank: int) -> float:
    """PEFT's factor of a module's product."""
    patterns: Mapping[str, float] = config.get("alpha_pattern") or {}
    own = (alpha for end, alpha in patterns.items() if re.match(rf"(.*\.)?({end})$", module))
    alpha = float(next(own, config.get("lora_alpha", rank)))
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
