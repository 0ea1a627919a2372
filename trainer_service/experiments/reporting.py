"""Computes the report of an experiment from its runs alone. Pure functions."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mentorgrad.domain.experiment import (
    Arm,
    ArmReport,
    BaselineReport,
    Cell,
    Comparison,
    ExperimentSpec,
    Figure,
    Health,
    Report,
)
from mentorgrad.domain.run import Run, RunResult, Score
from trainer_service.experiments.statistics import (
    Figures,
    Stratum,
    differences,
    diverged,
    estimate,
    win_rate,
)
from trainer_service.experiments.verdict import Facts, verdict
from trainer_service.objectives.table import find_kind

PLAIN = "none"
"""Mentor name of the plain-training arm."""
MAX_REASON = 300
"""Characters kept of the reason why a run ended: a report holds those of many."""


@dataclass
class _Counts:
    """Results of the runs of one arm."""

    results: list[RunResult] = field(default_factory=list)
    failed: int = 0
    by_stratum: dict[Stratum, list[RunResult]] = field(default_factory=dict)
    figures: dict[Figure, dict[Stratum, dict[int, float]]] = field(
        default_factory=lambda: {figure: {} for figure in Figure}
    )

    def add(self, cell: Cell, result: RunResult | None) -> None:
        """Adds one run."""
        if result is None:
            self.failed += cell.state.is_final
            return
        stratum = (cell.task, cell.variation)
        self.results.append(result)
        self.by_stratum.setdefault(stratum, []).append(result)
        for figure, of_strata in self.figures.items():
            value: float | None = getattr(cell, figure.value)
            if value is not None:
                of_strata.setdefault(stratum, {})[cell.seed] = value


def build_report(
    experiment_id: str,
    spec: ExperimentSpec,
    runs: Sequence[Run],
    learning_rates: Mapping[str, float],
    complete: bool,
) -> Report:
    """Builds the report from the runs so far.

    Args:
        experiment_id: ID of the experiment.
        spec: The spec with all defaults filled in.
        runs: The runs so far, without tuning runs; their labels say where they belong.
        learning_rates: Arm → its tuned or given learning rate; the base's if absent.
        complete: Whether all runs have ended.
    """
    counts = {arm.name: _Counts() for arm in spec.arms}
    cells = tuple(map(_cell, runs))
    for cell, run in zip(cells, runs, strict=True):
        counts.setdefault(cell.arm, _Counts()).add(cell, run.result)
    arms = tuple(_arm_report(arm, counts[arm.name], spec, learning_rates) for arm in spec.arms)
    subject = spec.subject_arm
    compared = tuple(_comparisons(spec, counts))
    health = tuple(_health(spec, counts))
    primary = _primary(spec)
    tested = _baseline_scores(spec, cells, runs)
    strongest = _strongest_control(spec, counts, primary)
    return Report(
        experiment_id=experiment_id,
        name=spec.name,
        description=spec.description,
        complete=complete,
        subject=subject,
        strongest_control=strongest,
        verdict=verdict(
            Facts(
                spec=spec,
                complete=complete,
                plain=_plain_arm(spec),
                strongest_control=strongest,
                restarted=any(arm.arm == subject and arm.restarts > 0 for arm in arms),
                figure=primary,
                pooled={
                    item.other: item.difference
                    for item in compared
                    if item.figure is primary and not item.task and not item.variation
                },
                health=health,
                better_baselines=_better_baselines(counts, tested),
                failed=sum(arm.failed for arm in arms),
                diverged={
                    name: diverged(of_arm.figures[primary]) for name, of_arm in counts.items()
                },
            )
        ),
        arms=arms,
        comparisons=compared,
        health=health,
        cells=cells,
        gradient_steps_limit=spec.base.budget.gradient_steps or 0,
        evaluations_limit=spec.base.budget.evaluations or 0,
        versions=_versions(runs),
        baselines=tuple(_baselines(spec, counts, tested)),
        forward_rows_limit=spec.base.budget.forward_rows or 0,
    )


def _primary(spec: ExperimentSpec) -> Figure:
    """The test loss, because selection loss rewards overfitting the selection split. An objective
    without a task, such as a test function, has no rows to overfit and no test split."""
    kind = find_kind(spec.base.objective)
    has_rows = kind is None or kind.uses_task
    return Figure.TEST_LOSS if has_rows else Figure.SELECTION_LOSS


def _cell(run: Run) -> Cell:
    """A run's place in the design, from its labels, and its figures."""
    labels, result = run.spec.labels, run.result
    test = None if result is None else result.test
    return Cell(
        run_id=run.run_id,
        arm=labels.get("arm", ""),
        task=labels.get("task", ""),
        variation=labels.get("variation", ""),
        seed=run.spec.seed,
        test_loss=None if test is None else test.loss,
        test_accuracy=None if test is None else test.accuracy,
        selection_loss=None if result is None else result.returned.score.loss,
        state=run.state,
        reason=run.reason[:MAX_REASON],
    )


# -- arms -------------------------------------------------------------------------------------


def _arm_report(
    arm: Arm, counts: _Counts, spec: ExperimentSpec, learning_rates: Mapping[str, float]
) -> ArmReport:
    spent = [result.usage for result in counts.results]
    asked = sum(usage.mentor_calls for usage in spent)
    answered = sum(usage.usable_answers for usage in spent)
    seconds = sum(usage.train_time.total_seconds() for usage in spent)
    waited = sum(usage.mentor_time.total_seconds() for usage in spent)
    uses_llm = not arm.mentor.is_control
    return ArmReport(
        arm=arm.name,
        uses_llm=uses_llm,
        shuffled=arm.mentor.shuffled,
        learning_rate=learning_rates.get(arm.name, spec.base.optimizer.learning_rate),
        runs=len(counts.results),
        failed=counts.failed,
        **{figure.value: estimate(found) for figure, found in counts.figures.items()},
        gradient_steps=_mean(usage.gradient_steps for usage in spent),
        evaluations=_mean(usage.evaluations for usage in spent),
        forward_rows=_mean(usage.forward_rows for usage in spent),
        restarts=_mean(result.restarts_applied for result in counts.results),
        mentor_calls=_mean(usage.mentor_calls for usage in spent) if uses_llm else 0.0,
        tokens=_mean(usage.prompt_tokens + usage.reply_tokens for usage in spent),
        seconds=_mean(usage.train_time.total_seconds() for usage in spent),
        idle_share=min(1.0, waited / seconds) if seconds > 0 else 0.0,
        # a question answered by the fallback already counts as one without a usable answer
        fallback_share=max(0, asked - answered) / asked if asked else 0.0,
        changes=json.dumps(dict(arm.changes), sort_keys=True, default=str) if arm.changes else "",
    )


def _mean(values: Iterable[float]) -> float:
    """The mean; 0 for no values."""
    listed = list(values)
    return sum(listed) / len(listed) if listed else 0.0


def _plain_arm(spec: ExperimentSpec) -> str:
    """The plain-training arm; empty: there is none."""
    plain = (arm for arm in spec.arms if arm.mentor.name == PLAIN and not arm.changes)
    return next((arm.name for arm in plain), "")


def _strongest_control(spec: ExperimentSpec, counts: Mapping[str, _Counts], primary: Figure) -> str:
    """The control with the lowest mean loss over the strata that all controls have, without the
    plain arm and the subject; empty: no control has a figure."""
    losses = {
        arm.name: counts[arm.name].figures[primary]
        for arm in spec.arms
        if arm.mentor.is_control and arm.mentor.name != PLAIN and arm.name != spec.subject_arm
    }
    losses = {name: figures for name, figures in losses.items() if estimate(figures) is not None}
    if not losses:
        return ""
    shared = set.intersection(*(set(figures) for figures in losses.values()))
    means = {name: _mean_over(figures, shared) for name, figures in losses.items()}
    return min(means, key=lambda name: means[name])


def _mean_over(figures: Figures, shared: set[Stratum]) -> float:
    kept = {stratum: figures[stratum] for stratum in figures if stratum in shared or not shared}
    found = estimate(kept)
    return math.inf if found is None else found.mean


# -- comparisons ------------------------------------------------------------------------------


def _comparisons(spec: ExperimentSpec, counts: Mapping[str, _Counts]) -> Iterable[Comparison]:
    """The subject against every other arm: pooled, by variation, by task, and by both."""
    tasks, variations = [task.name for task in spec.tasks], _variations(spec, counts)
    places = [
        ("", ""),
        *(("", variation) for variation in variations),
        *((task, "") for task in tasks),
        *((task, variation) for task in tasks for variation in variations),
    ]
    for task, variation in places:
        for arm in spec.arms:
            if arm.name == spec.subject_arm:
                continue
            for figure in Figure:
                one, other = (
                    _within(counts[name].figures[figure], task, variation)
                    for name in (spec.subject_arm, arm.name)
                )
                difference = estimate(differences(one, other))
                if difference is not None:  # there is a pair of finite figures
                    rate = win_rate(one, other, figure is not Figure.TEST_ACCURACY)
                    yield Comparison(arm.name, figure, task, variation, difference, rate)


def _within(figures: Figures, task: str, variation: str) -> Figures:
    """The figures of a task and a variation; an empty name selects all."""
    return {
        stratum: by_seed
        for stratum, by_seed in figures.items()
        if task in ("", stratum[0]) and variation in ("", stratum[1])
    }


def _variations(spec: ExperimentSpec, counts: Mapping[str, _Counts]) -> list[str]:
    """Names of the spec's variations; if it has none, the name used for the base."""
    named = [variation.name for variation in spec.variations]
    return named or sorted({name for arm in counts.values() for _, name in arm.by_stratum})


# -- baselines --------------------------------------------------------------------------------

BaselineScores = Mapping[str, Mapping[Stratum, Mapping[int, Score]]]
"""Maps baseline to stratum to seed to score on *test*."""


def _baseline_scores(
    spec: ExperimentSpec, cells: Sequence[Cell], runs: Sequence[Run]
) -> BaselineScores:
    """One score per seed, since the arms share rows and tuned model. An arm that changes the base
    may have others, so it counts only where no other arm has a result."""
    own = {arm.name for arm in spec.arms if arm.changes}
    found: dict[str, dict[Stratum, dict[int, Score]]] = {}
    order = sorted(zip(cells, runs, strict=True), key=lambda of: (of[0].arm not in own, of[0].arm))
    for cell, run in order:
        for item in run.result.baselines if run.result else ():
            if item.test is not None:
                of_strata = found.setdefault(item.name, {})
                of_strata.setdefault((cell.task, cell.variation), {})[cell.seed] = item.test
    return found


def _baselines(
    spec: ExperimentSpec, counts: Mapping[str, _Counts], tested: BaselineScores
) -> Iterable[BaselineReport]:
    """Every baseline per task and variation."""
    for task, variation in itertools.product(spec.tasks, _variations(spec, counts)):
        stratum = (task.name, variation)
        for name, of_strata in tested.items():
            if stratum in of_strata:
                scores = of_strata[stratum].items()
                losses = {seed: score.loss for seed, score in scores}
                shares = {seed: of.accuracy for seed, of in scores if of.accuracy is not None}
                yield BaselineReport(
                    name, *stratum, estimate({stratum: losses}), estimate({stratum: shares})
                )


def _better_baselines(
    counts: Mapping[str, _Counts], tested: BaselineScores
) -> dict[str, tuple[str, ...]]:
    """Maps a baseline to the tasks on which its mean test loss is below that of every arm, whatever
    the variation."""
    found: dict[str, tuple[str, ...]] = {}
    for name, of_strata in tested.items():
        lower: dict[str, bool] = {}
        for stratum, scores in of_strata.items():
            figures = (of_arm.figures[Figure.TEST_LOSS] for of_arm in counts.values())
            arms = [_finite_mean(of_arm.get(stratum, {}).values()) for of_arm in figures]
            known = [loss for loss in arms if loss is not None]
            reached = _finite_mean(score.loss for score in scores.values())
            is_lower = bool(known) and reached is not None and reached < min(known)
            lower[stratum[0]] = lower.get(stratum[0], True) and is_lower
        tasks = tuple(sorted(task for task, holds in lower.items() if holds))
        if tasks:
            found[name] = tasks
    return found


# -- the rest ---------------------------------------------------------------------------------


def _health(spec: ExperimentSpec, counts: Mapping[str, _Counts]) -> Iterable[Health]:
    """Health per task and variation, for tasks with classes and tested plain runs."""
    plain = _plain_arm(spec)
    if not plain:
        return
    found = counts[plain].by_stratum
    for task, variation in itertools.product(spec.tasks, _variations(spec, counts)):
        results = found.get((task.name, variation), [])
        accuracy = _known(results, lambda result: result.test and result.test.accuracy)
        majority = _known(results, lambda result: result.majority_accuracy)
        if accuracy is None or majority is None:
            continue
        yield Health(
            task=task.name,
            variation=variation,
            arm=plain,
            accuracy=accuracy,
            majority_accuracy=majority,
            zero_shot_accuracy=_known(
                results, lambda result: result.zero_shot and result.zero_shot.accuracy
            ),
            healthy=accuracy > majority,
        )


def _known(results: Sequence[RunResult], read: Callable[[RunResult], object]) -> float | None:
    """The mean over the results that have a finite figure."""
    return _finite_mean(read(result) for result in results)


def _finite_mean(values: Iterable[object]) -> float | None:
    """The mean of the finite figures; None if there are none."""
    finite = [value for value in values if isinstance(value, float) and math.isfinite(value)]
    return _mean(finite) if finite else None


def _versions(runs: Sequence[Run]) -> dict[str, str]:
    """Maps each library to its version, or to all versions with which runs were created."""
    found: dict[str, dict[str, None]] = {}
    for run in runs:
        for library, version in run.versions.items():
            found.setdefault(library, {})[version] = None
    return {library: ", ".join(sorted(found[library])) for library in sorted(found)}
