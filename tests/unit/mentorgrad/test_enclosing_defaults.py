"""A nested message that is given in part takes the rest from the message around it."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mentorgrad.domain.objective import CausalPrompt, LabelPrompt, Metric, Placement, Projection
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import InvalidInput
from mentorgrad.schema import base_of
from mentorgrad.serialization import from_dict, to_dict
from mentorgrad.v1 import run_pb2
from mentorgrad.wire.codec import decode, encode, from_message, to_message

OWN = Projection(whole_words=False, placement=Placement.LAST)
"""What `causal_prompt` has other than the defaults of a projection."""
projections = st.builds(
    Projection,
    metric=st.sampled_from(Metric),
    whole_words=st.booleans(),
    first_id=st.integers(0, 3),
    last_id=st.none() | st.integers(3, 9),
    pieces_apart=st.booleans(),
    placement=st.sampled_from(Placement),
)


def of_toml(text: str) -> RunSpec:
    return from_dict(RunSpec, tomllib.loads(text))


def of_message(name: str, projection: run_pb2.Projection) -> RunSpec:
    message = run_pb2.RunSpec()
    member = getattr(message.objective, name)
    member.projection.CopyFrom(projection)
    return from_message(RunSpec, message)


def test_the_enclosing_defaults_are_known() -> None:
    assert base_of(CausalPrompt, "projection") == OWN
    assert base_of(LabelPrompt, "projection") is None
    assert base_of(RunSpec, "optimizer") is None


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ('projection = {metric = "l2"}', {"metric": Metric.L2}),
        ("projection = {}", {}),
        ("", {}),
        ("projection.whole_words = true", {"whole_words": True}),
        ('projection.placement = "strict"', {"placement": Placement.STRICT}),
        ("projection = {first_id = 3, last_id = 9}", {"first_id": 3, "last_id": 9}),
    ],
)
def test_a_settings_file_names_what_is_different(line: str, fields: dict[str, Any]) -> None:
    made = of_toml(f"[objective.causal_prompt]\n{line}\n").objective
    expected = Projection(**{"whole_words": False, "placement": Placement.LAST} | fields)
    assert made == CausalPrompt(projection=expected)
    made = of_toml(f"[objective.label_prompt]\n{line}\n").objective
    assert made == LabelPrompt(projection=Projection(**fields))


@pytest.mark.parametrize(
    ("given_fields", "fields"),
    [
        ({"metric": run_pb2.METRIC_L2}, {"metric": Metric.L2}),
        ({}, {}),
        ({"whole_words": True}, {"whole_words": True}),
        ({"whole_words": False}, {"whole_words": False}),
        ({"placement": run_pb2.PLACEMENT_STRICT}, {"placement": Placement.STRICT}),
        ({"last_id": 9}, {"last_id": 9}),
    ],
)
def test_a_message_has_what_is_different(
    given_fields: dict[str, Any], fields: dict[str, Any]
) -> None:
    message = run_pb2.Projection(**given_fields)
    own = Projection(**{"whole_words": False, "placement": Placement.LAST} | fields)
    assert of_message("causal_prompt", message).objective == CausalPrompt(projection=own)
    plain = Projection(**fields)
    assert of_message("label_prompt", message).objective == LabelPrompt(projection=plain)
    nothing = run_pb2.RunSpec()
    nothing.objective.causal_prompt.SetInParent()
    assert from_message(RunSpec, nothing).objective == CausalPrompt()


@given(projection=projections, is_causal=st.booleans())
def test_every_projection_comes_back(projection: Projection, is_causal: bool) -> None:
    kind: Any = CausalPrompt if is_causal else LabelPrompt
    spec = RunSpec(objective=kind(projection=projection))
    assert from_dict(RunSpec, to_dict(spec)) == spec
    assert decode(RunSpec, encode(spec)) == spec
    assert from_message(RunSpec, to_message(spec)) == spec


def test_wrong_parts_are_named_as_elsewhere() -> None:
    for part, field in (
        ({"metrik": "l2"}, "metrik"),
        ({"first_id": 9, "last_id": 3}, "last_id"),
    ):
        with pytest.raises(InvalidInput) as caught:
            from_dict(RunSpec, {"objective": {"causal_prompt": {"projection": part}}})
        where = f"objective.causal_prompt.projection.{field}"
        assert caught.value.violations[0].field == where
