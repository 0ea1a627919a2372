"""A run's budget and usage: gradient steps, evaluations and forward rows, and the size of races.

Imports no torch, so that the service can use it to validate specs.
"""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from mentorgrad.domain.advice import Answer, AnswerStatus
from mentorgrad.domain.run import Usage
from mentorgrad.domain.spec import Budget, RunSpec
from mentorgrad.errors import Violation
from mentorgrad.schema import join
from trainer_service.costs import Cost, Prices, RowCosts
from trainer_service.optimizers.table import optimizer_kind
from trainer_service.tasks.data import TaskData

LIMITS = ("gradient_steps", "evaluations", "forward_rows")
"""The units of a `Cost`; each is a limit of `Budget` and a counter of `Usage`."""

UNLIMITED = 10**9
"""What a budget without limits allows."""


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
    prices: Prices
    """What the run's actions cost."""
    final_reserve: int = 0
    usage: Usage = field(default_factory=Usage)

    def copy(self) -> Ledger:
        """An independent copy, which can be discarded or replace this one."""
        return dataclasses.replace(self)

    def allows(self, cost: Cost, *, final: bool = False) -> bool:
        """Whether every limit of the budget leaves room for a cost; the reserve only if `final`."""
        reserve = Cost() if final else self.prices.score * self.final_reserve
        for limit in LIMITS:
            most = getattr(self.budget, limit)
            spent = getattr(self.usage, limit) + getattr(reserve, limit)
            if most is not None and getattr(cost, limit) > max(most - spent, 0):
                return False
        return True

    def most(self, cost: Cost, wanted: int, *, final: bool = False) -> int:
        """How many times a cost is affordable, at most `wanted` times."""
        return _greatest(wanted, lambda times: self.allows(cost * times, final=final))

    @property
    def steps_left(self) -> int:
        """Optimizer steps that the budget allows, at most `UNLIMITED`."""
        return self.most(self.prices.step, UNLIMITED)

    def evaluations_left(self, *, final: bool = False) -> int:
        """Evaluations that the budget allows, at most `UNLIMITED`. Includes the reserve only if
        `final`."""
        return self.most(self.prices.score, UNLIMITED, final=final)

    def charge(self, cost: Cost, **more: int) -> None:
        """Counts a cost, and increases further counters of `Usage` by name."""
        added = {limit: getattr(cost, limit) for limit in LIMITS} | more
        self.usage = dataclasses.replace(
            self.usage, **{name: getattr(self.usage, name) + n for name, n in added.items()}
        )

    def charge_step(self, forward_rows: int, *, is_probe: bool = False) -> None:
        """Counts an optimizer step with the forward rows that it took."""
        self.charge(Cost(gradient_steps=1, forward_rows=forward_rows), probe_steps=int(is_probe))

    def charge_hint(self) -> None:
        """Counts the backward pass of a gradient hint, which counts as a gradient step."""
        self.charge(self.prices.hint, hint_steps=1)

    def charge_scores(self, count: int) -> None:
        """Counts parameters scored on the whole selection split."""
        self.charge(self.prices.score * count)

    def charge_exemplars(self, rows: int, parameters: int = 1) -> None:
        """Counts the losses of parameters on the train rows that the mentor is shown."""
        if rows:
            cost = self.prices.exemplars(rows, parameters)
            self.charge(cost, exemplar_rows=cost.forward_rows)

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
        wanted, step, score = finalists + 1, self.prices.step, self.prices.score
        if probe_steps == 0:
            return RacePlan(wanted, 0)
        if not self.allows(step * 2):
            return RacePlan(wanted, 0, "no gradient steps are left for a race")
        if not self.allows(score * 2):
            return RacePlan(0, 0, "no race: too few evaluations are left")

        def fits(branches: int, steps: int, scores: int = 1) -> bool:
            return self.allows((step * steps + score * scores) * branches)

        steps = _greatest(probe_steps, lambda count: fits(2, count))
        if steps == 0:
            return RacePlan(wanted, 0, "no gradient steps are left for a race")
        branches = _greatest(wanted, lambda count: fits(count, steps))
        asked = min(probe_scores, steps)
        scores = _greatest(asked, lambda count: fits(branches, steps, count))
        if (branches, steps, scores) == (wanted, probe_steps, asked):
            return RacePlan(branches, steps, scores=scores)
        shrunk = f"race reduced to {branches} branches of {steps} steps"
        if scores < asked:
            shrunk = f"{shrunk}, scored {scores} instead of {asked} times"
        return RacePlan(branches, steps, f"{shrunk}: the budget allows no more", scores)


def _greatest(most: int, fits: Callable[[int], bool]) -> int:
    """The greatest number from 0 to `most` that fits; whatever is greater fits no better."""
    return bisect.bisect_right(range(1, most + 1), 0, key=lambda count: not fits(count))


def evaluations_each(has_words: bool) -> int:
    """Evaluations per snapshot: the soft parameter, and its projection if `has_words`."""
    return 2 if has_words else 1


def takes_no_steps(spec: RunSpec) -> bool:
    """Whether a run takes no gradient steps at all, so that only the mentor changes it."""
    limit = spec.budget.gradient_steps
    return limit == 0 or (limit is None and spec.stages.total_steps == 0)


def run_prices(spec: RunSpec, costs: RowCosts, task: TaskData | None) -> Prices:
    """The prices of a run's actions.

    Args:
        spec: The run's spec.
        costs: Forward rows of the objective's passes.
        task: The run's rows; None for an objective without data.

    Raises:
        InvalidInput: The optimizer is unknown.
    """
    train, selection = (len(task.train), len(task.selection)) if task else (1, 1)
    batch = min(spec.optimizer.batch_size, train)
    passes = optimizer_kind(spec.optimizer).passes_of(spec.optimizer)
    return Prices(costs, batch, selection, passes)


def new_ledger(spec: RunSpec, has_words: bool, prices: Prices) -> Ledger:
    """The ledger at the start of a run; the caches of the objective are charged."""
    each = evaluations_each(has_words)
    # Without steps, the final stage's only snapshot is its start.
    snapshots = spec.stages.candidates + (spec.stages.stride > 0)
    reserve = each if takes_no_steps(spec) else snapshots * each
    ledger = Ledger(spec.budget, prices)
    ledger.charge(prices.setup)
    # The start is scored first; the rest may not suffice for all candidates of a stage.
    ledger.final_reserve = max(ledger.most(prices.score, reserve + each) - each, 0)
    return ledger


def budget_violations(spec: RunSpec, has_words: bool, path: str = "spec") -> Iterator[Violation]:
    """Violations of a budget that is too small for one stage; without steps it needs none."""
    where = join(path, "budget")
    steps, evaluations = spec.budget.gradient_steps, spec.budget.evaluations
    one = spec.stages.length(0) or spec.stages.steps
    if steps and steps < one:
        yield Violation(
            join(where, "gradient_steps"),
            f"must be 0 or at least {one}, the steps of one stage, not {steps}",
        )
    least = 2 * evaluations_each(has_words)
    if evaluations is not None and evaluations < least:
        yield Violation(
            join(where, "evaluations"),
            f"must be at least {least}, to score the start and the end, not {evaluations}",
        )


def forward_row_violations(
    spec: RunSpec, has_words: bool, prices: Prices, path: str = "spec"
) -> Iterator[Violation]:
    """Violations of a limit on forward rows that is too small for one stage of this objective."""
    limit = spec.budget.forward_rows
    steps = 0 if takes_no_steps(spec) else spec.stages.length(0) or spec.stages.steps
    scores = prices.score * (2 * evaluations_each(has_words))
    least = (prices.setup + scores + prices.step * steps).forward_rows
    if limit is not None and limit < least:
        yield Violation(
            join(join(path, "budget"), "forward_rows"),
            f"must be at least {least}, for the caches, the scores of the start and the end and "
            f"the steps of one stage, not {limit}",
        )


def schedule_position(spec: RunSpec, ledger: Ledger, step: int) -> tuple[int, int]:
    """(steps done, total steps) for the learning rate schedule.

    With a budget of gradient steps, the schedule follows all spent steps, races included, so that
    it ends with the budget. With a budget of forward rows alone, it follows the spent rows in the
    same way: the total is the number of steps that the rows would pay for, less the caches.
    Otherwise it follows the steps of the trajectory.

    Args:
        spec: The run's spec.
        ledger: Usage and budget.
        step: Steps of the trajectory so far.
    """
    budget, usage = spec.budget, ledger.usage
    if budget.gradient_steps is not None:
        return usage.gradient_steps, budget.gradient_steps
    if budget.forward_rows is not None:
        setup, each = ledger.prices.setup.forward_rows, ledger.prices.step.forward_rows
        return (usage.forward_rows - setup) // each, max((budget.forward_rows - setup) // each, 1)
    return step, spec.stages.total_steps


def trajectory_left(spec: RunSpec, ledger: Ledger, step: int) -> int:
    """Steps left to the trajectory: what is left of the budget, or without one, of the stages.

    Args:
        spec: The run's spec.
        ledger: Usage and budget.
        step: Steps of the trajectory so far.
    """
    if takes_no_steps(spec):
        return 0
    if spec.budget.gradient_steps is None and spec.budget.forward_rows is None:
        return spec.stages.total_steps - step
    return ledger.steps_left


def share_spent(spec: RunSpec, usage: Usage, stage: int, step: int) -> float:
    """Progress of the run, from 0 to 1: the spent share of the budget limit nearest to exhaustion
    (a limit of 0 is none to spend); without limits the share of steps, and without steps the share
    of stages.

    Args:
        spec: The run's spec.
        usage: Usage so far.
        stage: The current stage.
        step: Steps of the trajectory so far.
    """
    limits = [(getattr(usage, limit), getattr(spec.budget, limit)) for limit in LIMITS]
    shares: list[float] = [spent / limit for spent, limit in limits if limit]
    if not shares and takes_no_steps(spec):
        shares = [stage / spec.stages.count]
    elif not shares:
        shares = [step / spec.stages.total_steps]
    return min(max(shares), 1.0)


def stage_length(spec: RunSpec, ledger: Ledger, stage: int, step: int) -> int:
    """Steps of a stage that begins now; the last stage takes all steps that are left."""
    left = trajectory_left(spec, ledger, step)
    return left if stage == spec.stages.count - 1 else min(spec.stages.length(stage), left)
