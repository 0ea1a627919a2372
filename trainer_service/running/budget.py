"""A run's budget and usage: gradient steps, evaluations, and the size of races.

Imports no torch, so that the service can use it to validate specs.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from mentorgrad.domain.advice import Answer, AnswerStatus
from mentorgrad.domain.run import Usage
from mentorgrad.domain.spec import Budget, RunSpec
from mentorgrad.errors import Violation
from mentorgrad.schema import join


@dataclass(frozen=True)
class RacePlan:
    """The size of a race that the budget allows."""

    branches: int
    """Number of branches, including the incumbent; 0: no race."""
    steps: int
    """Gradient steps per branch; 0: the scores of the starting points are compared."""
    reason: str = ""
    """Why the race is smaller than in the spec; empty if it is not."""
    scores: int = 1
    """Number of times that each branch is scored."""


@dataclass
class Ledger:
    """A run's usage and what is left of its budget.

    `final_reserve` evaluations are reserved for the candidates of the final stage, so that the last
    parameters can always be scored.
    """

    budget: Budget
    final_reserve: int
    usage: Usage = field(default_factory=Usage)

    def copy(self) -> Ledger:
        """An independent copy, which can be discarded or replace this one."""
        return dataclasses.replace(self)

    @property
    def steps_left(self) -> float:
        """Gradient steps left; infinite without a limit."""
        if self.budget.gradient_steps is None:
            return math.inf
        return self.budget.gradient_steps - self.usage.gradient_steps

    def evaluations_left(self, *, final: bool = False) -> float:
        """Evaluations left; infinite without a limit. Includes the reserve only if `final`."""
        if self.budget.evaluations is None:
            return math.inf
        left = self.budget.evaluations - self.usage.evaluations
        return left if final else max(left - self.final_reserve, 0)

    def charge_steps(self, count: int, *, probe: bool = False) -> None:
        """Counts gradient steps."""
        self.usage = dataclasses.replace(
            self.usage,
            gradient_steps=self.usage.gradient_steps + count,
            probe_steps=self.usage.probe_steps + (count if probe else 0),
        )

    def charge_hint(self) -> None:
        """Counts the backward pass of a gradient hint, which counts as a gradient step."""
        self.charge_steps(1)
        self.usage = dataclasses.replace(self.usage, hint_steps=self.usage.hint_steps + 1)

    def charge_evaluations(self, count: int) -> None:
        """Counts parameters scored on the whole selection split."""
        self.usage = dataclasses.replace(self.usage, evaluations=self.usage.evaluations + count)

    def charge_answer(
        self, answer: Answer, waited: timedelta, *, is_fallback: bool, lag_steps: int = 0
    ) -> None:
        """Counts an answer of the mentor or of the fallback, and the time spent waiting for it."""
        usage = self.usage
        if is_fallback:
            self.usage = dataclasses.replace(usage, fallbacks=usage.fallbacks + 1)
            return
        self.usage = dataclasses.replace(
            usage,
            mentor_calls=usage.mentor_calls + 1,
            usable_answers=usage.usable_answers + (answer.status is AnswerStatus.USABLE),
            prompt_tokens=usage.prompt_tokens + sum(r.prompt_tokens for r in answer.records),
            reply_tokens=usage.reply_tokens + sum(r.reply_tokens for r in answer.records),
            mentor_time=usage.mentor_time + waited,
            lag_steps=usage.lag_steps + lag_steps,
        )

    def plan_race(self, finalists: int, probe_steps: int, probe_scores: int = 1) -> RacePlan:
        """The largest race that the budget allows. It reduces the scores first, then the proposals,
        then the steps; without any steps, the present scores of the branches are compared."""
        wanted = finalists + 1
        if probe_steps == 0:
            return RacePlan(wanted, 0)
        evaluations = self.evaluations_left()
        if self.steps_left < 2:
            return RacePlan(wanted, 0, "no gradient steps are left for a race")
        if evaluations < 2:
            return RacePlan(0, 0, "no race: too few evaluations are left")
        steps = int(min(probe_steps, self.steps_left // 2))
        branches = int(min(wanted, evaluations, self.steps_left // steps))
        asked = min(probe_scores, steps)
        scores = int(min(asked, evaluations / branches))
        if (branches, steps, scores) == (wanted, probe_steps, asked):
            return RacePlan(branches, steps, scores=scores)
        shrunk = f"race reduced to {branches} branches of {steps} steps"
        if scores < asked:
            shrunk = f"{shrunk}, scored {scores} instead of {asked} times"
        return RacePlan(branches, steps, f"{shrunk}: the budget allows no more", scores)


def evaluations_each(has_words: bool) -> int:
    """Evaluations per snapshot: the soft parameter, and its projection if `has_words`."""
    return 2 if has_words else 1


def takes_no_steps(spec: RunSpec) -> bool:
    """Whether a run takes no gradient steps at all, so that only the mentor changes it."""
    return spec.budget.gradient_steps is None and spec.stages.total_steps == 0


def new_ledger(spec: RunSpec, has_words: bool) -> Ledger:
    """The ledger at the start of a run."""
    each = evaluations_each(has_words)
    # Without steps, the final stage's only snapshot is its start.
    snapshots = spec.stages.candidates + (spec.stages.stride > 0)
    reserve = each if takes_no_steps(spec) else snapshots * each
    if spec.budget.evaluations is not None:
        # The start is scored first; the rest may not suffice for all candidates of a stage.
        reserve = min(reserve, spec.budget.evaluations - each)
    return Ledger(spec.budget, max(reserve, 0))


def budget_violations(spec: RunSpec, has_words: bool, path: str = "spec") -> Iterator[Violation]:
    """Violations of a budget that is too small for one stage."""
    where = join(path, "budget")
    steps, evaluations = spec.budget.gradient_steps, spec.budget.evaluations
    one = spec.stages.length(0) or spec.stages.steps
    if steps is not None and steps < one:
        yield Violation(
            join(where, "gradient_steps"),
            f"must be at least {one}, the steps of one stage, not {steps}",
        )
    least = 2 * evaluations_each(has_words)
    if evaluations is not None and evaluations < least:
        yield Violation(
            join(where, "evaluations"),
            f"must be at least {least}, to score the start and the end, not {evaluations}",
        )


def schedule_position(spec: RunSpec, usage: Usage, step: int) -> tuple[int, int]:
    """(steps done, total steps) for the learning rate schedule.

    With a budget of gradient steps, the schedule follows all spent steps, races included, so that
    it ends with the budget. Otherwise it follows the steps of the trajectory.

    Args:
        spec: The run's spec.
        usage: Usage so far.
        step: Steps of the trajectory so far.
    """
    if spec.budget.gradient_steps is not None:
        return usage.gradient_steps, spec.budget.gradient_steps
    return step, spec.stages.total_steps


def trajectory_left(spec: RunSpec, ledger: Ledger, step: int) -> int:
    """Steps left to the trajectory: what is left of the budget, or without one, of the stages.

    Args:
        spec: The run's spec.
        ledger: Usage and budget.
        step: Steps of the trajectory so far.
    """
    if spec.budget.gradient_steps is not None:
        return spec.budget.gradient_steps - ledger.usage.gradient_steps
    return spec.stages.total_steps - step


def share_spent(spec: RunSpec, usage: Usage, stage: int, step: int) -> float:
    """Progress of the run, from 0 to 1: the spent share of the budget limit nearest to exhaustion;
    without limits the share of steps, and without steps the share of stages.

    Args:
        spec: The run's spec.
        usage: Usage so far.
        stage: The current stage.
        step: Steps of the trajectory so far.
    """
    limits = [
        (usage.gradient_steps, spec.budget.gradient_steps),
        (usage.evaluations, spec.budget.evaluations),
    ]
    shares = [spent / limit for spent, limit in limits if limit is not None]
    if not shares:
        total = spec.stages.total_steps
        shares = [step / total if total else stage / spec.stages.count]
    return min(max(shares), 1.0)


def stage_length(spec: RunSpec, ledger: Ledger, stage: int, step: int) -> int:
    """Steps of a stage that begins now; the last stage takes all steps that are left."""
    left = trajectory_left(spec, ledger, step)
    return left if stage == spec.stages.count - 1 else min(spec.stages.length(stage), left)
