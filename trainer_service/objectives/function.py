"""The objective ``function``: classic numeric test functions for optimisers.

The parameter is the point itself. There is no data, and a projection is the point written as
numbers. Restarts matter here: three of the four functions have many local minima.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from mentorgrad.domain.advice import (
    Constraints,
    PositionHints,
    Proposal,
    ProposalKind,
    ProposalStatus,
    TaskCard,
)
from mentorgrad.domain.run import Score
from mentorgrad.domain.spec import Function
from mentorgrad.errors import InvalidInput
from trainer_service import tensorfile
from trainer_service.objectives.gradients import gradients_of
from trainer_service.objectives.torch_free import ARTIFACT, FUNCTION_BOUNDS
from trainer_service.protocols import Baseline, Embedded, Projected, ProposalRejected
from trainer_service.tasks.data import Row

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_NUMBERS = re.compile(rf"[\[(]?\s*({_NUMBER}(?:(?:\s*,\s*|\s*;\s*|\s+){_NUMBER})*)\s*[\])]?")


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


def format_point(values: Sequence[float], number: str = "%.4g") -> str:
    """Formats numbers separated by spaces; the inverse of `parse_point`."""
    return " ".join(number % value for value in values)


def parse_point(text: str) -> tuple[float, ...] | None:
    """Parses numbers separated by spaces, commas or semicolons, optionally in brackets.

    Returns:
        None for any other text.
    """
    match = _NUMBERS.fullmatch(text.strip())
    if match is None:
        return None
    return tuple(float(number) for number in re.findall(_NUMBER, match.group(1)))


class FunctionObjective:
    """An `Objective` over one of `FUNCTIONS`.

    Args:
        spec: Name and number of variables.
        device: Device of the points.

    Raises:
        InvalidInput: The function's name is unknown.
    """

    has_words = False
    has_hints = False
    rows: tuple[Row, ...] = ()
    train_rows = 1
    digest = ""

    def __init__(self, spec: Function, device: torch.device) -> None:
        if spec.name not in FUNCTIONS:
            raise InvalidInput.field(
                "spec.objective.function.name", f"must be one of: {', '.join(FUNCTIONS)}"
            )
        self._spec = spec
        self._function = FUNCTIONS[spec.name]
        self._lower, self._upper = FUNCTION_BOUNDS[spec.name]
        self.device = device
        self.shape: tuple[int, ...] = (spec.dimensions,)
        self.card = TaskCard(
            objective="function",
            description=(
                f"find the point of least value of the {spec.name} function "
                f"of {spec.dimensions} variables"
            ),
        )
        self.constraints = Constraints(
            kind=ProposalKind.NUMBERS,
            dimensions=spec.dimensions,
            lower=self._lower,
            upper=self._upper,
        )

    def initial(self, generator: torch.Generator) -> Tensor:
        """Samples a point uniformly within the bounds, float32 [dimensions]."""
        point = torch.rand(self.shape, generator=generator)
        return (self._lower + (self._upper - self._lower) * point).to(self.device)

    def gradients(self, parameters: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Values and gradients of the function at the points; ignores `rows`."""
        return gradients_of(self._function, parameters, len(parameters))

    @torch.no_grad()
    def score(self, parameters: Tensor) -> list[Score]:
        """Function values of points [k, dimensions], as k scores."""
        losses = self._function(parameters).tolist()
        return [Score(loss=loss, accuracy=None, rows=1) for loss in losses]

    def test(self, parameters: Tensor) -> Score | None:
        """Returns None: a function has no test split."""
        return None

    def baseline(self) -> Baseline:
        """Returns an empty baseline: a function has none."""
        return Baseline(zero_shot=None, majority_accuracy=None)

    def project(self, parameters: Tensor) -> list[Projected]:
        """Formats points [k, dimensions] with four significant digits."""
        projected = []
        for point in parameters.detach().cpu().tolist():
            text = format_point(point)
            written = [float(number) for number in text.split()]
            projected.append(Projected(text=text, ids=(), distance=math.dist(point, written)))
        return projected

    def toward(self, start: Tensor, parameters: Tensor) -> list[str]:
        """Formats the displacements of [k, dimensions] from `start` as signed numbers."""
        moves = (parameters.detach() - start.detach()).cpu().tolist()
        return [format_point(move, "%+.4g") for move in moves]

    def embed_ids(self, ids: Sequence[int], incumbent: Tensor) -> Tensor:
        """Returns a copy of the incumbent: a function has no tokens.

        Raises:
            ProposalRejected: `ids` is not empty.
        """
        if ids:
            raise ProposalRejected(ProposalStatus.MALFORMED, "a function has no tokens")
        return incumbent.detach().clone()

    def embed(self, proposal: Proposal, incumbent: Tensor) -> Embedded:
        """Reads a point from raw parameters, from `values`, or from numbers in the text.

        Raises:
            ProposalRejected: The proposal is empty, malformed or out of bounds.
        """
        point = torch.tensor(self._values(proposal), dtype=torch.float32, device=self.device)
        return Embedded(parameters=point, filled=tuple(range(self._spec.dimensions)))

    def _values(self, proposal: Proposal) -> tuple[float, ...]:
        values: tuple[float, ...] | None
        if proposal.parameters is not None:
            values = tuple(float(value) for value in proposal.parameters.reshape(-1))
        elif proposal.values:
            values = proposal.values
        elif proposal.text.strip():
            values = parse_point(proposal.text)
        else:
            raise ProposalRejected(ProposalStatus.EMPTY, "it contains no numbers")
        if values is None:
            raise ProposalRejected(ProposalStatus.MALFORMED, "the text is not a list of numbers")
        if len(values) != self._spec.dimensions:
            detail = f"got {len(values)} numbers, expected {self._spec.dimensions}"
            raise ProposalRejected(ProposalStatus.MALFORMED, detail)
        for value in values:
            # Rounding to four significant digits can move a point slightly over the bound.
            if not self._lower * 1.0001 <= value <= self._upper * 1.0001:
                detail = f"{value:g} is not between {self._lower:g} and {self._upper:g}"
                raise ProposalRejected(ProposalStatus.OUT_OF_BOUNDS, detail)
        return values

    def random_proposal(self, generator: torch.Generator) -> Proposal:
        """Samples a point uniformly within the bounds."""
        return Proposal(values=tuple(self.initial(generator).tolist()))

    def random_parameters(self, generator: torch.Generator, incumbent: Tensor) -> Tensor:
        """Samples a point uniformly within the bounds, as `initial` does."""
        return self.initial(generator)

    def hints(self, parameters: Tensor, rows: Tensor, count: int) -> tuple[PositionHints, ...]:
        """Returns no hints: there are no tokens."""
        return ()

    def row_losses(self, parameters: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Returns tensors [k, 0]: there are no rows."""
        nothing = parameters.new_empty(len(parameters), 0)
        return nothing, nothing.long()

    def meanings(self, texts: Sequence[str], parameters: Tensor) -> Tensor:
        """Unit vectors of the points, scaled to [−1, 1] and with a 1 appended.

        The appended 1 keeps distinct points distinct after normalisation.
        """
        scaled = 2.0 * (parameters.detach() - self._lower) / (self._upper - self._lower) - 1.0
        return functional.normalize(functional.pad(scaled, (0, 1), value=1.0), dim=-1)

    def artifacts(self, parameters: Tensor) -> dict[str, bytes]:
        """The point as safetensors; the metadata name the function."""
        point = parameters.detach().cpu()
        metadata = {
            "objective": "function",
            "function": self._spec.name,
            "text": format_point(point.tolist()),
        }
        return {ARTIFACT: tensorfile.save({"point": point}, metadata)}
