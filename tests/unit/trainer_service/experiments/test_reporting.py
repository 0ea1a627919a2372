from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mentorgrad.domain.experiment import Arm, Comparison, Figure, Report
from mentorgrad.domain.objective import External, Function
from mentorgrad.domain.run import Baseline, Run, RunResult, RunState, Score, Usage
from mentorgrad.domain.spec import MentorChoice, RunSpec
from mentorgrad.serialization import from_dict, to_dict
from tests.support import own_objective
from tests.support.counted_runs import ARMS, all_runs, counted, experiment, result
from trainer_service.experiments.reporting import build_report
from trainer_service.objectives.table import OBJECTIVES

NO_EFFECT = dict.fromkeys((arm.name for arm in ARMS), 0.0)


def _report(
    cells: Sequence[Run],
    arms: Sequence[Arm] = ARMS,
    seeds: int = 10,
    complete: bool = True,
    base: RunSpec | None = None,
) -> Report:
    spec = experiment(arms, seeds=seeds, base=base)
    return build_report("exp-1", spec, cells, {"mentor": 0.02}, complete)


def _pooled(report: Report, other: str, figure: Figure = Figure.TEST_LOSS) -> Comparison:
    (found,) = [
        item
        for item in report.comparisons
        if (item.other, item.figure, item.task, item.variation) == (other, figure, "", "")
    ]
    return found


# -- figures ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_differences_are_exact_and_stand_at_every_level() -> None:
    effects = {"mentor": -0.3, "none": 0.0, "random_tokens": -0.1, "perturb": -0.2, "shuffled": 0.1}
    report = _report(all_runs(experiment(), effects, noise=0.0))
    for item in report.comparisons:
        if item.figure is not Figure.TEST_ACCURACY:
            assert item.difference.mean == pytest.approx(-0.3 - effects[item.other])
            assert item.win_rate == 1.0
        else:
            assert (item.difference.mean, item.win_rate) == (0.0, 0.5)
    places = list(dict.fromkeys((item.task, item.variation) for item in report.comparisons))
    assert places[:5] == [("", ""), ("", "few"), ("", "many"), ("tickets", ""), ("moods", "")]
    assert len(places) == 9
    assert len(report.comparisons) == 9 * 4 * 3
    counts = {(item.task, item.variation): item.difference.count for item in report.comparisons}
    assert [counts[place] for place in places] == [40, 20, 20, 20, 20, 10, 10, 10, 10]
    assert report.strongest_control == "perturb"
    assert from_dict(Report, to_dict(report)) == report


def test_what_an_arm_cost_is_a_mean_over_its_runs() -> None:
    first = Usage(
        gradient_steps=100,
        evaluations=10,
        mentor_calls=3,
        usable_answers=1,
        fallbacks=2,
        prompt_tokens=900,
        reply_tokens=100,
        mentor_time=timedelta(seconds=15),
        train_time=timedelta(seconds=20),
    )
    second = dataclasses.replace(
        first,
        gradient_steps=200,
        mentor_calls=1,
        usable_answers=1,
        fallbacks=0,
        mentor_time=timedelta(0),
        train_time=timedelta(seconds=40),
    )
    cells = [
        counted("mentor", 0, result(1.0, restarts=3, usage=first)),
        counted("mentor", 1, result(2.0, restarts=0, usage=second)),
        counted("mentor", 2, None),
        counted("mentor", 3, None, state=RunState.RUNNING),
        counted("perturb", 0, result(1.0, usage=first)),
    ]
    mentor, none, _, perturb, shuffled = _report(cells).arms
    assert (mentor.runs, mentor.failed, mentor.learning_rate) == (2, 1, 0.02)
    assert (mentor.gradient_steps, mentor.evaluations, mentor.restarts) == (150, 10, 1.5)
    assert (mentor.mentor_calls, mentor.tokens, mentor.seconds) == (2, 1000, 30)
    assert mentor.idle_share == pytest.approx(15 / 60)
    assert mentor.fallback_share == pytest.approx(2 / 4)  # not 4 / 4: each question counts once
    assert mentor.test_loss is not None
    assert mentor.test_loss.mean == 1.5
    assert (mentor.uses_llm, mentor.shuffled, shuffled.shuffled) == (True, False, True)
    assert (perturb.uses_llm, perturb.mentor_calls) == (False, 0)
    assert (none.runs, none.test_loss, none.seconds, none.idle_share) == (0, None, 0, 0)
    assert none.learning_rate == RunSpec().optimizer.learning_rate


def test_cells_limits_versions_and_changes_are_told() -> None:
    changed = Arm("alone", MentorChoice(name="small"), {"stages": {"steps": 0}})
    cells = [counted("none", 0, result(1.0)), counted("alone", 0, None)]
    newer = {"torch": "2.9.0", "numpy": "2.3"}
    cells[1] = dataclasses.replace(cells[1], versions=newer)
    report = _report(cells, (ARMS[0], ARMS[1], changed))
    assert report.versions == {"numpy": "2.3", "torch": "2.8.0, 2.9.0"}
    assert (report.gradient_steps_limit, report.evaluations_limit) == (260, 200)
    assert [arm.changes for arm in report.arms] == ["", "", '{"stages": {"steps": 0}}']
    done, failed = report.cells
    assert (done.run_id, done.state) == ("none-tickets-few-0", RunState.SUCCEEDED)
    assert (done.test_loss, done.test_accuracy, done.selection_loss) == (1.0, 0.6, 0.9)
    assert (failed.state, failed.test_loss, failed.selection_loss) == (RunState.FAILED, None, None)


def test_controls_are_ranked_over_what_all_of_them_have_done() -> None:
    """Over all runs `perturb` looks better: it has done the easy task only."""
    cells = [
        counted(arm, seed, result(loss), task=task)
        for seed in range(3)
        for arm, task, loss in (
            ("random_tokens", "tickets", 1.0),
            ("random_tokens", "moods", 5.0),
            ("perturb", "tickets", 1.5),
        )
    ]
    assert _report(cells).strongest_control == "random_tokens"


def test_health_is_of_the_plain_arm_by_place() -> None:
    cells = [
        counted("none", 0, result(1.0, accuracy=0.2)),
        counted("none", 1, result(1.0, accuracy=0.25)),
        counted("mentor", 0, result(1.0, accuracy=0.9)),
        counted("none", 0, result(1.0, accuracy=0.5, majority=0.4), task="moods"),
        counted("none", 0, result(1.0, accuracy=None), task="moods", variation="many"),
    ]
    sick, well = _report(cells).health
    assert (sick.task, sick.variation, sick.arm, sick.healthy) == ("tickets", "few", "none", False)
    assert sick.accuracy == pytest.approx(0.225)
    assert (sick.majority_accuracy, sick.zero_shot_accuracy) == (0.25, 0.3)
    assert (well.task, well.accuracy, well.healthy) == ("moods", 0.5, True)
    changed = (ARMS[0], Arm("none", changes={"optimizer": {"name": "sgd"}}))
    assert _report(cells, changed).health == ()


def _with(run: Run, *baselines: Baseline) -> Run:
    assert run.result is not None
    return dataclasses.replace(run, result=dataclasses.replace(run.result, baselines=baselines))


def _probe(loss: float, accuracy: float | None = 0.9) -> Baseline:
    return Baseline("linear_probe", Score(loss, accuracy, 100), 48)


def test_baselines_count_once_per_seed() -> None:
    """The arms share them; an arm with changes has others, which count where it is alone."""
    arms = (*ARMS, Arm("wide", changes={"task": {"shots": 99}}))
    cells = [
        _with(counted(arm, seed, result(1.0)), _probe(0.2 + 0.1 * seed), Baseline("prototypes"))
        for arm in ("none", "mentor")
        for seed in range(2)
    ]
    cells += [_with(counted("wide", seed, result(1.0)), _probe(9.0)) for seed in (1, 2)]
    (probe,) = _report(cells, arms).baselines
    assert (probe.baseline, probe.task, probe.variation) == ("linear_probe", "tickets", "few")
    assert probe.test_loss is not None
    assert probe.test_loss.mean == pytest.approx((0.2 + 0.3 + 9.0) / 3)
    assert probe.test_loss.count == 3
    assert probe.test_accuracy is not None
    assert probe.test_accuracy.mean == pytest.approx(0.9)
    assert _report(cells[::-1], arms).baselines == (probe,)


def test_the_verdict_names_a_baseline_that_no_arm_reaches() -> None:
    def verdict(easy: float, hard: float) -> str:
        cells = [
            _with(run, _probe(easy if run.spec.labels["task"] == "tickets" else hard, None))
            for run in all_runs(experiment(), NO_EFFECT, noise=0.0)
        ]
        return _report(cells).verdict

    caveat = "the baseline `linear_probe` has a lower test loss than every arm on "
    assert f"{caveat}`tickets`." in verdict(-9.0, 99.0)
    assert f"{caveat}`moods`, `tickets`." in verdict(-9.0, -9.0)
    assert caveat not in verdict(99.0, 99.0)


# -- the verdict ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("effects", "beginning"),
    [
        (
            {"mentor": -0.3, "perturb": -0.1},
            "The mentor helps: its test loss is lower than that of plain training `none`, the "
            "strongest LLM-free control `perturb`, `random_tokens` and `shuffled` (",
        ),
        ({}, "The mentor adds nothing here: no gain over plain training is shown ("),
        ({"mentor": 0.3}, "The mentor harms: its test loss is higher than plain training's ("),
        (
            {"mentor": -0.3, "shuffled": -0.3},
            "Restarts help, but the mentor's words add nothing over `shuffled` (",
        ),
        (
            {"mentor": -0.3, "perturb": -0.6},
            "Restarts help, but the mentor's words add nothing: the strongest LLM-free control "
            "`perturb` did better (",
        ),
        (
            {"mentor": -0.3, "perturb": -0.4, "random_tokens": -0.3, "shuffled": -0.3},
            "Restarts help, but the mentor's words add nothing: the strongest LLM-free control "
            "`perturb` did better (",
        ),
        (
            {"mentor": -0.3, "perturb": -0.28, "random_tokens": -0.28, "shuffled": -0.1},
            "Restarts help, but the mentor's words add nothing over the strongest LLM-free control "
            "`perturb` and `random_tokens` (",
        ),
    ],
)
def test_the_verdict_says_what_the_figures_say(effects: dict[str, float], beginning: str) -> None:
    report = _report(all_runs(experiment(), NO_EFFECT | effects, noise=0.05))
    assert report.verdict.startswith(beginning)
    assert report.verdict.count(". ") == 0
    assert report.verdict.endswith(")).") or report.verdict.endswith(").")
    assert "`shuffled`" in report.verdict
    assert f"`{report.strongest_control}`" in report.verdict
    assert f"{_pooled(report, 'none').difference.mean:+.4f}".replace("-", "−") in report.verdict


def test_a_real_gain_within_the_noise_is_not_claimed() -> None:
    effects = NO_EFFECT | {"mentor": -0.01}
    report = _report(all_runs(experiment(), effects, noise=0.5))
    assert report.verdict.startswith("The mentor adds nothing here")


def test_the_verdict_says_what_weakens_it() -> None:
    cells = all_runs(experiment(seeds=4), NO_EFFECT | {"mentor": -0.3})
    cells[1] = counted("none", 0, None)
    report = _report([*cells[:-5], *cells[-5:-3]], ARMS, seeds=4, complete=False)
    assert report.verdict.startswith("So far the mentor helps")
    assert "not all runs have ended" in report.verdict
    assert "only 4 seeds were run" in report.verdict
    assert "1 run ended without a result" in report.verdict
    sick = [
        dataclasses.replace(run, result=result(run.result.test.loss, accuracy=0.2))
        for run in cells
        if run.result is not None and run.result.test is not None
    ]
    caveat = "plain training does not beat the most frequent class on `tickets`, `moods`"
    assert caveat in _report(sick, seeds=4).verdict


def test_without_its_rivals_a_gain_is_not_called_help() -> None:
    cells = all_runs(experiment(), NO_EFFECT | {"mentor": -0.3})

    def of(*names: str) -> str:
        arms = [arm for arm in ARMS if arm.name in names]
        return _report([run for run in cells if run.spec.labels["arm"] in names], arms).verdict

    assert of("mentor", "none").startswith(
        "Whether the mentor helps is not known: there is no LLM-free control with restarts ("
    )
    assert of("mentor", "perturb", "shuffled").startswith(
        "Whether the mentor helps is not known: there is no plain arm (mentor `none`"
    )
    assert of("mentor", "none", "perturb").startswith("The mentor helps")
    assert "no `shuffled` arm tests whether the scores matter" in of("mentor", "none", "perturb")
    assert "no `shuffled` arm" not in of("mentor", "none", "perturb", "shuffled")


def test_a_subject_without_an_llm_goes_by_its_name() -> None:
    arms = (ARMS[1], ARMS[3])
    spec = dataclasses.replace(experiment(arms), subject="perturb")
    better = build_report("e", spec, all_runs(spec, {"perturb": -0.3}), {}, True)
    assert better.verdict.startswith(
        "`perturb` helps: its test loss is lower than that of plain training `none` ("
    )
    assert better.strongest_control == ""
    same = build_report("e", spec, all_runs(spec, {}), {}, True)
    assert same.verdict.startswith("`perturb` adds nothing here")
    plain = dataclasses.replace(spec, subject="none")
    assert "there is no plain arm" in build_report("e", plain, all_runs(spec, {}), {}, True).verdict


def test_an_llm_alone_is_not_said_to_restart() -> None:
    alone = Arm("alone", MentorChoice(name="small"), {"stages": {"steps": 0}})
    arms = (alone, *ARMS[1:4])
    spec = experiment(arms)
    effects = {"alone": -0.3, "perturb": -0.3}
    cells = [
        dataclasses.replace(run, result=dataclasses.replace(run.result, restarts_applied=0))
        for run in all_runs(spec, effects)
        if run.result is not None
    ]
    verdict = build_report("e", spec, cells, {}, True).verdict
    assert verdict.startswith("The mentor beats plain training, but the mentor's words add nothing")


def test_an_objective_without_a_task_is_judged_by_its_own_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cells = [
        dataclasses.replace(
            run,
            result=dataclasses.replace(
                run.result, test=None, zero_shot=None, majority_accuracy=None
            ),
        )
        for run in all_runs(experiment(), NO_EFFECT | {"mentor": -0.3, "perturb": -0.1})
        if run.result is not None
    ]
    monkeypatch.setitem(OBJECTIVES, own_objective.KIND.name, own_objective.KIND)
    for objective in (Function(), External("bowl")):
        report = _report(cells, base=RunSpec(objective=objective))
        assert report.verdict.startswith("The mentor helps: its selection loss is lower than")
    assert report.strongest_control == "perturb"
    assert report.health == ()
    untested = _report(cells)
    assert untested.verdict.startswith(
        "Whether the mentor helps is not known: no pair of runs with plain training `none`"
    )
    assert all(arm.test_loss is None for arm in untested.arms)
    assert _pooled(untested, "none", Figure.SELECTION_LOSS).difference.count == 40


# -- what goes wrong --------------------------------------------------------------------------


def test_runs_that_diverged_are_left_out_and_told() -> None:
    cells = all_runs(experiment(), NO_EFFECT | {"mentor": -0.3})
    cells[0] = counted("mentor", 0, result(math.nan))
    cells[7] = counted("random_tokens", 1, result(math.inf))
    report = _report(cells)
    assert report.verdict.startswith("The mentor cannot be said to help: some of its runs diverged")
    assert "2 runs diverged and are excluded from the means" in report.verdict
    against = _pooled(report, "none")
    assert against.difference.count == 39
    assert against.win_rate == pytest.approx(39 / 40)
    assert _pooled(report, "random_tokens").win_rate == pytest.approx(39 / 40)
    assert report.arms[0].runs == 40
    assert report.arms[0].test_loss is not None
    assert report.arms[0].test_loss.count == 39


def test_one_seed_says_nothing_of_chance() -> None:
    spec = experiment(seeds=1)
    report = build_report("e", spec, all_runs(spec, {"mentor": -9.0}), {}, True)
    assert report.verdict.startswith(
        "Whether the mentor helps is not known: one seed per task gives no confidence interval ("
    )
    assert "only 1 seed was run" in report.verdict
    assert _pooled(report, "none").difference.low == -math.inf


def test_an_experiment_without_a_run_yet() -> None:
    report = _report([], complete=False)
    assert report.comparisons == report.cells == report.health == ()
    assert report.strongest_control == ""
    assert report.verdict.startswith("Whether the mentor helps is not known: no pair of runs")
    assert [arm.runs for arm in report.arms] == [0] * 5


def test_an_arm_that_always_fails_leaves_the_question_open() -> None:
    cells = [
        dataclasses.replace(run, state=RunState.FAILED, result=None)
        if run.spec.labels["arm"] == "shuffled"
        else run
        for run in all_runs(experiment(), NO_EFFECT | {"mentor": -0.3})
    ]
    verdict = _report(cells).verdict
    assert "helps is not known: no pair of runs with `shuffled` has a test loss" in verdict
    assert "40 runs ended without a result" in verdict


_LOSSES = st.none() | st.floats(width=64)
_RESULTS = st.none() | st.builds(
    lambda loss, accuracy, majority: result(loss, accuracy=accuracy, majority=majority),
    _LOSSES,
    st.none() | st.floats(0, 1),
    st.none() | st.floats(0, 1),
)
_PLACES = st.tuples(
    st.sampled_from([arm.name for arm in ARMS]),
    st.integers(0, 2),
    st.sampled_from(["tickets", "moods"]),
    st.sampled_from(["few", "many"]),
)


@given(st.dictionaries(_PLACES, st.tuples(_RESULTS, st.sampled_from(RunState)), max_size=40))
def test_whatever_runs_gave_there_is_a_report(
    runs: dict[tuple[str, int, str, str], tuple[RunResult | None, RunState]],
) -> None:
    cells = [
        counted(arm, seed, gave, task=task, variation=variation, state=state)
        for (arm, seed, task, variation), (gave, state) in runs.items()
    ]
    report = _report(cells, complete=False)
    assert report.verdict.endswith(".")
    assert len(report.cells) == len(cells)
    for item in report.comparisons:
        assert item.difference.count > 0
        assert 0.0 <= item.win_rate <= 1.0


def test_the_order_in_which_runs_ended_changes_nothing() -> None:
    cells = all_runs(experiment(), NO_EFFECT | {"mentor": -0.3})
    there, back = _report(cells), _report(cells[::-1])
    assert there.verdict == back.verdict
    assert there.health == back.health
    for one, other in zip(there.comparisons, back.comparisons, strict=True):
        assert one.difference.low == pytest.approx(other.difference.low)
        assert one.difference.high == pytest.approx(other.difference.high)
    assert _report(cells) == there
