"""Whether to restart, and from what: pure decisions over scored candidates and a probe."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mentorgrad.model.event import Branch
from mentorgrad.model.run import Score
from mentorgrad.model.spec import Acceptance, Policy
from trainer_service.protocols import Scored
from trainer_service.running.budget import RacePlan


@dataclass(frozen=True, eq=False)
class Probed:
    """A point of a branch of a race that was scored."""

    parameters: Tensor
    """float32 [*shape]."""
    moments: dict[str, Tensor]
    """The optimizer's."""
    score: Score
    """On the selection split."""


Probe = Callable[[Sequence[Scored], RacePlan], list[Probed]]
"""The starts, the incumbent first, and the race → the lowest point of each branch."""


@dataclass(frozen=True)
class Decision:
    """What goes on."""

    chosen: Scored
    """The incumbent or a proposal."""
    restarted: bool
    """Whether it is a proposal."""
    branches: tuple[Branch, ...]
    """What was compared, the incumbent first."""
    reason: str
    """Why, in one line."""
    probed: Probed | None = None
    """Where the chosen branch's probe steps led, in a race."""


def decide(
    rule: Acceptance,
    incumbent: Scored,
    incumbent_words: Scored | None,
    proposals: Sequence[Scored],
    plan: RacePlan,
    probe: Probe,
    generator: torch.Generator,
) -> Decision:
    """Applies the rule.

    Args:
        rule: The spec's.
        incumbent: The stage's last snapshot.
        incumbent_words: The same in words, where that is another parameter.
        proposals: Scored and without duplicates.
        plan: How large a race may be.
        probe: Takes gradient steps on copies.
        generator: For ``explore``.
    """
    ranked = sorted(proposals, key=_loss)  # stable: of equals, the earlier proposal
    if not ranked:
        return _stay(incumbent, "no proposal could be scored")
    if rule.policy is Policy.RACE:
        return _race(incumbent, ranked, plan, probe)
    if rule.policy is Policy.ALWAYS:
        return _go(incumbent, ranked, ranked[0], "the best proposal is always taken")
    if rule.policy is Policy.EXPLORE:
        return _explore(incumbent, ranked, rule.temperature, generator)
    return _best_of(incumbent, incumbent_words or incumbent, ranked)


def take(incumbent: Scored, proposal: Scored) -> Decision:
    """The restart from a proposal that was not scored: there is nothing to compare."""
    reason = "the first proposal is taken, unscored"
    return Decision(proposal, True, _branches(incumbent), reason)


def _loss(scored: Scored) -> float:
    return scored.candidate.score.loss


def _finite(loss: float) -> float:
    return loss if math.isfinite(loss) else math.inf


def _branches(*starts: Scored) -> tuple[Branch, ...]:
    return tuple(Branch(s.candidate.candidate_id, _loss(s)) for s in starts)


def _stay(incumbent: Scored, reason: str, *others: Scored) -> Decision:
    return Decision(incumbent, False, _branches(incumbent, *others), reason)


def _go(incumbent: Scored, ranked: Sequence[Scored], chosen: Scored, reason: str) -> Decision:
    return Decision(chosen, True, _branches(incumbent, *ranked), reason)


def _explore(
    incumbent: Scored, ranked: Sequence[Scored], temperature: float, generator: torch.Generator
) -> Decision:
    losses = torch.tensor([_loss(s) for s in ranked], dtype=torch.float64)
    weights = torch.softmax(-losses / temperature, dim=0)
    index = int(torch.multinomial(weights, 1, generator=generator))
    reason = f"drawn with probability {weights[index]:.3f}"
    return _go(incumbent, ranked, ranked[index], reason)


def _best_of(incumbent: Scored, rival: Scored, ranked: Sequence[Scored]) -> Decision:
    best = ranked[0]
    facts = f"{_loss(best):.4f} against {_loss(rival):.4f} of {rival.candidate.candidate_id}"
    if _loss(best) < _loss(rival):
        return _go(incumbent, ranked, best, f"the best proposal has {facts}")
    return _stay(incumbent, f"the best proposal has only {facts}", *ranked)


def _lowest(starts: Sequence[Scored], why: str) -> Decision:
    """A race without steps: of the incumbent, which is first, and the best proposals, the one of
    the lowest loss as it stands."""
    chosen = min(starts, key=_loss)
    reason = f"{why}: lowest selection loss as they stand, {_loss(chosen):.4f}"
    return Decision(chosen, chosen is not starts[0], _branches(*starts), reason)


def lowest(points: Sequence[Probed]) -> Probed:
    """The point of lowest selection loss; of equals the first, and a diverged one last."""
    return min(points, key=lambda point: _finite(point.score.loss))


def _race(incumbent: Scored, ranked: Sequence[Scored], plan: RacePlan, probe: Probe) -> Decision:
    if plan.branches < 2:
        return _stay(incumbent, plan.reason)
    starts = [incumbent, *ranked[: plan.branches - 1]]
    if plan.steps == 0:
        return _lowest(starts, plan.reason or "without steps")
    ends = probe(starts, plan)
    winner = ends.index(lowest(ends))
    branches = tuple(
        Branch(s.candidate.candidate_id, _loss(s), e.score.loss)
        for s, e in zip(starts, ends, strict=True)
    )
    when = "after" if plan.scores == 1 else "within"
    reason = (
        f"lowest selection loss of {len(starts)} branches {when} {plan.steps} steps: "
        f"{ends[winner].score.loss:.4f}"
    )
    if plan.reason:
        reason = f"{reason} ({plan.reason})"
    return Decision(starts[winner], winner > 0, branches, reason, ends[winner])
