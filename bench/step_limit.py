"""How near a step of `prompt_tuning` comes to what the machine's matrix products allow.

The embedded encoder, 32 rows of 25 tokens, a prompt of 8. The limit is the time of the step's own
matrix products alone: each is repeated with the operands that it had in the step, shapes, strides
and number format. The share is that time over the time of the step; the rest are attention, norms,
activation functions and the interpreter. Seconds of the CPU, one thread.

    python -m bench.step_limit [--blocks 10] [--rows 32] [--tokens 25]
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from bench.measures import cpu_seconds
from bench.paired import abba, environment
from bench.prompt_steps import Shape, step
from mentorgrad.domain.objective import DEFAULT_ENCODER
from mentorgrad.model_refs import resolve
from trainer_service.encoding.encoders import TextEncoder

DTYPES = ("float32", "bfloat16")

_OPERANDS = {
    torch.ops.aten.mm.default: (0, 1),
    torch.ops.aten.bmm.default: (0, 1),
    torch.ops.aten.addmm.default: (1, 2),
    torch.ops.aten.baddbmm.default: (1, 2),
}
"""Matrix products, with the positions of the factors."""


class Products(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records the matrix products of a block."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[tuple[Any, tuple[Any, ...]]] = []
        self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _OPERANDS:
            first, second = (args[index] for index in _OPERANDS[func])
            self.calls.append((func, tuple(_apart(each) for each in args)))
            self.flops += 2 * first.numel() * second.shape[-1]
        return func(*args, **(kwargs or {}))

    def repeat(self) -> None:
        """Computes all products again."""
        for func, args in self.calls:
            func(*args)


def _apart(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value


def compared(encoder: TextEncoder, shape: Shape, blocks: int) -> dict[str, Any]:
    """The share of the limit, and floating-point operations per second of both."""
    one = step(encoder, shape)
    one()
    products = Products()
    with products:
        one()

    def rate(work: Callable[[], object]) -> Callable[[], float]:
        return lambda: products.flops / cpu_seconds(work) / 1e9

    found = abba(rate(one), rate(products.repeat), blocks)
    return {
        "share": round(found.ratio, 3),
        "quartiles": [round(found.low, 3), round(found.high, 3)],
        "gigaflops": round(found.a, 1),
        "gigaflops_of_the_products": round(found.b, 1),
        "products": len(products.calls),
        "flops": products.flops,
    }


def main() -> None:
    """Runs the benchmark and prints the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--rows", type=int, default=Shape.rows)
    parser.add_argument("--tokens", type=int, default=Shape.text_tokens)
    given = parser.parse_args()
    torch.set_num_threads(1)
    shape, folder = Shape(given.rows, given.tokens), resolve(DEFAULT_ENCODER)
    found = {
        dtype: compared(TextEncoder(folder, torch.device("cpu"), dtype=dtype), shape, given.blocks)
        for dtype in DTYPES
    }
    print(
        json.dumps(
            {
                **{f"share_{dtype}": found[dtype]["share"] for dtype in DTYPES},
                **found,
                "shape": vars(shape),
                "load": [round(each, 1) for each in os.getloadavg()],
                "environment": environment("torch", "transformers"),
            }
        )
    )


if __name__ == "__main__":
    main()
