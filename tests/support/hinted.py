"""An objective with hints whose gradient costs nothing, and a mentor that wants them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from mentorgrad.domain.advice import (
    Answer,
    AnswerStatus,
    PositionHints,
    Proposal,
    ProposalRequest,
    TokenHint,
    Wants,
)
from tests.support.numerics import function
from trainer_service.objectives.number_language import NumberLanguage
from trainer_service.protocols import Objective, Scored


class HintedNumbers(NumberLanguage):
    """Points with a hint along each coordinate: the direction that the gradient speaks for."""

    has_hints = True

    def __init__(self, dimensions: int) -> None:
        super().__init__(dimensions, -5.12, 5.12, torch.device("cpu"))
        self.hinted_at: list[torch.Tensor] = []

    def hints(
        self, parameters: torch.Tensor, gradient: torch.Tensor, count: int
    ) -> tuple[PositionHints, ...]:
        self.hinted_at.append(parameters.clone())
        return tuple(
            PositionHints(i, f"{here:.4f}", (TokenHint("up", slope), TokenHint("down", -slope)))
            for i, (here, slope) in enumerate(
                zip(parameters.tolist(), gradient.tolist(), strict=True)
            )
        )


def hinted_points(dimensions: int = 2) -> tuple[Objective, HintedNumbers]:
    """Rastrigin's function with hints, and its language."""
    language = HintedNumbers(dimensions)
    return replace(function("rastrigin", dimensions), language=language), language


class HintReader:
    """Proposes the point that its hints say is downhill: what it answers depends on them."""

    def __init__(self, wants: bool = True) -> None:
        self.wants = Wants(hints=wants)
        self.requests: list[ProposalRequest] = []

    def wait_open(self, timeout: float) -> bool:
        return True

    def observe(self, batch: object) -> None: ...

    def report(self, outcomes: object) -> None: ...

    def cancel(self) -> None: ...

    def close(self) -> None: ...

    def propose(
        self, request: ProposalRequest, incumbent: Scored, pool: Sequence[Scored]
    ) -> Answer:
        self.requests.append(request)
        slopes = [hint.tokens[0].score for hint in request.hints] or [0.0, 0.0]
        proposals = tuple(
            Proposal("", values=tuple(max(-5.0, min(5.0, -0.01 * n * slope)) for slope in slopes))
            for n in (1, 2, 3)
        )
        return Answer(request.request_id, AnswerStatus.USABLE, proposals)
