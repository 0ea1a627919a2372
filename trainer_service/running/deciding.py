"""An answer's proposals, scored, raced and decided upon; the live parameters are never touched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, lerp

from mentorgrad.model.advice import AnswerStatus, ProposalOutcome, ProposalStatus
from mentorgrad.model.spec import Policy, RunSpec
from trainer_service.optimizers.schedule import learning_rate
from trainer_service.protocols import Objective, Optimizer, Scored
from trainer_service.running import acceptance
from trainer_service.running.acceptance import Decision, Probed
from trainer_service.running.budget import Ledger, RacePlan, schedule_position, takes_no_steps
from trainer_service.running.control import Control
from trainer_service.running.progress import Progress
from trainer_service.running.scoring import ScoredAnswer, first_proposal, score_answer, spaced_steps
from trainer_service.seeds import BatchOrder, generator


class Deciding:
    """Decides for one run.

    Args:
        spec: The run's.
        objective: Scores and is probed.
        make_optimizer: Makes a fresh optimizer; each branch of a race has its own.
        moments: Of the live optimizer.
        control: Says when to stop.
    """

    def __init__(
        self,
        spec: RunSpec,
        objective: Objective,
        make_optimizer: Callable[[], Optimizer],
        moments: Callable[[], dict[str, Tensor]],
        control: Control,
    ) -> None:
        self._spec = spec
        self._objective = objective
        self._make_optimizer = make_optimizer
        self._moments = moments
        self._control = control
        # A run that takes no steps takes none in races either.
        self._probe_steps = 0 if takes_no_steps(spec) else spec.acceptance.probe_steps

    def score(self, at: Progress, ledger: Ledger) -> ScoredAnswer:
        """Scores the answer's proposals around their bases, as far as `ledger` allows."""
        if at.answer is None or at.answer.status is not AnswerStatus.USABLE:
            return ScoredAnswer((), {}, 0)
        left = ledger.evaluations_left()
        rule = self._spec.acceptance
        if rule.policy is Policy.FIRST:
            return first_proposal(self._objective, at.answer, at.incumbent, at.pool.get, at.stage)
        if rule.policy is Policy.RACE and self._probe_steps and ledger.steps_left >= 2:
            # The branches have to be scored too.
            each = min(rule.probe_scores, self._probe_steps)
            left -= min((rule.finalists + 1) * each, max(left - 1, 0))
        scored = score_answer(self._objective, at.answer, at.incumbent, at.pool.get, at.stage, left)
        ledger.charge_evaluations(scored.evaluations)
        return scored

    def decide(self, at: Progress, scored: ScoredAnswer, ledger: Ledger) -> Decision:
        """Applies the spec's rule; a race is charged to `ledger`.

        Raises:
            Stop: On request, in a race.
        """
        rule = self._spec.acceptance
        incumbent = at.incumbent
        if at.answer is not None and at.answer.status is not AnswerStatus.USABLE:
            stay = acceptance.decide(
                rule, incumbent, None, (), RacePlan(0, 0), _no_probe, generator(0)
            )
            return replace(stay, reason=f"no usable answer: {at.answer.status.value}")
        if scored.unscored is not None:
            return acceptance.take(incumbent, scored.unscored)
        finalists = min(rule.finalists, len(scored.entrants))
        return acceptance.decide(
            rule,
            incumbent,
            at.pool.get(f"{at.incumbent_id}/words"),
            scored.entrants,
            ledger.plan_race(finalists, self._probe_steps, rule.probe_scores),
            partial(self._race, at, ledger),
            generator(self._spec.seed, "explore", at.stage),
        )

    def _race(
        self, at: Progress, ledger: Ledger, starts: Sequence[Scored], plan: RacePlan
    ) -> list[Probed]:
        """The lowest point of each branch; all go side by side, with the same batches at the same
        learning rates. The incumbent is the first."""
        rule = self._spec.acceptance
        batches = batch_order(self._spec, self._objective, "probe", at.stage)
        done, total = schedule_position(self._spec, at.ledger.usage, at.step)
        blended = [self.blend(at, start) for start in starts[1:]]
        parameters = torch.stack([starts[0].parameters, *blended])
        branches = parameters.unbind()
        optimizers = [self._make_optimizer() for _ in starts]
        for optimizer in optimizers if rule.keep_moments else optimizers[:1]:
            optimizer.load(self._moments())
        scored_after = spaced_steps(0, plan.steps, plan.scores)
        points: list[list[Probed]] = [[] for _ in starts]
        for step in range(1, plan.steps + 1):
            self._control.check()
            _, gradients = self._objective.gradients(parameters, batches.rows(step - 1))
            rate = learning_rate(self._spec.optimizer, done + step, total)
            for branch, gradient, optimizer in zip(branches, gradients, optimizers, strict=True):
                optimizer.step(branch, gradient, rate)
            ledger.charge_steps(len(starts), probe=True)
            if step in scored_after:
                scores = self._objective.score(parameters)
                ledger.charge_evaluations(len(starts))
                for index, point in enumerate(parameters.clone()):
                    points[index].append(Probed(point, optimizers[index].state(), scores[index]))
        return [acceptance.lowest(of_branch) for of_branch in points]

    def blend(self, at: Progress, proposal: Scored) -> Tensor:
        """The restart point: proposal and live parameters mixed by the spec's weight."""
        return lerp(at.parameters, proposal.parameters, self._spec.acceptance.blend)


def batch_order(spec: RunSpec, objective: Objective, *stream: str | int) -> BatchOrder:
    """The order of train rows of a random stream of this run."""
    return BatchOrder(
        spec.seed, stream, objective.train_rows, spec.optimizer.batch_size, objective.device
    )


def outcomes(at: Progress, scored: ScoredAnswer, decision: Decision) -> tuple[ProposalOutcome, ...]:
    """What became of each proposal, in the answer's order."""
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


def _no_probe(starts: Sequence[Scored], plan: RacePlan) -> list[Probed]:
    raise AssertionError("nothing races without proposals")
