"""The strategies that can be asked for, and the check of their options.

Beside the built-in ones these are what installed packages offer by entry points of group
``mentorgrad.strategies``. They are loaded when strategies are first asked about; one that cannot be
offered is a warning in the log, and the others are as they were.
"""

from __future__ import annotations

import functools
import importlib.metadata
import re
from collections.abc import Mapping
from typing import Any

import jsonschema
import structlog

from mentor_service.profiles import Profile
from mentor_service.protocols import Strategy, StrategyType
from mentor_service.strategies.directional import Directional
from mentor_service.strategies.evoprompt import Evoprompt
from mentor_service.strategies.gpo import Gpo
from mentor_service.strategies.leo import Leo
from mentor_service.strategies.leo_random import LeoRandom
from mentor_service.strategies.maao import Maao
from mentor_service.strategies.maao_released import MaaoReleased
from mentor_service.strategies.opro import Opro
from mentor_service.strategies.reflect import Reflect
from mentorgrad.domain.advice import StrategyInfo, Wants
from mentorgrad.domain.spec import NAME_PATTERN
from mentorgrad.errors import InvalidInput, Violation
from mentorgrad.schema import join

log = structlog.get_logger(__name__)

GROUP = "mentorgrad.strategies"
"""Entry points by which packages offer strategies; the name is the strategy's own."""

BUILT_IN: Mapping[str, StrategyType] = {
    cls.name: cls
    for cls in (
        Maao,
        Leo,
        LeoRandom,
        Gpo,
        Directional,
        Opro,
        Evoprompt,
        Reflect,
        MaaoReleased,
    )
}
"""The strategies of this package by name."""


@functools.cache
def offered() -> Mapping[str, StrategyType]:
    """Every strategy by name, those of other packages included; loaded once a process."""
    found = dict(BUILT_IN)
    for entry in importlib.metadata.entry_points(group=GROUP):
        try:
            made = entry.load()
            problem = _problem(entry.name, made, found)
        except Exception as error:  # whatever another author's package does when it is imported
            problem = f"{type(error).__name__}: {error}"
        if problem:
            package = entry.dist.name if entry.dist is not None else ""
            log.warning(
                "strategy_not_offered", strategy=entry.name, package=package, reason=problem
            )
        else:
            found[entry.name] = made
    return found


def create(
    name: str, options: Mapping[str, Any], profile: Profile, model: str, path: str = "open"
) -> Strategy:
    """A strategy for one session.

    Args:
        name: Its name.
        options: Its options; absent ones take their defaults.
        profile: What form of question the model can follow.
        model: Reference of the model, for the records.
        path: Where name and options stand in the request.

    Raises:
        InvalidInput: No such strategy (UNKNOWN_STRATEGY), or options that its schema forbids
            (BAD_OPTIONS).
    """
    known = offered()
    cls = known.get(name)
    if cls is None:
        raise InvalidInput.field(
            join(path, "strategy"),
            f"must be one of: {', '.join(known)}; not {name!r}",
            reason="UNKNOWN_STRATEGY",
        )
    found = [
        Violation(
            _place(join(path, "options"), error, cls.options_schema),
            _sentence(error, cls.options_schema),
        )
        for error in jsonschema.Draft202012Validator(cls.options_schema).iter_errors(dict(options))
    ]
    if found:
        raise InvalidInput(violations=found, reason="BAD_OPTIONS")
    return cls(profile, options, model)


def infos() -> tuple[StrategyInfo, ...]:
    """What can be asked for."""
    return tuple(
        StrategyInfo(name, cls.description, cls.options_schema, cls.wants)
        for name, cls in offered().items()
    )


def _problem(name: str, made: Any, taken: Mapping[str, StrategyType]) -> str:
    """Why what an entry point gave cannot be offered; empty: it can."""
    if name in taken:
        return f"the name {name} is taken"
    if not re.fullmatch(NAME_PATTERN, name):
        return f"{name!r} is no name for a strategy"
    if not callable(made) or getattr(made, "name", None) != name:
        return f"it must be a class whose name is {name!r}"
    if not isinstance(made.description, str) or not isinstance(made.wants, Wants):
        return "description must be a string, and wants a Wants"
    if not isinstance(made.options_schema.get("properties"), Mapping):
        return "options_schema must be the schema of an object, with properties"
    jsonschema.Draft202012Validator.check_schema(made.options_schema)
    return ""


def _place(path: str, error: jsonschema.ValidationError, schema: Mapping[str, Any]) -> str:
    if error.validator == "additionalProperties" and not error.absolute_path:
        table: Any = error.instance
        unknown = [key for key in table if key not in schema["properties"]]
        return join(path, str(unknown[0]))
    parts = ".".join(str(part) for part in error.absolute_path)
    return join(path, parts) if parts else path


def _sentence(error: jsonschema.ValidationError, schema: Mapping[str, Any]) -> str:
    if error.validator == "additionalProperties" and not error.absolute_path:
        return f"is not known here; known: {', '.join(schema['properties'])}"
    return error.message[:200]
