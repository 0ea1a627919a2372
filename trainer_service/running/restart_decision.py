"""The restart decision at the end of a stage: scores the proposals, races them, and chooses the
point to continue from.

`decide` and its helpers implement the acceptance rules as pure functions over scored candidates and
a probe. `RestartDecider` scores and races for one run. Neither changes the live parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, lerp

from mentorgrad.domain.advice import AnswerStatus, ProposalOutcome, ProposalStatus
from mentorgrad.domain.event import Branch
from mentorgrad.domain.run import Score, criterion, preference
from mentorgrad.domain.spec import Acceptance, Criterion, Policy, RunSpec
from trainer_service.costs import Cost, Prices
from trainer_service.objectives.problem import Problem
from trainer_service.optimizers.oracle import branch_oracles
from trainer_service.optimizers.parts import take_step
from trainer_service.optimizers.schedule import learning_rate
from trainer_service.optimizers.table import optimizer_kind
from trainer_service.protocols import Objective, Optimizer, Scored
from trainer_service.running.budget import Ledger, RacePlan, schedule_position, takes_no_steps
from trainer_service.running.loop_state import LoopState
from trainer_service.running.proposed_settings import has_settings, settings_entrants
from trainer_service.running.scoring import ScoredAnswer, first_proposal, score_answer, spaced_steps
from trainer_service.running.screening import Screening
from trainer_service.running.stop_control import StopControl
from trainer_service.seeds import BatchOrder, generator
from trainer_service.tasks.data import Split
from trainer_service.training_settings import rate_factor


@dataclass(frozen=True, eq=False)
class Probed:
    """A scored point of a branch of a race."""

    parameters: Tensor
    """float32 [*shape]."""
    moments: dict[str, Tensor]
    """The optimizer's moments at this point."""
    score: Score
    """Score on the selection split."""


BranchProbe = Callable[[Sequence[Scored], RacePlan], list[Probed]]
"""(starting points, the incumbent first; size of the race) → the best point of each branch."""


@dataclass(frozen=True)
class Decision:
    """The candidate to continue from, and why."""

    chosen: Scored
    """The incumbent or a proposal."""
    restarted: bool
    """Whether `chosen` is a proposal."""
    branches: tuple[Branch, ...]
    """The compared candidates, the incumbent first."""
    reason: str
    """The reason, in one line."""
    probed: Probed | None = None
    """In a race, the best point of the chosen branch."""


def acceptance_at(spec: RunSpec, stage: int) -> Acceptance:
    """The rule of the restart at the end of a stage. After a first stage without steps, its policy
    is `acceptance.first`: nothing has been trained yet that proposals could be compared with."""
    rule = spec.acceptance
    untrained = stage == 0 and (takes_no_steps(spec) or spec.stages.length(0) == 0)
    return replace(rule, policy=rule.first) if untrained else rule


def decide(
    rule: Acceptance,
    by: Criterion,
    incumbent: Scored,
    incumbent_words: Scored | None,
    proposals: Sequence[Scored],
    plan: RacePlan,
    probe: BranchProbe,
    generator: torch.Generator,
) -> Decision:
    """Applies an acceptance rule.

    Args:
        rule: The rule in the spec.
        by: What ranks the candidates.
        incumbent: The stage's last snapshot.
        incumbent_words: Its projection, if that is a candidate of its own.
        proposals: Scored proposals without duplicates.
        plan: Size of a race.
        probe: Runs a race on copies of the parameters.
        generator: Random numbers for ``explore``.
    """
    # Stable: a tie goes to the earlier proposal.
    ranked = sorted(proposals, key=lambda s: preference(s.candidate.score, by))
    if not ranked:
        return _stay(incumbent, "no proposal could be scored")
    if rule.policy is Policy.RACE:
        return _race(by, incumbent, ranked, plan, probe)
    if rule.policy is Policy.ALWAYS:
        return _go(incumbent, ranked, ranked[0], "the best proposal is always taken")
    if rule.policy is Policy.EXPLORE:
        return _explore(by, incumbent, ranked, rule.temperature, generator)
    return _best_of(by, incumbent, incumbent_words or incumbent, ranked)


def accept_unscored(incumbent: Scored, proposal: Scored) -> Decision:
    """The restart from a proposal that was not scored, without a comparison."""
    reason = "the first proposal is taken, unscored"
    return Decision(proposal, True, _branches(incumbent), reason)


def _loss(scored: Scored) -> float:
    return scored.candidate.score.loss


def _branches(*starts: Scored) -> tuple[Branch, ...]:
    return tuple(Branch(s.candidate.candidate_id, _loss(s)) for s in starts)


def _stay(incumbent: Scored, reason: str, *others: Scored) -> Decision:
    return Decision(incumbent, False, _branches(incumbent, *others), reason)


def _go(incumbent: Scored, ranked: Sequence[Scored], chosen: Scored, reason: str) -> Decision:
    return Decision(chosen, True, _branches(incumbent, *ranked), reason)


def _explore(
    by: Criterion,
    incumbent: Scored,
    ranked: Sequence[Scored],
    temperature: float,
    generator: torch.Generator,
) -> Decision:
    values = [criterion(s.candidate.score, by) for s in ranked]
    losses = torch.tensor(values, dtype=torch.float64)
    weights = torch.softmax(-losses / temperature, dim=0)
    index = int(torch.multinomial(weights, 1, generator=generator))
    reason = f"drawn with probability {weights[index]:.3f}"
    return _go(incumbent, ranked, ranked[index], reason)


def _best_of(by: Criterion, incumbent: Scored, rival: Scored, ranked: Sequence[Scored]) -> Decision:
    best = ranked[0]
    scores = best.candidate.score, rival.candidate.score
    facts = f"{_figure(scores[0], by)}, {rival.candidate.candidate_id} {_figure(scores[1], by)}"
    better = f"{'lower' if by is Criterion.LOSS else 'higher'} selection {_name(by)}"
    if criterion(scores[0], by) < criterion(scores[1], by):
        return _go(incumbent, ranked, best, f"{better}: best proposal {facts}")
    return _stay(incumbent, f"no {better}: best proposal {facts}", *ranked)


def _lowest(by: Criterion, starts: Sequence[Scored], why: str) -> Decision:
    """A race without steps: chooses the best starting point. The incumbent is the first."""
    chosen = min(starts, key=lambda s: preference(s.candidate.score, by))
    figure = _figure(chosen.candidate.score, by)
    reason = f"{why}: {_best(by)} of the starting points, {figure}"
    return Decision(chosen, chosen is not starts[0], _branches(*starts), reason)


def _name(by: Criterion) -> str:
    return by.value.replace("_f1", " F1")


def _best(by: Criterion) -> str:
    return f"{'lowest' if by is Criterion.LOSS else 'highest'} selection {_name(by)}"


def _figure(score: Score, by: Criterion) -> str:
    value = criterion(score, by)
    return f"{value if by is Criterion.LOSS else -value:.4f}"


def lowest(by: Criterion, points: Sequence[Probed]) -> Probed:
    """The best point; the first in case of a tie; non-finite losses last."""
    return min(points, key=lambda point: preference(point.score, by))


def _race(
    by: Criterion,
    incumbent: Scored,
    ranked: Sequence[Scored],
    plan: RacePlan,
    probe: BranchProbe,
) -> Decision:
    if plan.branches < 2:
        return _stay(incumbent, plan.reason)
    starts = [incumbent, *ranked[: plan.branches - 1]]
    if plan.steps == 0:
        return _lowest(by, starts, plan.reason or "no probe steps")
    ends = probe(starts, plan)
    winner = ends.index(lowest(by, ends))
    branches = tuple(
        Branch(s.candidate.candidate_id, _loss(s), e.score.loss)
        for s, e in zip(starts, ends, strict=True)
    )
    when = "after" if plan.scores == 1 else "within"
    reason = (
        f"{_best(by)} of {len(starts)} branches {when} {plan.steps} steps: "
        f"{_figure(ends[winner].score, by)}"
    )
    if plan.reason:
        reason = f"{reason} ({plan.reason})"
    return Decision(starts[winner], winner > 0, branches, reason, ends[winner])


class RestartDecider:
    """Scores proposals, runs races and decides the restarts of one run.

    Args:
        spec: The run's spec.
        objective: Scores the proposals and takes the probe steps.
        make_optimizer: Creates a fresh optimizer; each branch of a race has its own.
        moments: Returns the moments of the live optimizer.
        control: Stop requests.
        prices: Costs of the run's actions.
    """

    def __init__(
        self,
        spec: RunSpec,
        objective: Objective,
        make_optimizer: Callable[[], Optimizer],
        moments: Callable[[], dict[str, Tensor]],
        control: StopControl,
        prices: Prices,
    ) -> None:
        self._spec = spec
        self._objective = objective
        self._make_optimizer = make_optimizer
        self._moments = moments
        self._control = control
        self._is_first_order = optimizer_kind(spec.optimizer).is_first_order
        self._passes = prices.passes
        self._screening = Screening(spec, objective.problem, prices)
        # A run that takes no steps takes none in races either.
        self._probe_steps = 0 if takes_no_steps(spec) else spec.acceptance.probe_steps

    def score(self, at: LoopState, ledger: Ledger) -> ScoredAnswer:
        """Scores the answer's proposals on their bases, as far as `ledger` allows, and charges the
        cost to it."""
        if at.answer is None or at.answer.status is not AnswerStatus.USABLE:
            return ScoredAnswer((), {})
        language, rule = self._objective.language, acceptance_at(self._spec, at.stage)
        if rule.policy is Policy.FIRST:
            return first_proposal(language, at.answer, at.incumbent, at.pool.get, at.stage)
        if has_settings(at.answer):
            return settings_entrants(language, at.answer, at.incumbent, at.pool.get, at.stage)
        race = Cost()
        if (
            rule.policy is Policy.RACE
            and self._probe_steps
            and ledger.allows(ledger.prices.step * 2)
        ):
            # The branches have to be scored too.
            scores = (rule.finalists + 1) * min(rule.probe_scores, self._probe_steps)
            race = ledger.prices.score * scores

        def affordable(count: int) -> bool:
            return ledger.allows(self._screening.cost(count) + (race if count > 1 else Cost()))

        scored = score_answer(
            language,
            self._screening,
            at.answer,
            at.incumbent,
            at.pool.get,
            at.stage,
            affordable,
        )
        ledger.charge(scored.cost)
        return scored

    def decide(self, at: LoopState, scored: ScoredAnswer, ledger: Ledger) -> Decision:
        """Applies the spec's rule; a race is charged to `ledger`.

        Raises:
            Stop: On request, in a race.
        """
        rule = acceptance_at(self._spec, at.stage)
        incumbent = at.incumbent
        if at.answer is not None and at.answer.status is not AnswerStatus.USABLE:
            return _stay(incumbent, f"no usable answer: {at.answer.status.value}")
        if scored.unscored is not None:
            return accept_unscored(incumbent, scored.unscored)
        finalists = min(rule.finalists, len(scored.entrants))
        return decide(
            rule,
            self._spec.criterion,
            incumbent,
            at.pool.get(f"{at.incumbent_id}/words"),
            scored.entrants,
            ledger.plan_race(finalists, self._probe_steps, rule.probe_scores),
            partial(self._race, at, ledger),
            generator(self._spec.seed, "explore", at.stage),
        )

    def _race(
        self, at: LoopState, ledger: Ledger, starts: Sequence[Scored], plan: RacePlan
    ) -> list[Probed]:
        """Runs a race and returns the best point of each branch, the incumbent's first. All
        branches advance together, with the same batches and learning rates."""
        rule, problem = self._spec.acceptance, self._objective.problem
        batches = batch_order(self._spec, problem, "probe", at.stage)
        done, total = schedule_position(self._spec, at.ledger, at.step)
        blended = [self.blend(at, start) for start in starts[1:]]
        parameters = torch.stack([starts[0].parameters, *blended])
        branches = parameters.unbind()
        optimizers = [self._make_optimizer() for _ in starts]
        settings = [start.candidate.settings for start in starts]
        # With other settings, steps go on from where they are.
        is_same_point = settings[0] is not None
        for optimizer in optimizers if rule.keep_moments or is_same_point else optimizers[:1]:
            optimizer.load(self._moments())
        scored_after = spaced_steps(0, plan.steps, plan.scores)
        points: list[list[Probed]] = [[] for _ in starts]
        for step in range(1, plan.steps + 1):
            self._control.check()
            rate = learning_rate(self._spec.optimizer, done + step, total)
            draws = partial(generator, self._spec.seed, "probe directions", at.stage, step)
            rows = batches.rows(step - 1)
            oracles = branch_oracles(
                problem,
                rows,
                draws,
                self._passes,
                branches,
                is_first_order=self._is_first_order,
                by=self._spec.criterion,
            )
            for branch, optimizer, oracle, own in zip(
                branches, optimizers, oracles, settings, strict=True
            ):
                own_rate = rate * rate_factor(own) * oracle.unit
                take_step(problem, optimizer, branch, oracle, own_rate, at.step, own)
                ledger.charge_step(oracle.forward_rows, is_probe=True)
            if step in scored_after:
                scores = problem.score(parameters)
                ledger.charge_scores(len(starts))
                for index, point in enumerate(parameters.clone()):
                    points[index].append(Probed(point, optimizers[index].state(), scores[index]))
        return [lowest(self._spec.criterion, of_branch) for of_branch in points]

    def blend(self, at: LoopState, proposal: Scored) -> Tensor:
        """The restart point [*shape]: live parameters and proposal, interpolated by the spec's
        `acceptance.blend`."""
        return lerp(at.parameters, proposal.parameters, self._spec.acceptance.blend)


def batch_order(spec: RunSpec, problem: Problem, *stream: str | int) -> BatchOrder:
    """The batch order of a named random stream of this run."""
    rows, batch = problem.size(Split.TRAIN), spec.optimizer.batch_size
    return BatchOrder(spec.seed, stream, rows, batch, problem.train_lengths)


def outcomes(
    at: LoopState, scored: ScoredAnswer, decision: Decision
) -> tuple[ProposalOutcome, ...]:
    """The outcome of each proposal, in the answer's order."""
    probed = {branch.candidate_id: branch.loss_after for branch in decision.branches}
    entrants = {entrant.candidate.candidate_id: entrant for entrant in scored.entrants}
    found = []
    for proposal in at.answer.proposals if at.answer is not None else ():
        name = proposal.proposal_id
        if scored.unscored is not None and scored.unscored.candidate.candidate_id == name:
            found.append(ProposalOutcome(name, ProposalStatus.APPLIED))
            continue
        if name not in entrants:
            found.append(scored.refused[name])
            continue
        probe_loss = probed.get(name)
        if decision.restarted and decision.chosen.candidate.candidate_id == name:
            status = ProposalStatus.APPLIED
        else:
            status = ProposalStatus.NOT_CHOSEN if probe_loss is None else ProposalStatus.LOST
        score = entrants[name].candidate.score
        found.append(ProposalOutcome(name, status, score, probe_loss))
    return tuple(found)
