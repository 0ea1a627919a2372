"""Classic numeric test functions for optimisers.

The parameter is the point itself. There is no data, and a projection is the point written as
numbers. Restarts matter here: three of the four functions have many local minima.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from mentorgrad.domain.advice import TaskCard
from mentorgrad.domain.objective import Function
from mentorgrad.errors import InvalidInput
from trainer_service import tensorfile
from trainer_service.costs import RowCosts
from trainer_service.objectives.build import BuildInputs
from trainer_service.objectives.function import FUNCTION_BOUNDS
from trainer_service.objectives.number_language import NumberLanguage, format_point
from trainer_service.objectives.problem import Problem
from trainer_service.objectives.results import RowResults
from trainer_service.objectives.torch_free import ARTIFACT
from trainer_service.protocols import Objective
from trainer_service.tasks.data import Split


def rastrigin(x: Tensor) -> Tensor:
    """Rastrigin function, [..., n] to [...]. f = 10 n + Σ (x² − 10 cos 2πx); minimum 0 at 0.

    Source: L. A. Rastrigin, "Systems of Extremal Control", Nauka, 1974.
    """
    return 10.0 * x.shape[-1] + (x * x - 10.0 * torch.cos(2.0 * math.pi * x)).sum(-1)


def ackley(x: Tensor) -> Tensor:
    """Ackley function, [..., n] to [...]. Minimum 0 at the origin.

    f = −20 exp(−0.2 √(Σx²/n)) − exp(Σ cos(2πx)/n) + 20 + e.

    Source: D. H. Ackley, "A Connectionist Machine for Genetic Hillclimbing", Kluwer, 1987.
    """
    # The gradient of the square root is infinite at 0; the clamp keeps it finite.
    radius = torch.sqrt((x * x).mean(-1).clamp_min(torch.finfo(x.dtype).tiny))
    ripple = torch.cos(2.0 * math.pi * x).mean(-1)
    return -20.0 * torch.exp(-0.2 * radius) - torch.exp(ripple) + 20.0 + math.e


def rosenbrock(x: Tensor) -> Tensor:
    """Rosenbrock function, [..., n ≥ 2] to [...]. Minimum 0 at (1, ..., 1).

    f = Σ 100 (xᵢ₊₁ − xᵢ²)² + (1 − xᵢ)².

    Source: H. H. Rosenbrock, "An automatic method for finding the greatest or least value of a
    function", The Computer Journal 3(3), 1960.
    """
    head, tail = x[..., :-1], x[..., 1:]
    return (100.0 * (tail - head * head) ** 2 + (1.0 - head) ** 2).sum(-1)


def levy(x: Tensor) -> Tensor:
    """Levy function, [..., n] to [...]. Minimum 0 at (1, ..., 1).

    With w = 1 + (x − 1)/4: f = sin²πw₁ + Σ (w−1)² (1 + 10 sin²(πw+1)) + (wₙ−1)² (1 + sin² 2πwₙ).

    Source: A. V. Levy and A. Montalvo, "The tunneling algorithm for the global minimization of
    functions", SIAM J. Sci. Stat. Comput. 6(1), 1985; in the form of Laguna and Martí, 2002.
    """
    w = 1.0 + (x - 1.0) / 4.0
    head, last = w[..., :-1], w[..., -1]
    middle = ((head - 1.0) ** 2 * (1.0 + 10.0 * torch.sin(math.pi * head + 1.0) ** 2)).sum(-1)
    tail = (last - 1.0) ** 2 * (1.0 + torch.sin(2.0 * math.pi * last) ** 2)
    return torch.sin(math.pi * w[..., 0]) ** 2 + middle + tail


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "rastrigin": rastrigin,
    "ackley": ackley,
    "rosenbrock": rosenbrock,
    "levy": levy,
}
"""Maps a name to a function of points [..., n]."""


class FunctionProblem(Problem):
    """Values of one of `FUNCTIONS`. A run evaluates it for every split alike, on one imaginary row.

    Args:
        function: Maps points [..., n] to values [...].
        dimensions: Number of variables.
        device: Device of the points.
        costs: Forward rows of a pass: an evaluation counts 1.
    """

    def __init__(
        self,
        function: Callable[[Tensor], Tensor],
        dimensions: int,
        device: torch.device,
        costs: RowCosts,
    ) -> None:
        self._function = function
        self.shape = (dimensions,)
        self.device = device
        self.costs = costs

    def losses(self, points: Tensor, rows: Tensor) -> Tensor:
        """Values of the function at the points; ignores `rows`."""
        return self._function(points)

    @torch.no_grad()
    def results(self, points: Tensor, split: Split, rows: Tensor | None = None) -> RowResults:
        """Values at the points, as losses [k, 1]."""
        return RowResults(self._function(points).unsqueeze(1))


def build(spec: Function, inputs: BuildInputs) -> Objective:
    """Builds the objective.

    Raises:
        InvalidInput: The function's name is unknown.
    """
    if spec.name not in FUNCTIONS:
        raise InvalidInput.field(
            "spec.objective.function.name", f"must be one of: {', '.join(FUNCTIONS)}"
        )

    def export(point: Tensor) -> dict[str, bytes]:
        """The point as safetensors; the metadata name the function."""
        point = point.detach().cpu()
        metadata = {
            "objective": "function",
            "function": spec.name,
            "text": format_point(point.tolist()),
        }
        return {ARTIFACT: tensorfile.save({"point": point}, metadata)}

    card = TaskCard(
        objective="function",
        description=(
            f"find the point of least value of the {spec.name} function "
            f"of {spec.dimensions} variables"
        ),
    )
    return Objective(
        FunctionProblem(FUNCTIONS[spec.name], spec.dimensions, inputs.device, inputs.costs),
        NumberLanguage(spec.dimensions, *FUNCTION_BOUNDS[spec.name], inputs.device),
        export,
        card,
    )
