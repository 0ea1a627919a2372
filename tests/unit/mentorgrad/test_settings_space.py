"""Settings within a schema: what is accepted is exactly what the JSON Schema accepts."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mentorgrad.errors import InvalidInput
from mentorgrad.settings_space import OUTSIDE_SCHEMA, Setting, SettingsSpace

SPACE = SettingsSpace(
    (
        Setting("rate", (0.5, 1, 2), description="factor", default=1),
        Setting("layers", (0, 1, 3), count=2, default=None),
        Setting("form", ("full", "low")),
    )
)
VALIDATOR = jsonschema.Draft202012Validator(SPACE.schema)

VALUES = st.one_of(
    *(st.sampled_from([0, 0.5, 1, 1.0, 2, 3, True, False, None, "full", "low", "", "1"]),),
    st.lists(st.sampled_from([0, 1, 1.0, 2, 3, True, "0"]), max_size=3),
    st.floats(),
    st.dictionaries(st.sampled_from(["enum", "x"]), st.integers(), max_size=1),
)
ONE = st.fixed_dictionaries({}, optional=dict.fromkeys(("rate", "layers", "form", "alpha"), VALUES))
LIKELY = st.fixed_dictionaries(
    {
        "rate": st.sampled_from([0.5, 1.0, 2, 3]),
        "layers": st.permutations([0, 1, 3]).map(lambda layers: layers[:2]),
        "form": st.sampled_from(["full", "low", "FULL"]),
    }
)


@given(ONE | LIKELY)
def test_what_is_accepted_is_what_the_schema_accepts(some: dict[str, Any]) -> None:
    if not VALIDATOR.is_valid(some):
        with pytest.raises(InvalidInput) as caught:
            SPACE.checked(some)
        assert caught.value.reason == OUTSIDE_SCHEMA
        return
    found = SPACE.checked(some)
    assert VALIDATOR.is_valid(found)
    assert SPACE.checked(found) == found


def test_equal_settings_are_written_alike() -> None:
    found = SPACE.checked({"form": "low", "layers": (3.0, 0.0), "rate": 1.0})
    assert str(found) == "{'rate': 1, 'layers': [0, 3], 'form': 'low'}"
    assert SPACE.defaults == {"rate": 1}


def test_every_violation_is_named_with_what_is_right() -> None:
    with pytest.raises(InvalidInput) as caught:
        SPACE.checked({"rate": 3, "layers": [1, 7], "alpha": 1})
    assert [(v.field, v.description) for v in caught.value.violations] == [
        ("alpha", "is not known here; known: rate, layers, form"),
        ("rate", "must be 0.5, 1 or 2; not 3"),
        ("layers", "must be a list of 2 different of 0, 1 or 3; not [1, 7]"),
        ("form", "is missing; it must be full or low"),
    ]


def test_a_schema_is_read_as_it_was_written() -> None:
    assert SettingsSpace.read(SPACE.schema, "schema") == SPACE


@pytest.mark.parametrize(
    ("schema", "field"),
    [
        (None, "schema"),
        ({"type": "object", "properties": {}}, "schema"),
        ({"properties": {"a": {"enum": [1]}}}, "schema.required"),
        ({"properties": {"a": {"type": "number"}}, "required": ["a"]}, "schema.a"),
        ({"properties": {"a": {"enum": [[1]]}}, "required": ["a"]}, "schema.a"),
        ({"properties": {"a": {"enum": [True]}}, "required": ["a"]}, "schema.a"),
        ({"properties": {"a": {"enum": [1, 1.0]}}, "required": ["a"]}, "schema.a"),
        ({"properties": {"a": {"enum": ['"']}}, "required": ["a"]}, "schema.a"),
        ({"properties": {'a"': {"enum": [1]}}, "required": ['a"']}, 'schema.a"'),
        ({"properties": {"a": {"items": {"enum": [1]}}}, "required": ["a"]}, "schema.a"),
        (
            {
                "properties": {"a": {"items": {"enum": [1]}, "minItems": 2, "maxItems": 2}},
                "required": ["a"],
            },
            "schema.a",
        ),
    ],
)
def test_other_schemas_are_refused(schema: dict[str, Any] | None, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        SettingsSpace.read(schema, "schema")
    assert [violation.field for violation in caught.value.violations] == [field]
