"""An objective with hints that costs nothing, and a mentor that wants them."""

from __future__ import annotations

from collections.abc import Sequence

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
from mentorgrad.domain.spec import Function
from trainer_service.objectives.function import FunctionObjective
from trainer_service.protocols import Scored


class HintedPoints(FunctionObjective):
    """A function whose gradient speaks for a direction along each coordinate."""

    has_hints = True

    def __init__(self, name: str = "rastrigin", dimensions: int = 2) -> None:
        super().__init__(Function(name, dimensions), torch.device("cpu"))
        self.hinted_at: list[torch.Tensor] = []

    def hints(
        self, parameters: torch.Tensor, rows: torch.Tensor, count: int
    ) -> tuple[PositionHints, ...]:
        self.hinted_at.append(parameters.clone())
        _, (gradient,) = self.gradients(parameters[None], rows)
        return tuple(
            PositionHints(i, f"{here:.4f}", (TokenHint("up", slope), TokenHint("down", -slope)))
            for i, (here, slope) in enumerate(
                zip(parameters.tolist(), gradient.tolist(), strict=True)
            )
        )


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
