"""Registry of the available strategies, and validation of their options.

Besides the built-in strategies, installed packages provide strategies by entry points of the group
``mentorgrad.strategies``. They are loaded on first use; one that cannot be loaded is logged as a
warning and skipped.
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
from mentor_service.strategies.examples import Examples
from mentor_service.strategies.gpo import Gpo
from mentor_service.strategies.leo import Leo
from mentor_service.strategies.leo_random import LeoRandom
from mentor_service.strategies.maao import Maao
from mentor_service.strategies.maao_released import MaaoReleased
from mentor_service.strategies.opro import Opro
from mentor_service.strategies.reflect import Reflect
from mentorgrad.domain.advice import ProposalKind, StrategyInfo, Wants
from mentorgrad.errors import InvalidInput
from mentorgrad.schema import NAME_PATTERN
from service_common.option_schema import option_violations

log = structlog.get_logger(__name__)

GROUP = "mentorgrad.strategies"
"""Entry point group of strategies in other packages; the entry's name is the strategy's name."""

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
        Examples,
    )
}
"""Built-in strategies by name."""


@functools.cache
def offered() -> Mapping[str, StrategyType]:
    """All strategies by name, including those of other packages; loaded once per process."""
    found = dict(BUILT_IN)
    for entry in importlib.metadata.entry_points(group=GROUP):
        try:
            made = entry.load()
            problem = _problem(entry.name, made, found)
        except Exception as error:  # importing another package may raise anything
            problem = f"{type(error).__name__}: {error}"
        if problem:
            package = entry.dist.name if entry.dist is not None else ""
            log.warning(
                "strategy_not_offered", strategy=entry.name, package=package, reason=problem
            )
        else:
            found[entry.name] = made
    return found


def create(name: str, options: Mapping[str, Any], profile: Profile, model: str) -> Strategy:
    """Creates a strategy for one session.

    Args:
        name: Name of the strategy.
        options: Its options; absent ones take their defaults.
        profile: Model profile, which determines the form of the questions.
        model: Model reference, for the records.

    Raises:
        InvalidInput: There is no such strategy (UNKNOWN_STRATEGY), or the options do not match its
            schema (BAD_OPTIONS).
    """
    known = offered()
    cls = known.get(name)
    if cls is None:
        raise InvalidInput.field(
            "open.strategy",
            f"must be one of: {', '.join(known)}; not {name!r}",
            reason="UNKNOWN_STRATEGY",
        )
    found = option_violations(options, cls.options_schema, "open.options")
    if found:
        raise InvalidInput(violations=found, reason="BAD_OPTIONS")
    return cls(profile, options, model)


def infos() -> tuple[StrategyInfo, ...]:
    """Describes all strategies."""
    return tuple(
        StrategyInfo(name, cls.description, cls.options_schema, cls.wants, _kinds(cls))
        for name, cls in offered().items()
    )


def _kinds(cls: StrategyType) -> tuple[ProposalKind, ...]:
    """What a strategy can propose; one that shares nothing with ours need not say it."""
    able = getattr(cls, "kinds", ())
    return tuple(kind for kind in ProposalKind if kind in able)


def _problem(name: str, made: Any, taken: Mapping[str, StrategyType]) -> str:
    """Why an entry point's object is not a valid strategy; empty: it is."""
    if name in taken:
        return f"the name {name!r} is already taken"
    if not re.fullmatch(NAME_PATTERN, name):
        return f"{name!r} is not a valid strategy name"
    if not callable(made) or getattr(made, "name", None) != name:
        return f"it must be a class with the name attribute {name!r}"
    if not isinstance(made.description, str) or not isinstance(made.wants, Wants):
        return "description must be a string, and wants must be a Wants"
    if not isinstance(made.options_schema.get("properties"), Mapping):
        return "options_schema must be the JSON Schema of an object with properties"
    jsonschema.Draft202012Validator.check_schema(made.options_schema)
    return ""
