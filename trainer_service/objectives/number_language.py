"""The language of objectives whose parameter is a point: parameters as numbers, and back."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from mentorgrad.domain.advice import (
    Constraints,
    PositionHints,
    Proposal,
    ProposalKind,
    ProposalStatus,
)
from trainer_service.protocols import Embedded, Projected, ProposalRejected, RandomWords

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_NUMBERS = re.compile(rf"[\[(]?\s*({_NUMBER}(?:(?:\s*,\s*|\s*;\s*|\s+){_NUMBER})*)\s*[\])]?")


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


class NumberLanguage:
    """Points within bounds, written as numbers; see `trainer_service.protocols.Language`.

    Args:
        dimensions: Numbers of a point.
        lower: Lower bound of each number.
        upper: Upper bound of each number.
        device: Device of the points.
    """

    has_words = False
    has_hints = False
    can_blend = True
    sections: tuple[int, ...] = ()
    word_lead = ""

    def __init__(self, dimensions: int, lower: float, upper: float, device: torch.device) -> None:
        self._dimensions = dimensions
        self._lower, self._upper = lower, upper
        self._device = device
        self.constraints = Constraints(
            kind=ProposalKind.NUMBERS, dimensions=dimensions, lower=lower, upper=upper
        )

    def initial(self, generator: torch.Generator) -> Tensor:
        """Samples a point uniformly within the bounds, float32 [dimensions]."""
        point = torch.rand(self._dimensions, generator=generator)
        return (self._lower + (self._upper - self._lower) * point).to(self._device)

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
        """Returns a copy of the incumbent: there are no tokens.

        Raises:
            ProposalRejected: `ids` is not empty.
        """
        if ids:
            raise ProposalRejected(ProposalStatus.MALFORMED, "numbers have no tokens")
        return incumbent.detach().clone()

    def embed(self, proposal: Proposal, incumbent: Tensor) -> Embedded:
        """Reads a point from raw parameters, from `values`, or from numbers in the text.

        Raises:
            ProposalRejected: The proposal is empty, malformed or out of bounds.
        """
        point = torch.tensor(self._values(proposal), dtype=torch.float32, device=self._device)
        return Embedded(parameters=point, filled=tuple(range(self._dimensions)))

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
        if len(values) != self._dimensions:
            detail = f"got {len(values)} numbers, expected {self._dimensions}"
            raise ProposalRejected(ProposalStatus.MALFORMED, detail)
        for value in values:
            # Rounding to four significant digits can move a point slightly over the bound.
            if not self._lower * 1.0001 <= value <= self._upper * 1.0001:
                detail = f"{value:g} is not between {self._lower:g} and {self._upper:g}"
                raise ProposalRejected(ProposalStatus.OUT_OF_BOUNDS, detail)
        return values

    def random_proposal(
        self, generator: torch.Generator, words: RandomWords | None = None
    ) -> Proposal:
        """Samples a point uniformly within the bounds, whatever `words` says."""
        return Proposal(values=tuple(self.initial(generator).tolist()))

    def random_parameters(self, generator: torch.Generator, incumbent: Tensor) -> Tensor:
        """Samples a point uniformly within the bounds, as `initial` does."""
        return self.initial(generator)

    def perturbed(self, point: Tensor, scale: float, generator: torch.Generator) -> Tensor:
        """Adds noise relative to the standard deviation of a uniform draw from the range,
        width / sqrt(12), and clips to the range."""
        noise = torch.randn(point.shape, generator=generator)
        spread = (self._upper - self._lower) / 12**0.5
        return (point + scale * spread * noise).clamp(self._lower, self._upper)

    def hints(self, parameters: Tensor, gradient: Tensor, count: int) -> tuple[PositionHints, ...]:
        """Returns no hints: there are no tokens."""
        return ()

    def meanings(self, texts: Sequence[str], parameters: Tensor) -> Tensor:
        """Unit vectors of the points, scaled to [−1, 1] and with a 1 appended.

        The appended 1 keeps distinct points distinct after normalisation.
        """
        scaled = 2.0 * (parameters.detach() - self._lower) / (self._upper - self._lower) - 1.0
        return functional.normalize(functional.pad(scaled, (0, 1), value=1.0), dim=-1)
