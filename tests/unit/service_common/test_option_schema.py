from __future__ import annotations

from typing import Any

import pytest

from mentorgrad.errors import Violation
from service_common.option_schema import option_violations

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "top": {"type": "integer", "minimum": 1, "maximum": 9},
        "heat": {"type": ["number", "null"], "exclusiveMinimum": 0, "exclusiveMaximum": 2},
        "weights": {"type": "array", "items": {"type": "number", "maximum": 1}, "minItems": 1},
        "tone": {"enum": ["dry", "warm"]},
        "inner": {"$ref": "#/$defs/inner"},
    },
    "additionalProperties": False,
    "$defs": {"inner": {"properties": {"a": {}}, "additionalProperties": False}},
}
KNOWN = "is not known here; known: top, heat, weights, tone, inner"


def test_valid_options_have_no_violations() -> None:
    assert option_violations({}, SCHEMA, "o") == []
    given = {"top": 3, "heat": 0.5, "weights": [1, 0.5], "tone": "dry", "inner": {"a": None}}
    assert option_violations(given, SCHEMA, "o") == []


@pytest.mark.parametrize(
    ("options", "field", "description"),
    [
        ({"top": 0}, "o.top", "must be at least 1, not 0"),
        ({"top": 10}, "o.top", "must be at most 9, not 10"),
        ({"top": 1.5}, "o.top", "must be of type integer, not 1.5"),
        ({"top": True}, "o.top", "must be of type integer, not True"),
        ({"heat": "x"}, "o.heat", "must be of type number, null, not 'x'"),
        ({"heat": 0}, "o.heat", "must be greater than 0, not 0"),
        ({"heat": 2}, "o.heat", "must be less than 2, not 2"),
        ({"weights": [0.5, 2]}, "o.weights[1]", "must be at most 1, not 2"),
        ({"weights": []}, "o.weights", "[] should be non-empty"),
        ({"tone": "shrill"}, "o.tone", "must be one of: dry, warm; not 'shrill'"),
        ({"inner": {"b": 1}}, "o.inner.b", "is not known here; known: a"),
        ({"k": 1}, "o.k", KNOWN),
    ],
)
def test_a_violation_names_the_value_and_the_limit(
    options: dict[str, Any], field: str, description: str
) -> None:
    assert option_violations(options, SCHEMA, "o") == [Violation(field, description)]


def test_every_violation_is_found() -> None:
    found = option_violations({"k": 1, "top": 0, "l": 2}, SCHEMA, "o")
    assert sorted(violation.field for violation in found) == ["o.k", "o.l", "o.top"]


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": 3},
        {"type": "thing"},
        {"$ref": "http://127.0.0.1:1/elsewhere"},
        {"$ref": "#"},
        {"properties": {"a": {"pattern": "("}}},
    ],
)
def test_a_schema_that_cannot_be_applied_is_a_violation(schema: dict[str, Any]) -> None:
    (violation,) = option_violations({"a": "b"}, schema, "o")
    assert violation.field == "o"
    assert violation.description.startswith("have an invalid schema: ")
