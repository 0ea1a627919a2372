"""What this trainer offers, and whether a spec asks for nothing else. Imports no torch."""

from __future__ import annotations

import asyncio
import importlib.metadata
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from mentorgrad.errors import (
    InvalidInput,
    MentorgradError,
    PreconditionFailed,
    Violation,
)
from mentorgrad.model.advice import MentorInfo
from mentorgrad.model.spec import CONTROLS, Function, MentorChoice, RunSpec
from trainer_service.mentors.options import BAD_OPTIONS, read_options
from trainer_service.running.budget import budget_violations, takes_no_steps

MAX_STEPS = 100_000_000
"""Most gradient steps that a run may be planned for."""

_LIBRARIES = ("mentorgrad", "torch", "transformers", "tokenizers", "safetensors", "numpy")

Probe = Callable[[str], Awaitable[MentorInfo]]
"""Asks the mentor at an address what it is; raises `MentorgradError` when it does not answer."""


def versions() -> dict[str, str]:
    """Installed versions of the libraries that shape a result."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def spec_violations(spec: RunSpec) -> Iterator[Violation]:
    """What is wrong with a spec beyond single fields, without looking at data or models."""
    steps = spec.stages.total_steps
    if steps > MAX_STEPS:
        yield Violation("spec.stages", f"make {steps} steps in all; at most {MAX_STEPS}")
    if takes_no_steps(spec) and (spec.mentor.name == "none" or spec.stages.count < 2):
        yield Violation(
            "spec.stages.steps",
            "without gradient steps there must be a mentor and at least 2 stages: it is asked "
            "between them",
        )
    if spec.mentor.name == "hint_tokens" and isinstance(spec.objective, Function):
        yield Violation("spec.mentor.name", "hint_tokens needs an objective with tokens")
    yield from budget_violations(spec, has_words=not isinstance(spec.objective, Function))


class Mentors:
    """The mentors that this trainer knows by name.

    Args:
        targets: Name → ``HOST:PORT``.
        probe: Asks one what it is.
    """

    def __init__(self, targets: Mapping[str, str], probe: Probe) -> None:
        self._targets = dict(targets)
        self._probe = probe

    @property
    def names(self) -> tuple[str, ...]:
        """Mentors and controls."""
        return (*self._targets, *CONTROLS)

    def once(self) -> Mentors:
        """The same mentors, each asked once at most: for many checks of one moment."""
        asked: dict[str, asyncio.Future[MentorInfo]] = {}

        async def ask(target: str) -> MentorInfo:
            if target not in asked:
                asked[target] = asyncio.ensure_future(self._probe(target))
            return await asked[target]

        return Mentors(self._targets, ask)

    async def states(self) -> dict[str, MentorInfo | None]:
        """Every mentor's own account, or None for those that do not answer now."""
        answers = await asyncio.gather(*map(self._ask, self._targets.values()))
        return dict(zip(self._targets, answers, strict=True))

    async def _ask(self, target: str) -> MentorInfo | None:
        try:
            return await self._probe(target)
        except MentorgradError:
            return None

    async def check(self, choice: MentorChoice, path: str = "spec.mentor") -> list[str]:
        """Checks a spec's choice; returns warnings.

        Raises:
            InvalidInput: Unknown mentor (reason UNKNOWN_MENTOR) or strategy (UNKNOWN_STRATEGY), or
                options that are wrong (BAD_OPTIONS).
            PreconditionFailed: It is required and absent (reason MENTOR_UNAVAILABLE).
        """
        if choice.is_control:
            read_options(choice.name, choice.options, f"{path}.options")
            return []
        if choice.name not in self._targets:
            raise InvalidInput.field(
                f"{path}.name",
                f"{choice.name!r} is not known here; known: {', '.join(self.names)}",
                reason="UNKNOWN_MENTOR",
            )
        try:
            info = await self._probe(self._targets[choice.name])
        except MentorgradError as error:
            absent = f"the mentor {choice.name!r} does not answer: {error.message}"
            if choice.required:
                raise PreconditionFailed(absent, reason="MENTOR_UNAVAILABLE") from None
            return [absent]
        found = tuple(choice_violations(choice, info, path))
        if found:
            raise InvalidInput(violations=found, reason=_reason(found[0], path))
        return []


def _reason(first: Violation, path: str) -> str | None:
    if first.field == f"{path}.strategy":
        return "UNKNOWN_STRATEGY"
    return BAD_OPTIONS if first.field.startswith(f"{path}.options.") else None


def choice_violations(choice: MentorChoice, info: MentorInfo, path: str) -> Iterator[Violation]:
    """What a mentor, by its own account, would refuse."""
    known = {strategy.name: strategy for strategy in info.strategies}
    if choice.strategy not in known:
        names = ", ".join(known)
        yield Violation(f"{path}.strategy", f"{choice.strategy!r} is not known; known: {names}")
        return
    if info.max_proposals and choice.proposals > info.max_proposals:
        yield Violation(f"{path}.proposals", f"must be at most {info.max_proposals} here")
    schema = known[choice.strategy].options_schema
    yield from option_violations(choice.options, schema, f"{path}.options")


def option_violations(
    options: Mapping[str, Any], schema: Mapping[str, Any], path: str
) -> Iterator[Violation]:
    """Names, types and limits of options by a flat JSON Schema; the mentor checks the rest."""
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
