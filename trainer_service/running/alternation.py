"""The main loop of a run: stage → capture → project → score → ask the mentor → score its proposals
→ race → restart."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial

import torch
from torch import Tensor

from mentorgrad.domain.advice import Outcomes
from mentorgrad.domain.event import CandidatesScored, RestartDecided, StageStarted, StepDivided
from mentorgrad.domain.run import Candidate, Usage
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import PreconditionFailed
from trainer_service.costs import Cost
from trainer_service.mentors.fallback import FallbackMentor
from trainer_service.optimizers.oracle import BatchOracle
from trainer_service.optimizers.parts import take_step
from trainer_service.optimizers.schedule import learning_rate
from trainer_service.protocols import Objective, Optimizer, Scored
from trainer_service.running import checkpoint, restart_decision
from trainer_service.running.budget import (
    Ledger,
    evaluations_each,
    new_ledger,
    run_prices,
    schedule_position,
    stage_length,
    takes_no_steps,
    trajectory_left,
)
from trainer_service.running.capture import TrajectoryCapture, changed_positions
from trainer_service.running.checkpoint import CheckpointWriter
from trainer_service.running.hints import Hints
from trainer_service.running.loop_state import LoopPhase, LoopState, Pool
from trainer_service.running.mentor_observations import MentorObservations
from trainer_service.running.mentor_requests import MentorRequests
from trainer_service.running.proposed_settings import raced
from trainer_service.running.recorder import Recorder
from trainer_service.running.restart_decision import Decision, Probed, RestartDecider
from trainer_service.running.scoring import (
    Origin,
    ScoredAnswer,
    affordable,
    candidate_steps,
    snapshot_candidates,
)
from trainer_service.running.stop_control import MODEL_CHANGED, StopControl
from trainer_service.seeds import derive, generator
from trainer_service.training_settings import TrainingSettings, rate_factor, settings_at_start


class Alternation:
    """Alternates gradient descent and restarts, from a run's first step to its last.

    Args:
        spec: The run's spec.
        objective: The objective.
        mentor: The source of proposals.
        make_optimizer: Creates a fresh optimizer; each branch of a race has its own.
        recorder: Records the events.
        checkpoints: Saves the state.
        control: Stop requests.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self,
        spec: RunSpec,
        objective: Objective,
        mentor: FallbackMentor,
        make_optimizer: Callable[[], Optimizer],
        recorder: Recorder,
        checkpoints: CheckpointWriter,
        control: StopControl,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spec = spec
        self._objective = objective
        self._mentor = mentor
        self._optimizer = make_optimizer()
        self._recorder = recorder
        self._checkpoints = checkpoints
        self._control = control
        self._clock = clock
        self._capture = TrajectoryCapture(
            spec.capture, objective, recorder.put, mentor, clock=clock
        )
        hints = Hints(spec, objective, mentor)
        self._observations = MentorObservations(spec, objective, mentor)
        self._requests = MentorRequests(
            spec, mentor, recorder, control, hints, self._observations, self.usage
        )
        self._prices = run_prices(spec, objective.problem.costs, objective.problem.task)
        self._decider = RestartDecider(
            spec, objective, make_optimizer, self._optimizer.state, control, self._prices
        )
        self._batches = restart_decision.batch_order(spec, objective.problem, "batches")
        self._each = evaluations_each(objective.language.has_words)
        self._began = self._saved = clock()
        self._keep: frozenset[int] = frozenset()

    # -- the loop -----------------------------------------------------------------------------

    def run(self, at: LoopState) -> None:
        """Continues from the state `at` to the end of the run, updating `at` in place.

        Raises:
            Stop: On request, at a step boundary; `at` is consistent and can be checkpointed.
            MentorgradError: The run cannot continue.
        """
        while at.phase is not LoopPhase.DONE:
            if at.phase is LoopPhase.STAGE:
                self._take_steps(at)  # and capture
                self._score_stage(at, at.kept)  # project, score
                at.phase = LoopPhase.DONE if self._is_last(at) else LoopPhase.ASK

            if at.phase is LoopPhase.ASK:
                self._control.check()
                self._ask(at)

            if at.phase is LoopPhase.WAIT:
                self._take_steps(at)  # the stage continues while the request is pending
                self._take_answer(at)

            if at.phase is LoopPhase.DECIDE:
                self._control.check()
                ledger = at.ledger.copy()  # an aborted race is not charged
                scored = self._decider.score(at, ledger)
                decision = self._decider.decide(at, scored, ledger)  # race
                self._restart(at, scored, decision, ledger)
                self._save(at)

    def _take_steps(self, at: LoopState) -> None:
        """Takes steps until the stage ends or the answer to the pending request has arrived."""
        while at.step < at.stage_end and not self._requests.is_answered(at):
            self._control.check()
            self._step(at)
            # Sums of other parts round differently, so a resume has to begin with these.
            is_divided = at.parts != self._objective.problem.parts.count
            if is_divided or self._clock() - self._saved >= self._interval:
                self._save(at)
        self._capture.flush()

    # -- begin, resume, checkpoint ------------------------------------------------------------

    def begin(self) -> LoopState:
        """Draws and scores the initial point and begins the first stage."""
        seed = self._spec.seed
        torch.manual_seed(derive(seed, "torch"))
        objective = self._objective
        point = objective.language.initial(generator(seed, "initial")).detach()
        point = point.to(objective.device)
        settings = settings_at_start(self._spec.mentor, objective.language.constraints)
        origin = self._origin(0, point, settings)
        scored = snapshot_candidates(objective, origin, {0: point}, {0: "s0/start"})
        ledger = new_ledger(self._spec, objective.language.has_words, self._prices)
        ledger.charge_scores(len(scored))
        pool = Pool(criterion=self._spec.criterion)
        at = LoopState(
            ledger,
            point.clone(),
            origin,
            best=scored[0],
            pool=pool,
            tuned_model=objective.problem.tuned_model,
            parts=objective.problem.parts.count,
        )
        self._record(at, 0, scored)
        self._begin_stage(at, 0, scored[0].candidate.candidate_id, settings)
        return at

    def go_on(self, at: LoopState, moments: dict[str, Tensor]) -> None:
        """Continues from a restored checkpoint; the mentor is sent the pool again.

        Raises:
            PreconditionFailed: The tuned model is another one (reason TUNED_MODEL_CHANGED).
        """
        now = self._objective.problem.tuned_model
        if now != at.tuned_model:
            raise PreconditionFailed(
                f"the tuned model has changed: it was {at.tuned_model}, and is {now} now",
                reason=MODEL_CHANGED,
            )
        self._objective.problem.parts.count = at.parts
        self._optimizer.load(moments)
        self._capture.begin_stage(at.stage, at.origin.ids)
        self._keep = self._kept_steps(at)
        self._observations.tell(at.stage, at.pool.entries)
        if at.phase is LoopPhase.WAIT:
            self._requests.begin(at)

    def checkpoint(self, at: LoopState) -> None:
        """Flushes everything captured so far, then saves a checkpoint."""
        self._capture.flush()
        self._count_tokens(at)
        self._record_parts(at)
        data = checkpoint.dump(at, self._optimizer.state(), self._train_time(at))
        self._checkpoints.save(data, at.step)
        self._saved = self._clock()

    def _save(self, at: LoopState) -> None:
        """Saves a checkpoint unless the store is unavailable, where a queued one is of no use."""
        if not self._recorder.is_away:
            self.checkpoint(at)

    def _record_parts(self, at: LoopState) -> None:
        """Records that steps are divided into other parts than at the last checkpoint."""
        parts = self._objective.problem.parts
        if parts.count != at.parts:
            at.parts = parts.count
            rows = parts.at_once(self._prices.batch)
            self._recorder.put(StepDivided(at.stage, at.step, at.parts, rows))

    def usage(self, at: LoopState) -> Usage:
        """Usage so far, including the execution time of this attempt."""
        self._count_tokens(at)
        return replace(at.ledger.usage, train_time=self._train_time(at))

    def _count_tokens(self, at: LoopState) -> None:
        at.ledger.charge(Cost(), tuned_model_tokens=self._objective.problem.take_tokens())

    def _train_time(self, at: LoopState) -> timedelta:
        return at.earlier_time + timedelta(seconds=self._clock() - self._began)

    @property
    def _interval(self) -> float:
        return self._spec.checkpoint_interval.total_seconds()

    # -- stage --------------------------------------------------------------------------------

    def _begin_stage(
        self, at: LoopState, stage: int, start_id: str, settings: TrainingSettings | None
    ) -> None:
        """Begins a stage at the live parameters; `start_id` is the id of their candidate, or empty
        if they were not scored."""
        at.origin = self._origin(stage, at.parameters.clone(), settings)
        at.stage_begin = at.step
        at.stage_length = stage_length(self._spec, at.ledger, stage, at.step)
        at.phase = LoopPhase.STAGE
        at.kept, at.incumbent_id, at.answer, at.asked_step = {}, "", None, None
        at.start_id, at.hinted = start_id, False
        self._keep = self._kept_steps(at)
        text = self._objective.language.project(at.origin.parameters[None])[0].text
        self._recorder.put(
            StageStarted(stage, at.step, text, ",".join(self._objective.devices), at.tuned_model)
        )
        self._capture.begin_stage(stage, at.origin.ids)

    def _kept_steps(self, at: LoopState) -> frozenset[int]:
        begin = at.stage_begin if at.asked_step is None else at.asked_step
        return frozenset(candidate_steps(self._spec.stages, begin, at.stage_end - begin))

    def _step(self, at: LoopState) -> None:
        done, total = schedule_position(self._spec, at.ledger, at.step)
        settings = at.origin.settings
        rate = learning_rate(self._spec.optimizer, done + 1, total) * rate_factor(settings)
        draws = partial(generator, self._spec.seed, "directions", at.step)
        rows = self._batches.rows(at.step)
        problem, passes = self._objective.problem, self._prices.passes
        oracle = BatchOracle(problem, rows, draws, passes, by=self._spec.criterion)
        if problem.begins_part(at.step):
            self._optimizer.load({})
        taken = take_step(
            problem, self._optimizer, at.parameters, oracle, rate * oracle.unit, at.step, settings
        )
        at.step += 1
        at.ledger.charge_step(oracle.forward_rows)
        self._capture.add(
            at.step,
            rate,
            taken.loss,
            taken.norm,
            at.parameters,
            forward_rows=at.ledger.usage.forward_rows,
            train_time=self._train_time(at),
        )
        if at.step in self._keep:
            at.kept[at.step] = at.parameters.clone()

    def _is_last(self, at: LoopState) -> bool:
        stages = self._spec.stages
        # A run whose stages take no steps does not end for lack of steps.
        stepping = stages.steps > 0 and not takes_no_steps(self._spec)
        over = stepping and trajectory_left(self._spec, at.ledger, at.step) < 1
        return at.stage >= stages.count - 1 or over

    def _score_stage(self, at: LoopState, kept: Mapping[int, Tensor]) -> None:
        name = f"s{at.stage}/step{{}}"
        if at.step == at.stage_begin:  # no step was taken: the start is the incumbent
            at.incumbent_id = at.start_id
            kept = {} if at.start_id else {at.step: at.parameters.clone()}
            name = f"s{at.stage}/start"
        left = at.ledger.evaluations_left(final=self._is_last(at))
        steps = affordable(sorted(kept), self._each, left)
        if steps:
            snapshots = {step: kept[step] for step in steps}
            names = {step: name.format(step) for step in steps}
            scored = snapshot_candidates(self._objective, at.origin, snapshots, names)
            at.ledger.charge_scores(len(scored))
            self._record(at, at.stage, scored)
            at.incumbent_id = names[steps[-1]]
        at.kept = {}

    def _record(self, at: LoopState, stage: int, scored: Sequence[Scored]) -> None:
        """Adds new candidates to the pool and sends them to the log and the mentor."""
        at.take(scored)
        at.ledger.charge_exemplars(self._observations.exemplar_rows, len(scored))
        candidates = tuple(s.candidate for s in scored)
        self._recorder.put(CandidatesScored(stage, candidates, self.usage(at)))
        self._observations.tell(stage, scored)

    # -- ask ----------------------------------------------------------------------------------

    def _ask(self, at: LoopState) -> None:
        """Asks the mentor, if there is one and the budget allows scoring its proposals."""
        left = trajectory_left(self._spec, at.ledger, at.step)
        overlapped = self._requests.is_overlapped and left > 0
        # In overlapped mode the incumbent moves on meanwhile and is scored again.
        needed = 1 + (self._each if overlapped else 0)
        if self._spec.mentor.name == "none":
            self._begin_stage(at, at.stage + 1, at.incumbent_id, at.origin.settings)
        elif not at.incumbent_id or at.ledger.evaluations_left() < needed:
            self._stay(at, "not asked: no evaluations are left for proposals")
        elif overlapped:
            self._requests.begin(at)
            at.stage_length += trajectory_left(self._spec, at.ledger, at.step)  # less a hint's step
            self._keep = self._kept_steps(at)
        else:
            self._requests.wait(at)

    def _take_answer(self, at: LoopState) -> None:
        """Takes the answer to the pending request, which applies to the present parameters. If the
        run has taken its last step, the request is cancelled instead."""
        if at.step >= at.stage_end:
            self._score_stage(at, at.kept)  # first, because a stop may occur in between
            self._requests.give_up(at)
            at.phase = LoopPhase.DONE
            return
        answer = self._requests.answer()
        if at.lag:
            self._score_stage(at, {at.step: at.parameters.clone()})
        self._requests.conclude(at, answer)

    # -- restart ------------------------------------------------------------------------------

    def _restart(
        self, at: LoopState, scored: ScoredAnswer, decision: Decision, ledger: Ledger
    ) -> None:
        """Applies and records a decision, and begins the next stage at the chosen point."""
        at.ledger = ledger
        if scored.entrants:
            self._record(at, at.stage, raced(scored.entrants, decision.branches))
        settings = decision.chosen.candidate.settings
        outcomes = restart_decision.outcomes(at, scored, decision)
        at.restarts += decision.restarted
        self._recorder.put(
            RestartDecided(
                stage=at.stage,
                policy=restart_decision.acceptance_at(self._spec, at.stage).policy,
                restarted=decision.restarted,
                chosen_id=decision.chosen.candidate.candidate_id,
                incumbent_id=at.incumbent_id,
                branches=decision.branches,
                outcomes=outcomes,
                reason=decision.reason,
                usage=self.usage(at),
                settings=settings,
            )
        )
        if at.answer is not None and outcomes and not at.answer_is_fallback:
            self._mentor.report(Outcomes(at.answer.request_id, outcomes))
        start_id = at.incumbent_id
        if decision.probed is not None:
            at.parameters = decision.probed.parameters.clone()
            self._optimizer.load(decision.probed.moments)
            start_id = self._record_start(at, decision, decision.probed)
        elif decision.restarted:
            at.parameters = self._decider.blend(at, decision.chosen)
            is_scored = self._spec.acceptance.blend == 1.0 and scored.unscored is None
            start_id = decision.chosen.candidate.candidate_id if is_scored else ""
            if not self._spec.acceptance.keep_moments and settings is None:
                self._optimizer.load({})
        self._begin_stage(at, at.stage + 1, start_id, settings)

    def _record_start(self, at: LoopState, decision: Decision, probed: Probed) -> str:
        """Records the end point of a race as a candidate; it is scored already, at no extra cost.

        Returns:
            The candidate's id; empty if its loss is not finite.
        """
        if not math.isfinite(probed.score.loss):
            return ""
        language = self._objective.language
        words = language.project(probed.parameters[None])[0]
        toward = language.toward(at.origin.parameters, probed.parameters[None])[0]
        candidate = Candidate(
            candidate_id=f"s{at.stage + 1}/start",
            stage=at.stage + 1,
            step=at.step,
            text=words.text,
            toward_text=toward,
            positions_changed=changed_positions(at.origin.ids, words.ids),
            projection_distance=words.distance if language.has_words else None,
            parents=(decision.chosen.candidate.candidate_id,),
            score=probed.score,
            settings=decision.chosen.candidate.settings,
        )
        self._record(at, at.stage + 1, [Scored(candidate, probed.parameters)])
        return candidate.candidate_id

    def _stay(self, at: LoopState, reason: str) -> None:
        """Ends the stage without asking the mentor: records the reason and continues from the
        incumbent."""
        self._recorder.put(
            RestartDecided(
                stage=at.stage,
                policy=restart_decision.acceptance_at(self._spec, at.stage).policy,
                chosen_id=at.incumbent_id,
                incumbent_id=at.incumbent_id,
                reason=reason,
                usage=self.usage(at),
                settings=at.origin.settings,
            )
        )
        self._begin_stage(at, at.stage + 1, at.incumbent_id, at.origin.settings)

    def _origin(self, stage: int, point: Tensor, settings: TrainingSettings | None) -> Origin:
        ids = self._objective.language.project(point[None])[0].ids
        return Origin(stage, point, ids, settings)
