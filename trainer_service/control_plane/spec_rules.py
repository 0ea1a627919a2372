"""Validation rules of a run's spec that need neither data nor models. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mentorgrad.domain.advice import MentorInfo
from mentorgrad.domain.spec import MentorChoice, RunSpec
from mentorgrad.errors import Violation
from mentorgrad.run_recorder import installed_versions
from mentorgrad.schema import snake_case
from trainer_service.objectives.table import OBJECTIVES
from trainer_service.running.budget import budget_violations, takes_no_steps

MAX_STEPS = 100_000_000
"""Maximum number of planned gradient steps of a run."""

_LIBRARIES = ("mentorgrad", "torch", "transformers", "tokenizers", "safetensors", "numpy")


def versions() -> dict[str, str]:
    """Installed versions of the libraries that influence a run's result."""
    return installed_versions(_LIBRARIES)


def spec_violations(spec: RunSpec) -> Iterator[Violation]:
    """Violations across several fields of a spec, without a look at data or models."""
    steps = spec.stages.total_steps
    if steps > MAX_STEPS:
        yield Violation("spec.stages", f"make {steps} steps in all; the maximum is {MAX_STEPS}")
    if takes_no_steps(spec) and (spec.mentor.name == "none" or spec.stages.count < 2):
        yield Violation(
            "spec.stages.steps",
            "a run without gradient steps needs a mentor and at least 2 stages: the mentor is "
            "asked between stages",
        )
    kind = OBJECTIVES.get(snake_case(type(spec.objective).__name__))
    if kind is None:  # the trainer does not execute it, which the check of the objective reports
        return
    if spec.mentor.name == "hint_tokens" and not (kind.has_words and kind.has_gradients):
        yield Violation(
            "spec.mentor.name", "hint_tokens needs an objective with tokens and gradients"
        )
    yield from budget_violations(spec, kind.has_words)


def choice_violations(choice: MentorChoice, info: MentorInfo, path: str) -> Iterator[Violation]:
    """Violations of the limits and option schemas that a mentor publishes in its info."""
    known = {strategy.name: strategy for strategy in info.strategies}
    if choice.strategy not in known:
        names = ", ".join(known)
        yield Violation(f"{path}.strategy", f"{choice.strategy!r} is not known; known: {names}")
        return
    if info.max_proposals and choice.proposals > info.max_proposals:
        limit = f"must be at most {info.max_proposals} for this mentor"
        yield Violation(f"{path}.proposals", limit)
    schema = known[choice.strategy].options_schema
    yield from option_violations(choice.options, schema, f"{path}.options")


def option_violations(
    options: Mapping[str, Any], schema: Mapping[str, Any], path: str
) -> Iterator[Violation]:
    """Violations of a flat JSON Schema (names, types, limits); the mentor checks the rest."""
    properties: Mapping[str, Any] = schema.get("properties", {})
    for name, value in options.items():
        where = f"{path}.{name}"
        if name in properties:
            yield from _value_violations(value, properties[name], where)
        elif schema.get("additionalProperties", True) is False:
            names = ", ".join(properties) or "none"
            yield Violation(where, f"is not a known option; known: {names}")


_TYPES: dict[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "boolean": (bool,),
    "array": (list, tuple),
    "object": (dict,),
}


def _value_violations(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[Violation]:
    kind = schema.get("type")
    if isinstance(kind, str) and kind in _TYPES:
        is_flag = isinstance(value, bool)
        if not isinstance(value, _TYPES[kind]) or (is_flag and kind != "boolean"):
            yield Violation(path, f"must be of type {kind}")
            return
    if "enum" in schema and value not in schema["enum"]:
        yield Violation(path, f"must be one of: {', '.join(map(str, schema['enum']))}")
    if isinstance(value, (int, float)):
        yield from _range_violations(value, schema, path)


def _range_violations(value: float, schema: Mapping[str, Any], path: str) -> Iterator[Violation]:
    if "minimum" in schema and value < schema["minimum"]:
        yield Violation(path, f"must be at least {schema['minimum']}, not {value}")
    if "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
        yield Violation(path, f"must be greater than {schema['exclusiveMinimum']}, not {value}")
    if "maximum" in schema and value > schema["maximum"]:
        yield Violation(path, f"must be at most {schema['maximum']}, not {value}")
