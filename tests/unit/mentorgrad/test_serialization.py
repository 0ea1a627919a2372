"""The way to and from plain dictionaries."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mentorgrad.domain.objective import Function, LabelPrompt
from mentorgrad.domain.spec import Budget, MentorChoice, Optimizer, Policy, RunSpec
from mentorgrad.errors import InvalidInput
from mentorgrad.serialization import from_dict, to_dict


@pytest.mark.parametrize(
    ("data", "field", "words"),
    [
        ({"optimiser": {}}, "optimiser", "known: objective, task"),
        ({"optimizer": {"lr": 1}}, "optimizer.lr", "not known here"),
        ({"optimizer": {"learning_rate": "fast"}}, "optimizer.learning_rate", "must be a number"),
        ({"seed": 1.5}, "seed", "must be an integer"),
        ({"seed": True}, "seed", "must be an integer"),
        ({"acceptance": {"policy": "rase"}}, "acceptance.policy", "race, always"),
        ({"objective": {"vision": {}}}, "objective.vision", "label_prompt, function"),
        ({"objective": {"function": {}, "label_prompt": {}}}, "objective", "exactly one"),
        ({"mentor": {"timeout": "soon"}}, "mentor.timeout", "seconds"),
        ({"task": {"data": {"train": "a.csv"}}}, "task.labels", "label words"),
        ({"task": 3}, "task", "mapping of fields"),
        ({"task": {"labels": "a,b"}}, "task.labels", "must be a list"),
    ],
)
def test_a_wrong_dictionary_is_refused_with_the_field_and_the_cure(
    data: dict, field: str, words: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        from_dict(RunSpec, data)
    assert caught.value.violations[0].field == field
    assert words in str(caught.value)


def test_a_union_member_may_be_named_alone() -> None:
    assert from_dict(RunSpec, {"objective": "function"}).objective == Function()


def test_integers_are_taken_where_numbers_are_wanted() -> None:
    spec = from_dict(RunSpec, {"optimizer": {"learning_rate": 1}, "mentor": {"timeout": "90s"}})
    assert spec.optimizer.learning_rate == 1.0
    assert spec.mentor.timeout == timedelta(seconds=90)


SPECS = st.builds(
    RunSpec,
    objective=st.one_of(
        st.builds(Function, dimensions=st.integers(1, 100)),
        st.builds(LabelPrompt, n_tokens=st.integers(1, 64), per_class=st.booleans()),
    ),
    optimizer=st.builds(Optimizer, learning_rate=st.floats(1e-9, 100.0)),
    budget=st.builds(Budget, gradient_steps=st.none() | st.integers(0, 10**8)),
    mentor=st.builds(
        MentorChoice,
        options=st.dictionaries(
            st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1),
            st.integers(-(2**53), 2**53) | st.booleans() | st.text(max_size=20),
            max_size=3,
        ),
        timeout=st.timedeltas(timedelta(milliseconds=1), timedelta(hours=1)),
    ),
    labels=st.dictionaries(st.sampled_from("abc"), st.text(max_size=5), max_size=2),
    seed=st.integers(0, 2**63 - 1),
)


@pytest.mark.slow
@given(SPECS)
def test_to_dict_is_json_and_from_dict_is_its_inverse(spec: RunSpec) -> None:
    if any("\x00" in text for text in spec.labels.values()):
        spec = dataclasses.replace(spec, labels={})
    again = from_dict(RunSpec, json.loads(json.dumps(to_dict(spec))))
    # Durations travel as decimal seconds; the microsecond survives.
    assert again == spec


def test_policies_are_written_as_their_names() -> None:
    assert to_dict(RunSpec())["acceptance"]["policy"] == Policy.RACE.value == "race"
