"""The options of the controls. Imports no torch, so that a spec can be checked early."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mentorgrad.errors import InvalidInput
from mentorgrad.schema import bounded, field_bounds, field_types, from_dict

BAD_OPTIONS = "BAD_OPTIONS"
"""Reason of an error about an option."""


@dataclass(frozen=True)
class NoOptions:
    """Of ``none``, ``random_tokens`` and ``random_init``."""


@dataclass(frozen=True)
class PerturbOptions:
    """Of ``perturb``."""

    scale: float = bounded(0.5, gt=0.0, le=100.0)
    """Standard deviation of the noise, in units of the parameters' own; for numbers, of a uniform
    draw from their range."""


@dataclass(frozen=True)
class RecombineOptions:
    """Of ``recombine``."""

    parents: int = bounded(4, ge=2, le=64)
    """Best candidates with different words that are mixed."""


OPTIONS: dict[str, type] = {
    "none": NoOptions,
    "random_tokens": NoOptions,
    "random_init": NoOptions,
    "perturb": PerturbOptions,
    "recombine": RecombineOptions,
}
"""Control → its options."""


def read_options(
    control: str, options: Mapping[str, Any], path: str = "spec.mentor.options"
) -> Any:
    """The options of a control.

    Raises:
        InvalidInput: An option is unknown, of the wrong type or out of its limits (reason
            BAD_OPTIONS).
    """
    cls = OPTIONS[control]
    if options and not field_types(cls):
        name = next(iter(options))
        raise InvalidInput.field(
            f"{path}.{name}", f"is not known; {control} has no options", reason=BAD_OPTIONS
        )
    try:
        return from_dict(cls, options, path)
    except InvalidInput as error:
        raise InvalidInput(violations=error.violations, reason=BAD_OPTIONS) from None


def options_schema(control: str) -> dict[str, Any]:
    """JSON Schema of a control's options."""
    cls = OPTIONS[control]
    properties: dict[str, Any] = {}
    for name, kind in field_types(cls).items():
        bounds = field_bounds(cls)[name]
        limits = {"exclusiveMinimum": bounds.gt, "minimum": bounds.ge, "maximum": bounds.le}
        properties[name] = {
            "type": "integer" if kind.base is int else "number",
            "default": getattr(cls(), name),
            **{key: limit for key, limit in limits.items() if limit is not None},
        }
    return {"type": "object", "properties": properties, "additionalProperties": False}
