"""The alternation: stage → capture → project → score → ask → score proposals → race → restart."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import torch
from torch import Tensor

from mentorgrad.model.advice import (
    Answer,
    AnswerStatus,
    Batch,
    Outcomes,
    ProposalOutcome,
    ProposalRequest,
    ProposalStatus,
)
from mentorgrad.model.event import (
    CandidatesScored,
    ProposalsReceived,
    RestartDecided,
    StageStarted,
)
from mentorgrad.model.run import Candidate, Usage
from mentorgrad.model.spec import Policy, RunSpec
from trainer_service import acceptance, checkpoint
from trainer_service.acceptance import Decision, Probed
from trainer_service.budget import (
    Ledger,
    RacePlan,
    evaluations_each,
    new_ledger,
    schedule_position,
    stage_length,
)
from trainer_service.capture import Capture, changed_positions
from trainer_service.checkpoint import Checkpoints
from trainer_service.control import Control
from trainer_service.mentors.fallback import FallbackMentor
from trainer_service.optimizers.schedule import learning_rate
from trainer_service.progress import Phase, Progress
from trainer_service.protocols import Objective, Optimizer, Scored
from trainer_service.recorder import Recorder
from trainer_service.scoring import (
    Origin,
    ScoredAnswer,
    affordable,
    score_answer,
    snapshot_candidates,
    spaced_steps,
)
from trainer_service.seeds import BatchOrder, derive, generator


class Alternation:
    """One run, from its first step to its last.

    Args:
        spec: The run's.
        objective: What is optimised.
        mentor: Who proposes.
        make_optimizer: Makes a fresh optimizer; each branch of a race has its own.
        recorder: Takes the events.
        checkpoints: Takes the state.
        control: Says when to stop.
        clock: Seconds.
    """

    def __init__(
        self,
        spec: RunSpec,
        objective: Objective,
        mentor: FallbackMentor,
        make_optimizer: Callable[[], Optimizer],
        recorder: Recorder,
        checkpoints: Checkpoints,
        control: Control,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spec = spec
        self._objective = objective
        self._mentor = mentor
        self._make_optimizer = make_optimizer
        self._optimizer = make_optimizer()
        self._recorder = recorder
        self._checkpoints = checkpoints
        self._control = control
        self._clock = clock
        self._capture = Capture(spec.capture, objective, recorder.put, mentor, clock=clock)
        self._batches = self._order("batches")
        self._each = evaluations_each(objective.has_words)
        self._began = self._saved = clock()
        self._keep: frozenset[int] = frozenset()

    # -- the loop -----------------------------------------------------------------------------

    def run(self, at: Progress) -> None:
        """Goes on from `at` to the end, in place.

        Raises:
            Stop: On request, at a step boundary; `at` is whole and can be checkpointed.
            MentorgradError: The run cannot go on.
        """
        while at.phase is not Phase.DONE:
            if at.phase is Phase.STAGE:
                while at.step < at.stage_begin + at.stage_length:  # stage
                    self._control.check()
                    self._step(at)  # and capture
                    if self._clock() - self._saved >= self._interval:
                        self.checkpoint(at)
                self._capture.flush()
                self._score_stage(at)  # project, score
                at.phase = Phase.DONE if self._is_last(at) else Phase.ASK

            if at.phase is Phase.ASK:
                self._control.check()
                if self._spec.mentor.name == "none":
                    self._begin_stage(at, at.stage + 1)
                elif not at.incumbent_id or at.ledger.evaluations_left() < 1:
                    self._stay(at, "not asked: no evaluations are left for proposals")
                else:
                    self._ask(at)

            if at.phase is Phase.DECIDE:
                self._control.check()
                ledger = at.ledger.copy()  # a race that is stopped is never charged
                scored = self._score_proposals(at, ledger)
                decision = self._decide(at, scored, ledger)  # race
                self._restart(at, scored, decision, ledger)
                self.checkpoint(at)

    # -- beginning, going on, stopping --------------------------------------------------------

    def begin(self) -> Progress:
        """Draws and scores the initial point and begins the first stage."""
        seed = self._spec.seed
        torch.manual_seed(derive(seed, "torch"))
        objective = self._objective
        point = objective.initial(generator(seed, "initial")).detach().to(objective.device)
        origin = self._origin(0, point)
        scored = snapshot_candidates(objective, origin, {0: point}, {0: "s0/start"})
        ledger = new_ledger(self._spec, objective.has_words)
        ledger.charge_evaluations(len(scored))
        at = Progress(ledger, _leaf(point), origin, best=scored[0])
        self._record(at, 0, scored)
        self._begin_stage(at, 0)
        return at

    def go_on(self, at: Progress, moments: dict[str, Tensor]) -> None:
        """Takes a restored state up; the mentor is told the pool again."""
        self._optimizer.load(moments)
        self._capture.begin_stage(at.stage, at.origin.ids)
        self._keep = self._kept_steps(at)
        candidates = tuple(scored.candidate for scored in at.pool.entries)
        self._mentor.observe(Batch(stage=at.stage, candidates=candidates))

    def checkpoint(self, at: Progress) -> None:
        """Saves the state behind everything captured so far."""
        self._capture.flush()
        data = checkpoint.dump(at, self._optimizer.state(), self._train_time(at))
        self._checkpoints.save(data, at.step)
        self._saved = self._clock()

    def usage(self, at: Progress) -> Usage:
        """What was spent so far, this attempt's time included."""
        return replace(at.ledger.usage, train_time=self._train_time(at))

    def _train_time(self, at: Progress) -> timedelta:
        return at.earlier_time + timedelta(seconds=self._clock() - self._began)

    @property
    def _interval(self) -> float:
        return self._spec.checkpoint_interval.total_seconds()

    # -- stage --------------------------------------------------------------------------------

    def _begin_stage(self, at: Progress, stage: int) -> None:
        """The next stage starts from the live parameters."""
        at.origin = self._origin(stage, at.parameters.detach().clone())
        at.stage_begin = at.step
        at.stage_length = stage_length(self._spec, at.ledger, stage)
        at.phase = Phase.STAGE
        at.kept, at.incumbent_id, at.answer = {}, "", None
        self._keep = self._kept_steps(at)
        text = self._objective.project(at.origin.parameters[None])[0].text
        self._recorder.put(StageStarted(stage, at.step, text, str(self._objective.device)))
        self._capture.begin_stage(stage, at.origin.ids)

    def _kept_steps(self, at: Progress) -> frozenset[int]:
        count = self._spec.stages.candidates
        return frozenset(spaced_steps(at.stage_begin, at.stage_length, count))

    def _step(self, at: Progress) -> None:
        done, total = schedule_position(self._spec, at.ledger.usage, at.step)
        rate = learning_rate(self._spec.optimizer, done + 1, total)
        loss = self._objective.train_loss(at.parameters, self._batches.rows(at.step))
        norm = self._optimizer.step(at.parameters, loss, rate)
        at.step += 1
        at.ledger.charge_steps(1)
        self._capture.add(at.step, rate, loss, norm, at.parameters)
        if at.step in self._keep:
            at.kept[at.step] = at.parameters.detach().clone()

    def _is_last(self, at: Progress) -> bool:
        return at.stage >= self._spec.stages.count - 1 or at.ledger.steps_left < 1

    def _score_stage(self, at: Progress) -> None:
        left = at.ledger.evaluations_left(final=self._is_last(at))
        steps = affordable(sorted(at.kept), self._each, left)
        if steps:
            snapshots = {step: at.kept[step] for step in steps}
            names = {step: f"s{at.stage}/step{step}" for step in steps}
            scored = snapshot_candidates(self._objective, at.origin, snapshots, names)
            at.ledger.charge_evaluations(len(scored))
            self._record(at, at.stage, scored)
            at.incumbent_id = names[steps[-1]]
        at.kept = {}

    def _record(self, at: Progress, stage: int, scored: Sequence[Scored]) -> None:
        """New candidates: to the pool, the log and the mentor."""
        at.take(scored)
        candidates = tuple(s.candidate for s in scored)
        self._recorder.put(CandidatesScored(stage, candidates, self.usage(at)))
        self._mentor.observe(Batch(stage=stage, candidates=candidates))

    # -- ask ----------------------------------------------------------------------------------

    def _ask(self, at: Progress) -> None:
        choice = self._spec.mentor
        request = ProposalRequest(
            request_id=f"s{at.stage}",
            stage=at.stage,
            incumbent_id=at.incumbent_id,
            count=choice.proposals,
            seed=derive(self._spec.seed, "mentor", at.stage),
            timeout=choice.timeout,
        )
        asked = self._mentor.consult(
            request, self._incumbent(at), at.pool.entries, lost=at.mentor_lost
        )
        if asked.replies[0].answer.status is AnswerStatus.CANCELLED:
            self._control.check()
        at.mentor_lost = asked.lost
        if asked.notice is not None:
            self._recorder.put(asked.notice)
        for reply in asked.replies:
            at.ledger.charge_answer(reply.answer, reply.waited, is_fallback=reply.is_fallback)
            self._recorder.put(
                ProposalsReceived(
                    at.stage, _without_tensors(reply.answer), reply.is_fallback, self.usage(at)
                )
            )
        at.answer, at.answer_is_fallback = asked.replies[-1].answer, asked.replies[-1].is_fallback
        at.phase = Phase.DECIDE

    def _incumbent(self, at: Progress) -> Scored:
        incumbent = at.pool.get(at.incumbent_id)
        if incumbent is None:
            raise LookupError(f"the incumbent {at.incumbent_id} is not in the pool")
        return incumbent

    # -- score proposals, race ----------------------------------------------------------------

    def _score_proposals(self, at: Progress, ledger: Ledger) -> ScoredAnswer:
        if at.answer is None or at.answer.status is not AnswerStatus.USABLE:
            return ScoredAnswer((), {}, 0)
        left = ledger.evaluations_left()
        rule = self._spec.acceptance
        if rule.policy is Policy.RACE:  # the branches have to be scored too
            left -= min(rule.finalists + 1, max(left - 1, 0))
        incumbent = self._incumbent(at)
        scored = score_answer(self._objective, at.answer, incumbent, at.stage, left)
        ledger.charge_evaluations(scored.evaluations)
        return scored

    def _decide(self, at: Progress, scored: ScoredAnswer, ledger: Ledger) -> Decision:
        rule = self._spec.acceptance
        incumbent = self._incumbent(at)
        if at.answer is not None and at.answer.status is not AnswerStatus.USABLE:
            stay = acceptance.decide(
                rule, incumbent, None, (), RacePlan(0, 0), _no_probe, generator(0)
            )
            return replace(stay, reason=f"no usable answer: {at.answer.status.value}")
        batches = self._order("probe", at.stage)
        done, total = schedule_position(self._spec, at.ledger.usage, at.step)

        def probe(start: Scored, is_incumbent: bool, steps: int) -> Probed:
            # Every branch sees the same batches at the same learning rates.
            parameters = _leaf(start.parameters if is_incumbent else self._blend(at, start))
            optimizer = self._make_optimizer()
            if is_incumbent or rule.keep_moments:
                optimizer.load(self._optimizer.state())
            for i in range(steps):
                self._control.check()
                loss = self._objective.train_loss(parameters, batches.rows(i))
                rate = learning_rate(self._spec.optimizer, done + i + 1, total)
                optimizer.step(parameters, loss, rate)
                ledger.charge_steps(1, probe=True)
            end = parameters.detach()
            ledger.charge_evaluations(1)
            return Probed(end, optimizer.state(), self._objective.score(end[None])[0])

        finalists = min(rule.finalists, len(scored.entrants))
        return acceptance.decide(
            rule,
            incumbent,
            at.pool.get(f"{at.incumbent_id}/words"),
            scored.entrants,
            ledger.plan_race(finalists, rule.probe_steps),
            probe,
            generator(self._spec.seed, "explore", at.stage),
        )

    def _blend(self, at: Progress, proposal: Scored) -> Tensor:
        """The restart point: proposal and live parameters mixed by the spec's weight."""
        weight = self._spec.acceptance.blend
        return torch.lerp(at.parameters.detach(), proposal.parameters, weight)

    def _order(self, *stream: str | int) -> BatchOrder:
        return BatchOrder(
            self._spec.seed,
            stream,
            self._objective.train_rows,
            self._spec.optimizer.batch_size,
            self._objective.device,
        )

    # -- restart ------------------------------------------------------------------------------

    def _restart(
        self, at: Progress, scored: ScoredAnswer, decision: Decision, ledger: Ledger
    ) -> None:
        """Applies a decision: records it and begins the next stage where it says."""
        at.ledger = ledger
        if scored.entrants:
            self._record(at, at.stage, scored.entrants)
        outcomes = _outcomes(at, scored, decision)
        at.restarts += decision.restarted
        self._recorder.put(
            RestartDecided(
                stage=at.stage,
                policy=self._spec.acceptance.policy,
                restarted=decision.restarted,
                chosen_id=decision.chosen.candidate.candidate_id,
                incumbent_id=at.incumbent_id,
                branches=decision.branches,
                outcomes=outcomes,
                reason=decision.reason,
                usage=self.usage(at),
            )
        )
        if at.answer is not None and outcomes and not at.answer_is_fallback:
            self._mentor.report(Outcomes(at.answer.request_id, outcomes))
        if decision.probed is not None:
            at.parameters = _leaf(decision.probed.parameters)
            self._optimizer.load(decision.probed.moments)
            self._record_start(at, decision, decision.probed)
        elif decision.restarted:
            at.parameters = _leaf(self._blend(at, decision.chosen))
            if not self._spec.acceptance.keep_moments:
                self._optimizer.load({})
        self._begin_stage(at, at.stage + 1)

    def _record_start(self, at: Progress, decision: Decision, probed: Probed) -> None:
        """Where a race ended has been scored, so it is a candidate at no further cost."""
        if not math.isfinite(probed.score.loss):
            return
        words = self._objective.project(probed.parameters[None])[0]
        toward = self._objective.toward(at.origin.parameters, probed.parameters[None])[0]
        candidate = Candidate(
            candidate_id=f"s{at.stage + 1}/start",
            stage=at.stage + 1,
            step=at.step,
            text=words.text,
            toward_text=toward,
            positions_changed=changed_positions(at.origin.ids, words.ids),
            projection_distance=words.distance if self._objective.has_words else None,
            parents=(decision.chosen.candidate.candidate_id,),
            score=probed.score,
        )
        self._record(at, at.stage + 1, [Scored(candidate, probed.parameters)])

    def _stay(self, at: Progress, reason: str) -> None:
        """The stage's end without asking: said in the log, and on from where it is."""
        self._recorder.put(
            RestartDecided(
                stage=at.stage,
                policy=self._spec.acceptance.policy,
                chosen_id=at.incumbent_id,
                incumbent_id=at.incumbent_id,
                reason=reason,
                usage=self.usage(at),
            )
        )
        self._begin_stage(at, at.stage + 1)

    def _origin(self, stage: int, point: Tensor) -> Origin:
        return Origin(stage, point, self._objective.project(point[None])[0].ids)


def _leaf(parameters: Tensor) -> Tensor:
    """A copy that gradients are taken of."""
    return parameters.detach().clone().requires_grad_(True)


def _without_tensors(answer: Answer) -> Answer:
    """The answer as the log keeps it: a control's raw parameters can be larger than any message,
    and follow from the seed."""
    proposals = tuple(replace(proposal, parameters=None) for proposal in answer.proposals)
    return replace(answer, proposals=proposals)


def _no_probe(start: Scored, is_incumbent: bool, steps: int) -> Probed:
    raise AssertionError("nothing races without proposals")


def _outcomes(
    at: Progress, scored: ScoredAnswer, decision: Decision
) -> tuple[ProposalOutcome, ...]:
    """What became of each proposal, in the answer's order."""
    probed = {branch.candidate_id: branch.loss_after for branch in decision.branches}
    entrants = {entrant.candidate.candidate_id: entrant for entrant in scored.entrants}
    outcomes = []
    for proposal in at.answer.proposals if at.answer is not None else ():
        name = proposal.proposal_id
        if name not in entrants:
            outcomes.append(scored.refused[name])
            continue
        probe_loss = probed.get(name)
        if decision.restarted and decision.chosen.candidate.candidate_id == name:
            status = ProposalStatus.APPLIED
        else:
            status = ProposalStatus.NOT_CHOSEN if probe_loss is None else ProposalStatus.LOST
        score = entrants[name].candidate.score
        outcomes.append(ProposalOutcome(name, status, score, probe_loss))
    return tuple(outcomes)
