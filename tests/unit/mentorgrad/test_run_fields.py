"""Fields that runs are filtered by, and the defaults for which stores record nothing."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest

from mentorgrad.domain.objective import CausalPrompt
from mentorgrad.domain.run_fields import (
    canonical,
    condition_violations,
    known_fields,
    spec_values,
    text_of,
)
from mentorgrad.domain.spec import MentorChoice, Optimizer, RunSpec

FIELDS = 179
DEFAULTS = "742271834189e697"
"""Digest of the defaults of these fields."""


def test_defaults_are_those_of_stored_runs() -> None:
    """Nothing is recorded of a default. If one changes, a migration must record its old value for
    the runs that are stored; then adapt the digest. A new field only adapts it."""
    fields = sorted((path, field.default or "") for path, field in known_fields().items())
    assert len(fields) == FIELDS
    assert hashlib.sha256(repr(fields).encode()).hexdigest()[:16] == DEFAULTS


def test_only_what_differs_from_the_defaults_is_recorded() -> None:
    assert [(v.field, v.text) for v in spec_values(RunSpec())] == [
        ("spec.objective", "label_prompt")
    ]
    spec = RunSpec(
        CausalPrompt(n_tokens=4),
        optimizer=Optimizer(learning_rate=1.0, directions=3),
        mentor=MentorChoice(options={"a": {"b": True}, "c": [1], "d": "x"}),
        checkpoint_interval=timedelta(seconds=0.5),
    )
    assert {v.field: (v.text, v.number) for v in spec_values(spec)} == {
        "spec.objective": ("causal_prompt", None),
        "spec.objective.causal_prompt.n_tokens": ("4", 4.0),
        "spec.optimizer.learning_rate": ("1", 1.0),
        "spec.optimizer.directions": ("3", 3.0),
        "spec.mentor.options.a.b": ("true", None),
        "spec.mentor.options.d": ("x", None),
        "spec.checkpoint_interval": ("0.5", 0.5),
    }


@pytest.mark.parametrize(
    ("path", "text", "same"),
    [
        ("spec.seed", "03", "3"),
        ("spec.optimizer.learning_rate", "1e-2", "0.01"),
        ("spec.optimizer.directions", "", ""),
        ("spec.seed", "", None),
        ("spec.seed", "nan", None),
        ("spec.mentor.required", "True", "true"),
        ("spec.mentor.mode", "blocking", "blocking"),
        ("spec.mentor.mode", "Blocking", None),
        ("spec.mentor.options.k", "3.0", "3"),
        ("spec.name", "3.0", "3.0"),
    ],
)
def test_a_value_has_one_form(path: str, text: str, same: str | None) -> None:
    assert canonical(path, text) == same


def test_every_field_takes_its_own_default() -> None:
    for path, field in known_fields().items():
        if field.default is not None:
            assert canonical(path, field.default) == field.default, path
            assert list(condition_violations(path, field.default, None, None)) == []


def test_numbers_are_alike_whatever_their_type() -> None:
    assert text_of(3) == text_of(3.0) == text_of(timedelta(seconds=3)) == "3"
    assert text_of(0.1) == "0.1"
    assert text_of(2.0**60) == repr(2.0**60)


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("best_loss", "best_selection_loss"),
        ("test_accuracy", "result.test.accuracy"),
        ("spec.optimizer.learning_rte", "spec.optimizer.learning_rate"),
        ("seed", "spec.seed"),
    ],
)
def test_an_unknown_field_names_those_that_come_nearest(path: str, meant: str) -> None:
    (violation,) = condition_violations(path, "1", None, None)
    assert f"did you mean {meant}" in violation.description
