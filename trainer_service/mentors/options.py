"""The options of the controls. Imports no torch, so that a spec can be checked early."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from mentorgrad.errors import InvalidInput
from mentorgrad.schema import FieldKind, bounded, field_bounds, field_types
from mentorgrad.serialization import from_dict

BAD_OPTIONS = "BAD_OPTIONS"
"""Reason of an error about an option."""


class Base(StrEnum):
    """What a control's proposals are edits of."""

    INCUMBENT = "incumbent"
    BEST = "best"


@dataclass(frozen=True)
class NoOptions:
    """Of ``none``."""


@dataclass(frozen=True)
class EditOptions:
    """Of every control that proposes; all there is for ``random_tokens`` and ``random_init``.

    A list is gone through proposal by proposal and begun again at its end; a single number is a
    list of one.
    """

    weight: tuple[float, ...] = bounded((1.0,), gt=0.0, le=1.0, max_length=64, required=True)
    """Weight of a proposal where it is mixed with its base."""
    base: Base = Base.INCUMBENT
    """What it is an edit of: the ``incumbent``, or the ``best`` candidate of the run so far."""


@dataclass(frozen=True)
class PerturbOptions(EditOptions):
    """Of ``perturb``."""

    scale: tuple[float, ...] = bounded((0.5,), gt=0.0, le=100.0, max_length=64, required=True)
    """Standard deviation of the noise on the base, in units of the parameters' own; for numbers, of
    a uniform draw from their range."""


@dataclass(frozen=True)
class RecombineOptions(EditOptions):
    """Of ``recombine``."""

    parents: int = bounded(4, ge=2, le=64)
    """Best candidates with different words that are mixed."""


@dataclass(frozen=True)
class HintTokensOptions(EditOptions):
    """Of ``hint_tokens``."""

    temperature: float | None = bounded(None, gt=0.0, le=1000.0)
    """Tokens are drawn by a softmax over the negated scores of their position's hint, divided by
    the scores' standard deviation there times this; absent: all of the hint alike."""


OPTIONS: dict[str, type] = {
    "none": NoOptions,
    "random_tokens": EditOptions,
    "random_init": EditOptions,
    "perturb": PerturbOptions,
    "recombine": RecombineOptions,
    "hint_tokens": HintTokensOptions,
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
    kinds = field_types(cls)
    if options and not kinds:
        name = next(iter(options))
        raise InvalidInput.field(
            f"{path}.{name}", f"is not known; {control} has no options", reason=BAD_OPTIONS
        )
    alone = {
        name
        for name, value in options.items()
        if name in kinds and kinds[name].repeated and not isinstance(value, (list, tuple))
    }
    given = {name: [value] if name in alone else value for name, value in options.items()}
    try:
        return from_dict(cls, given, path)
    except InvalidInput as error:
        named = {f"{path}.{name}[0]": f"{path}.{name}" for name in alone}
        violations = [replace(v, field=named.get(v.field, v.field)) for v in error.violations]
        raise InvalidInput(violations=violations, reason=BAD_OPTIONS) from None


def options_schema(control: str) -> dict[str, Any]:
    """JSON Schema of a control's options."""
    cls = OPTIONS[control]
    properties = {name: _property(cls, name) for name in field_types(cls)}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _property(cls: type, name: str) -> dict[str, Any]:
    kind, bounds = field_types(cls)[name], field_bounds(cls)[name]
    default = getattr(cls(), name)
    if kind.kind is FieldKind.ENUM:
        return {"type": "string", "enum": [str(item) for item in kind.base], "default": default}  # type: ignore[attr-defined]
    limits = {
        key: limit
        for key, limit in (
            ("exclusiveMinimum", bounds.gt),
            ("minimum", bounds.ge),
            ("maximum", bounds.le),
        )
        if limit is not None
    }
    one = {"type": "integer" if kind.base is int else "number", **limits}
    if not kind.repeated:
        return one if default is None else {**one, "default": default}
    # A bare number stands for a list of one.
    many = {"items": one, "minItems": 1, "maxItems": bounds.max_length}
    return {**one, "type": [one["type"], "array"], **many, "default": list(default)}
