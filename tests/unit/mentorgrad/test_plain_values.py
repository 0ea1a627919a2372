"""What users put into the SDK's dataclasses: other libraries' numbers, and what does not fit."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, cast

import numpy as np
import pytest
import torch

from mentorgrad.domain.advice import ProposalRequest
from mentorgrad.domain.experiment import Arm, ExperimentSpec
from mentorgrad.domain.objective import Function
from mentorgrad.domain.query import RunFilter
from mentorgrad.domain.run import Candidate, CandidateSource, Score, Snapshot
from mentorgrad.domain.spec import MentorChoice, Optimizer, RunSpec, Stages, Task
from mentorgrad.errors import InvalidInput
from mentorgrad.field_limits import check
from mentorgrad.numbers import integer, real
from mentorgrad.serialization import from_dict, merged, to_dict
from mentorgrad.wire.codec import from_message, to_message

INTEGERS = [
    3,
    np.int64(3),
    np.int8(3),
    np.uint16(3),
    np.array(3),
    np.array([3]),
    torch.tensor(3),
    torch.tensor([3], dtype=torch.uint8),
]
NUMBERS = [
    *INTEGERS,
    3.0,
    np.float64(3),
    np.float32(3),
    np.float16(3),
    Decimal(3),
    Fraction(3),
    torch.tensor(3.0),
    torch.tensor(3.0, dtype=torch.bfloat16),
    torch.tensor(3.0, requires_grad=True),
]
NONE = [
    True,
    np.True_,
    torch.tensor(True),
    "3",
    b"3",
    None,
    [3],
    3j,
    np.array([3, 3]),
    np.array([]),
    torch.ones(2),
    np.str_("3"),
    np.datetime64(3, "s"),
    np.ma.masked,
    np.ma.array(3, mask=True),
    pytest.param(object(), id="object"),
]


@pytest.mark.parametrize("value", INTEGERS, ids=repr)
def test_integers_of_any_library_are_integers(value: Any) -> None:
    assert (integer(value), type(integer(value))) == (3, int)


@pytest.mark.parametrize("value", NUMBERS, ids=repr)
def test_numbers_of_any_library_are_numbers(value: Any) -> None:
    assert (real(value), type(real(value))) == (3.0, float)


@pytest.mark.parametrize("value", NONE, ids=repr)
def test_what_is_no_number_is_none(value: Any) -> None:
    assert integer(value) is None
    assert real(value) is None


@pytest.mark.parametrize("value", [3.0, np.float64(3), Decimal(3), torch.tensor(3.0)], ids=repr)
def test_a_number_that_may_have_a_fraction_is_no_integer(value: Any) -> None:
    assert integer(value) is None


def test_what_is_not_finite_is_a_number() -> None:
    assert real(np.float32("inf")) == math.inf
    assert math.isnan(real(torch.tensor(math.nan)) or 0.0)


def given(number: Any, whole: Any) -> RunSpec:
    """A spec of numbers of one type."""
    option = 3 if getattr(whole, "ndim", 0) else whole  # an array of one number is a list of it
    rate = 3.0 if getattr(number, "ndim", 0) else number
    return RunSpec(
        objective=Function(dimensions=whole),
        optimizer=Optimizer(learning_rate=number),
        stages=Stages(count=whole, steps=whole),
        mentor=MentorChoice(options={"samples": option, "a": {"b": [rate, (option, "x")]}}),
        seed=whole,
    )


@pytest.mark.parametrize("number", NUMBERS, ids=repr)
def test_a_spec_takes_them_everywhere_and_is_the_same(number: Any) -> None:
    whole = number if integer(number) is not None else 3
    spec = check(given(number, whole))
    plain = check(given(3.0, 3))
    assert spec == plain
    assert from_message(RunSpec, to_message(spec)) == from_message(RunSpec, to_message(plain))
    assert from_dict(RunSpec, to_dict(spec)) == from_dict(RunSpec, to_dict(plain))
    assert type(spec.seed) is int
    assert type(spec.mentor.options["samples"]) is int
    assert from_dict(RunSpec, {"seed": whole, "optimizer": {"learning_rate": number}}).seed == 3


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (RunSpec(seed=True), "seed"),
        (RunSpec(seed=1.5), "seed"),  # type: ignore[arg-type]
        (RunSpec(name=3), "name"),  # type: ignore[arg-type]
        (RunSpec(name="\ud83d"), "name"),
        (RunSpec(mentor=3), "mentor"),  # type: ignore[arg-type]
        (RunSpec(objective=3), "objective"),  # type: ignore[arg-type]
        (RunSpec(objective=Function(dimensions=True)), "objective.function.dimensions"),
        (RunSpec(optimizer=Optimizer(learning_rate="1")), "optimizer.learning_rate"),  # type: ignore[arg-type]
        (RunSpec(task=Task(labels="ab")), "task.labels"),  # type: ignore[arg-type]
        (RunSpec(task=Task(labels=("a", 1))), "task.labels[1]"),  # type: ignore[arg-type]
        (RunSpec(labels={"a": 1}), "labels['a']"),  # type: ignore[dict-item]
        (RunSpec(mentor=MentorChoice(options={"a": [{"b": object()}]})), "mentor.options.a[0].b"),
        (RunSpec(mentor=MentorChoice(options={"a": math.nan})), "mentor.options.a"),
        (RunSpec(mentor=MentorChoice(options={"a": np.float32("nan")})), "mentor.options.a"),
        (RunSpec(mentor=MentorChoice(options={"a": Decimal("nan")})), "mentor.options.a"),
        (RunSpec(mentor=MentorChoice(options={"a": "\udc00"})), "mentor.options.a"),
        (RunSpec(stages=None), "stages"),  # type: ignore[arg-type]
        (RunSpec(labels=None), "labels"),  # type: ignore[arg-type]
        (Snapshot(1, None), "train_loss"),  # type: ignore[arg-type]
        (Candidate(score=Score(None)), "score.loss"),  # type: ignore[arg-type]
        (RunFilter(created_after="2026-01-01"), "created_after"),  # type: ignore[arg-type]
        (RunFilter(created_after=np.datetime64(3, "s")), "created_after"),  # type: ignore[arg-type]
        (RunFilter(created_after=datetime.min), "created_after"),
        (Candidate(source="nowhere"), "source"),  # type: ignore[arg-type]
        (Candidate(score=0.5), "score"),  # type: ignore[arg-type]
        (ProposalRequest("r", timeout=math.inf), "timeout"),  # type: ignore[arg-type]
        (ProposalRequest("r", timeout="soon"), "timeout"),  # type: ignore[arg-type]
    ],
)
def test_what_does_not_fit_is_refused_by_its_path(value: Any, path: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check(value)
    assert [violation.field for violation in caught.value.violations] == [path]
    assert "must" in caught.value.message


def test_what_stands_for_the_same_is_converted() -> None:
    assert check(Candidate(source="proposal")).source is CandidateSource.PROPOSAL  # type: ignore[arg-type]
    spec = check(RunSpec(task=Task(labels=["a", np.str_("b")])))  # type: ignore[arg-type]
    assert spec.task.labels == ("a", "b")
    assert type(spec.task.labels[1]) is str
    request = check(ProposalRequest("r", timeout=np.float32(2.5)))  # type: ignore[arg-type]
    assert request.timeout == timedelta(seconds=2.5)


def test_arrays_are_lists() -> None:
    options = {"a": np.arange(2), "b": torch.ones(1, 2), "c": np.array(["x"])}
    found = check(MentorChoice(options=options)).options
    assert found == {"a": [0, 1], "b": [[1.0, 1.0]], "c": ["x"]}
    assert check(Score(prior=np.array([0.5, 0.5]))).prior == (0.5, 0.5)  # type: ignore[arg-type]


def test_what_fits_is_left_as_it_is() -> None:
    spec = replace(given(0.5, 3), mentor=MentorChoice(options={"a": [1, {"b": "ü"}]}))
    assert check(spec) is spec
    for record in (Snapshot(1, math.nan), Score(math.inf, 1), Candidate(text="ü 🙂")):
        assert check(record) is record


SHORT: dict[str, Any] = {
    "task": "hf:org/name",
    "optimizer": "sgd",
    "mentor": "default",
    "objective": "function",
}
WRITTEN_OUT = RunSpec(
    task=Task(name="hf:org/name"),
    optimizer=Optimizer(name="sgd"),
    mentor=MentorChoice(name="default"),
    objective=Function(),
)


def test_a_name_stands_for_the_same_in_python_and_in_files() -> None:
    assert check(RunSpec(**SHORT)) == from_dict(RunSpec, SHORT) == WRITTEN_OUT
    over = merged(RunSpec, {"optimizer": {"learning_rate": 0.1}, "mentor": "a"}, SHORT)
    assert over["optimizer"] == {"learning_rate": 0.1, "name": "sgd"}
    assert over["mentor"] == {"name": "default"}


def test_names_stand_in_the_lists_and_arms_of_an_experiment() -> None:
    loose: Any = {"mentor": "default"}
    spec = ExperimentSpec(
        arms=(Arm("a", **loose), Arm("b")), tasks=cast(Any, ["tickets"]), seeds=(0,)
    )
    found = check(spec)
    assert found.tasks == (Task("tickets"),)
    assert found.arms[0].mentor == MentorChoice("default")


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        ({"stages": "many"}, "stages", "must be a Stages, not str"),
        ({"objective": "guess"}, "objective", "must be one of: label_prompt, function"),
        ({"optimizer": "an optimizer"}, "optimizer.name", "must match"),
        ({"mentor": ""}, "mentor.name", "must not be empty"),
    ],
)
def test_a_name_that_stands_for_nothing_is_refused(
    given: dict[str, Any], field: str, words: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        check(RunSpec(**given))
    assert caught.value.violations[0].field == field
    assert words in str(caught.value)


def test_times_of_pandas_are_times() -> None:
    pandas = pytest.importorskip("pandas")
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    naive = noon.astimezone().replace(tzinfo=None)
    for given in (pandas.Timestamp(noon), pandas.Timestamp(naive), naive):
        assert check(RunFilter(created_after=given)).created_after == noon
    with pytest.raises(InvalidInput, match="created_after"):
        check(RunFilter(created_after=pandas.NaT))


def test_what_is_no_object_of_the_sdk_is_refused() -> None:
    with pytest.raises(InvalidInput, match="spec: must be one of mentorgrad's classes, not dict"):
        check(cast(Any, {"seed": 3}), "spec")
