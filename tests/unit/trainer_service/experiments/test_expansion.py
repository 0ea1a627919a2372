"""From an experiment to its runs: what each is made of, and that none is made twice."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mentorgrad.domain.advice import MentorInfo, ProposalKind, StrategyInfo
from mentorgrad.domain.experiment import Arm, ExperimentSpec, Tuning, Variation
from mentorgrad.domain.objective import (
    CausalPrompt,
    Function,
    LabelPrompt,
    Metric,
    Placement,
    Projection,
)
from mentorgrad.domain.run import Candidate, Run, RunResult, Score
from mentorgrad.domain.spec import Budget, MentorChoice, Optimizer, RunSpec, Stages, Task
from mentorgrad.errors import InvalidInput, Violation
from mentorgrad.serialization import to_dict
from trainer_service.control_plane.mentor_registry import MentorRegistry
from trainer_service.experiments import experiment_checks
from trainer_service.experiments.expansion import (
    Expansion,
    Place,
    RunPurpose,
    changed,
    distinct_places,
    main_places,
    tuning_places,
)
from trainer_service.experiments.experiment_checks import (
    MANY_SNAPSHOTS,
    check_mentors,
    check_specs,
    doubts,
)
from trainer_service.experiments.tuning import choose_rates, given_rates

SPEC = ExperimentSpec(
    name="which",
    base=RunSpec(
        LabelPrompt(n_tokens=4, initial_text="words"),
        stages=Stages(3, 10),
        budget=Budget(gradient_steps=100),
        labels={"team": "a"},
    ),
    tasks=(Task("tickets"), Task("mail", shots=2)),
    variations=(
        Variation("few", {"task": {"shots": 4}, "optimizer": {"batch_size": 8}}),
        Variation("more", {"objective": {"label_prompt": {"n_tokens": 6}}}),
    ),
    arms=(
        Arm("none"),
        Arm("noise", MentorChoice("perturb", options={"scale": 0.5}), {"stages": {"count": 5}}),
    ),
    seeds=(3, 1),
)
TUNED = dataclasses.replace(SPEC, tuning=Tuning((0.1, 0.01), Task("tune"), (7, 8)))


def expanded(spec: ExperimentSpec, rates: dict[str, float] | None = None) -> dict[str, RunSpec]:
    expansion = Expansion("x", spec)
    places = (*tuning_places(spec), *main_places(spec, rates or {}))
    return {place.request_id("x"): expansion.run_spec(place) for place in places}


def refused(spec: ExperimentSpec, check_data: Any = lambda _: "") -> tuple[Violation, ...]:
    with pytest.raises(InvalidInput) as caught:
        check_specs(spec, check_data)
    return caught.value.violations


# -- what a run is made of --------------------------------------------------------------------


def test_a_cell_is_base_task_variation_mentor_and_changes_in_this_order() -> None:
    place = Place(RunPurpose.MAIN, "mail", "few", "noise", 3, 0.25)
    made = Expansion("x", SPEC).run_spec(place)
    assert made == dataclasses.replace(
        SPEC.base,
        task=Task("mail", shots=4),
        optimizer=Optimizer(batch_size=8, learning_rate=0.25),
        mentor=SPEC.arms[1].mentor,
        stages=Stages(5, 10),
        seed=3,
        name="which/noise/mail/few/seed3",
        labels={
            "team": "a",
            "experiment": "x",
            "phase": "main",
            "arm": "noise",
            "task": "mail",
            "variation": "few",
        },
    )


def test_a_nested_message_changed_in_part_keeps_what_its_objective_has() -> None:
    change = {"objective": {"causal_prompt": {"projection": {"metric": "l2"}}}}
    expected = Projection(Metric.L2, whole_words=False, placement=Placement.LAST)
    for base in (CausalPrompt(n_tokens=5), LabelPrompt()):
        made = changed(RunSpec(objective=base), change, "arms[0].changes").objective
        assert isinstance(made, CausalPrompt)
        assert made.projection == expected


def test_a_change_of_a_unions_member_keeps_its_other_fields_and_another_member_none() -> None:
    more = Expansion("x", SPEC).run_spec(Place(RunPurpose.MAIN, "tickets", "more", "none", 0))
    assert more.objective == LabelPrompt(n_tokens=6, initial_text="words")
    other = {"objective": {"function": {"dimensions": 5}}}
    assert changed(SPEC.base, other, "").objective == Function(dimensions=5)
    assert changed(SPEC.base, {"objective": "function"}, "").objective == Function()
    same = changed(SPEC.base, {"objective": "label_prompt"}, "")
    assert same.objective == SPEC.base.objective


def test_options_are_merged_as_free_mappings() -> None:
    base = dataclasses.replace(SPEC.base, mentor=MentorChoice("m", options={"a": 1, "b": {"c": 2}}))
    merged = changed(base, {"mentor": {"options": {"b": {"d": 3}}}}, "")
    assert merged.mentor.options == {"a": 1, "b": {"c": 2, "d": 3}}


def test_tuning_is_on_its_own_task_without_variations() -> None:
    made = Expansion("x", TUNED).run_spec(Place(RunPurpose.TUNING, "tune", "", "noise", 7, 0.01))
    assert made.task == Task("tune")
    assert made.optimizer.learning_rate == 0.01
    assert made.labels == {
        "team": "a",
        "experiment": "x",
        "phase": "tuning",
        "arm": "noise",
        "task": "tune",
    }


def test_without_variations_there_is_the_base() -> None:
    places = list(main_places(dataclasses.replace(SPEC, variations=()), {}))
    assert {place.variation for place in places} == {"base"}


def test_arms_advance_together_seed_by_seed() -> None:
    places = list(main_places(SPEC, {}))
    assert [place.arm for place in places[:4]] == ["none", "noise"] * 2
    assert [place.seed for place in places] == [3] * 8 + [1] * 8


def test_a_long_name_is_cut_and_the_run_stays_valid() -> None:
    spec = dataclasses.replace(SPEC, name="x" * 200)
    check_specs(spec, lambda _: "")
    assert all(len(made.name) == 200 for made in expanded(spec).values())


# -- never twice ------------------------------------------------------------------------------

NAMES = st.lists(st.text("abc1.-", min_size=1, max_size=4), min_size=2, max_size=4, unique=True)
SPECS = st.builds(
    lambda arms, tasks, variations, seeds, rates: ExperimentSpec(
        base=RunSpec(Function()),
        tasks=tuple(map(Task, tasks)),
        variations=tuple(map(Variation, variations)),
        arms=tuple(map(Arm, arms)),
        seeds=tuple(seeds),
        tuning=Tuning(tuple(rates), Task(tasks[0]), tuple(seeds)),
    ),
    NAMES,
    NAMES,
    NAMES,
    st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=3, unique=True),
    st.lists(st.floats(1e-6, 1.0), max_size=3, unique=True),
)


@pytest.mark.slow
@given(SPECS)
def test_every_run_has_a_key_of_its_own_and_the_same_one_again(spec: ExperimentSpec) -> None:
    once = expanded(spec)
    assert len(once) == spec.runs
    assert expanded(spec) == once
    assert len({json.dumps(to_dict(made), sort_keys=True) for made in once.values()}) == spec.runs
    assert all(len(key) <= 200 for key in once)


@given(SPECS, st.sampled_from(["none", "other"]))
def test_keys_differ_between_experiments_and_learning_rates(spec: Any, name: str) -> None:
    places = list(main_places(spec, {}))
    keys = {place.request_id(name) for place in places}
    assert keys.isdisjoint(place.request_id("another") for place in places)
    rated = main_places(spec, {arm.name: 0.125 for arm in spec.arms})
    assert keys.isdisjoint(place.request_id(name) for place in rated)


CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "optimizer": st.fixed_dictionaries(
            {}, optional={"batch_size": st.integers(1, 9), "name": st.just("sgd")}
        ),
        "stages": st.fixed_dictionaries({"count": st.integers(1, 9)}),
        "objective": st.fixed_dictionaries(
            {"label_prompt": st.fixed_dictionaries({"n_tokens": st.integers(4, 9)})}
        ),
    },
)


def _leaves(tree: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    if not isinstance(tree, dict) or not tree:
        return {path: tree} if not isinstance(tree, dict) else {}
    return {k: v for n, inner in tree.items() for k, v in _leaves(inner, (*path, n)).items()}


@given(CHANGES, CHANGES)
def test_what_is_changed_is_changed_and_nothing_else(first: Any, second: Any) -> None:
    both = changed(changed(SPEC.base, first, ""), second, "")
    expected = _leaves(to_dict(SPEC.base)) | _leaves(first) | _leaves(second)
    assert _leaves(to_dict(both)) == expected


# -- what is refused, and where ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "changes", "field"),
    [
        ("arms", {"optimizer": {"lerning_rate": 1.0}}, "optimizer.lerning_rate"),
        ("arms", {"optimiser": {}}, "optimiser"),
        ("arms", {"stages": 3}, "stages"),
        ("arms", {"stages": {"count": 0}}, "stages.count"),
        ("arms", {"stages": {"count": "many"}}, "stages.count"),
        ("arms", {"objective": {"nothing": {}}}, "objective.nothing"),
        ("arms", {"objective": {"function": {}, "label_prompt": {}}}, "objective"),
        ("arms", {"budget": {"gradient_steps": 5}}, "budget"),
        ("arms", {"task": {"shots": 5}}, "task"),
        ("arms", {"seed": 5}, "seed"),
        ("arms", {"mentor": {"name": "x"}}, "mentor"),
        ("variations", {"mentor": {"name": "x"}}, "mentor"),
        ("variations", {"labels": {}}, "labels"),
        ("variations", {"task": {"shots": -1}}, "task.shots"),
        ("variations", {"task": {"name": "other"}}, "task.name"),
        ("variations", {"budget": {"gradient_steps": 9}}, "budget.gradient_steps"),
        ("variations", {"stages": {"steps": 101}}, "budget.gradient_steps"),
    ],
)
def test_a_wrong_change_is_named_by_its_place(part: str, changes: Any, field: str) -> None:
    items = getattr(SPEC, part)
    wrong = (items[0], dataclasses.replace(items[1], changes=changes))
    found = [item.field for item in refused(dataclasses.replace(SPEC, **{part: wrong}))]
    path = f"spec.{part}[1].changes.{field}"
    if changes == {"stages": {"steps": 101}}:  # its budget is the base's
        path = "spec.base.budget.gradient_steps"
    assert path in found


def test_what_data_are_wrong_is_told_of_the_field_that_names_them() -> None:
    def no_mail(spec: RunSpec) -> str:
        if spec.task.name == "mail":
            raise InvalidInput.field("spec.task.name", "is not there")
        if isinstance(spec.objective, LabelPrompt) and spec.objective.n_tokens == 6:
            raise InvalidInput.field("spec.objective.label_prompt.n_tokens", "too long")
        raise InvalidInput.field("spec.objective.label_prompt.encoder", "is not there")

    found = {item.field for item in refused(TUNED, no_mail)}
    assert found == {
        "spec.base.objective.label_prompt.encoder",
        "spec.tasks[1].name",
        "spec.variations[1].changes.objective.label_prompt.n_tokens",
    }


def test_data_are_looked_at_once_and_not_for_every_arm_and_seed() -> None:
    looked: list[RunSpec] = []
    check_specs(TUNED, lambda spec: looked.append(spec) or "")
    # Two tasks with two variations, and the one of the tuning.
    assert len(looked) == 5


def test_labels_and_tuned_rates_are_the_experiments_own() -> None:
    base = dataclasses.replace(SPEC.base, labels={"arm": "x"})
    assert [v.field for v in refused(dataclasses.replace(SPEC, base=base))] == ["spec.base.labels"]
    base = dataclasses.replace(SPEC.base, labels={str(n): "" for n in range(60)})
    assert [v.field for v in refused(dataclasses.replace(SPEC, base=base))] == ["spec.base.labels"]
    arms = (SPEC.arms[0], Arm("own", changes={"optimizer": {"learning_rate": 0.5}}))
    check_specs(dataclasses.replace(SPEC, arms=arms), lambda _: "")
    found = refused(dataclasses.replace(TUNED, arms=arms))
    assert [v.field for v in found] == ["spec.arms[1].changes.optimizer.learning_rate"]
    assert given_rates(dataclasses.replace(SPEC, arms=arms)) == {"own": 0.5}


async def test_an_arm_whose_strategy_cannot_propose_to_one_of_its_objectives_is_refused() -> None:
    words = StrategyInfo("gpo", kinds=(ProposalKind.TEXT,))

    async def answer(target: str) -> MentorInfo:
        return MentorInfo(strategies=(words,))

    mentors = MentorRegistry({"small": "here:1"}, answer)
    spec = dataclasses.replace(SPEC, arms=(Arm("none"), Arm("small", MentorChoice("small", "gpo"))))
    assert await check_mentors(spec, mentors, check_specs(spec, lambda _: "")) == []
    tuned = Variation("tuned", {"objective": {"lora": {}}})
    spec = dataclasses.replace(spec, variations=(*spec.variations, tuned))
    with pytest.raises(InvalidInput, match="gpo cannot propose") as caught:
        await check_mentors(spec, mentors, check_specs(spec, lambda _: ""))
    assert caught.value.reason == "UNSUPPORTED_KIND"
    assert [v.field for v in caught.value.violations] == ["spec.arms[1].mentor.strategy"]


def test_what_would_take_for_ever_to_look_at_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(experiment_checks, "MAX_DATA", 4)
    assert "reads more than 4" in refused(TUNED)[0].description
    monkeypatch.setattr(experiment_checks, "MAX_KINDS", 7)
    assert "8 combinations" in refused(TUNED, None)[0].description


def test_the_distinct_places_are_one_of_each_kind() -> None:
    places = list(distinct_places(TUNED))
    assert len(places) == len(set(places)) == 2 + 2 * 2 * 2
    assert {place.seed for place in places} == {7, 3}


def test_doubts_are_about_unlimited_steps_and_many_snapshots() -> None:
    unlimited = dataclasses.replace(SPEC, base=RunSpec(Function()), seeds=(0,))
    assert ["budget.gradient_steps" in line for line in doubts(unlimited)] == [True]
    assert list(doubts(SPEC)) == []
    many = dataclasses.replace(SPEC, seeds=tuple(range(MANY_SNAPSHOTS // 30)))
    assert ["raw tensors" in line for line in doubts(many)] == [True]
    no_steps = dataclasses.replace(many.base, budget=Budget(gradient_steps=0))
    assert list(doubts(dataclasses.replace(many, base=no_steps))) == []


# -- learning rates ---------------------------------------------------------------------------


def tuned(arm: str, rate: float, loss: float | None) -> Run:
    spec = RunSpec(Function(), optimizer=Optimizer(learning_rate=rate), labels={"arm": arm})
    result = None if loss is None else RunResult(Candidate(score=Score(loss)))
    return Run(spec=spec, result=result)


def test_the_lowest_mean_wins_for_each_arm_by_itself() -> None:
    runs = [
        *(tuned("none", 0.1, loss) for loss in (1.0, 3.0)),
        *(tuned("none", 0.01, loss) for loss in (1.5, 1.6)),
        *(tuned("noise", 0.1, loss) for loss in (0.2, 0.2)),
        *(tuned("noise", 0.01, loss) for loss in (0.2, 0.2)),
    ]
    assert choose_rates(TUNED, runs) == {"none": 0.01, "noise": 0.1}


@pytest.mark.parametrize("lost", [None, float("nan"), float("inf")])
def test_a_rate_that_failed_or_diverged_once_loses(lost: float | None) -> None:
    runs = [
        *(tuned("none", 0.1, loss) for loss in (0.1, lost)),
        *(tuned("none", 0.01, loss) for loss in (9.0, 9.0)),
        *(tuned("noise", rate, lost) for rate in (0.1, 0.01)),
    ]
    assert choose_rates(TUNED, runs) == {"none": 0.01}
