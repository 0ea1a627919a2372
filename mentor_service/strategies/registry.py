"""The strategies that can be asked for, and the check of their options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jsonschema

from mentor_service.profiles import Profile
from mentor_service.protocols import Strategy
from mentor_service.strategies.maao import Maao
from mentorgrad.errors import InvalidInput, Violation
from mentorgrad.model.advice import StrategyInfo
from mentorgrad.schema import join

STRATEGIES: dict[str, type[Maao]] = {cls.name: cls for cls in (Maao,)}
"""Every strategy by name."""


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
    cls = STRATEGIES.get(name)
    if cls is None:
        raise InvalidInput.field(
            join(path, "strategy"),
            f"must be one of: {', '.join(STRATEGIES)}; not {name!r}",
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
        StrategyInfo(cls.name, cls.description, cls.options_schema, cls.wants)
        for cls in STRATEGIES.values()
    )


def _place(path: str, error: jsonschema.ValidationError, schema: Mapping[str, Any]) -> str:
    if error.validator == "additionalProperties":
        table: Any = error.instance
        unknown = [key for key in table if key not in schema["properties"]]
        return join(path, str(unknown[0]))
    return join(path, ".".join(str(part) for part in error.absolute_path))


def _sentence(error: jsonschema.ValidationError, schema: Mapping[str, Any]) -> str:
    if error.validator == "additionalProperties":
        return f"is not known here; known: {', '.join(schema['properties'])}"
    return error.message[:200]
