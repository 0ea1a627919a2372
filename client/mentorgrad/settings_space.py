"""The settings of gradient steps that a mentor may propose, as a JSON Schema.

A setting has one of a few values, or is a list of so many different ones of them. So a schema is
small enough for the grammar of a small model, whatever it writes can be checked completely, and a
control can draw from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mentorgrad.errors import InvalidInput, Violation

OUTSIDE_SCHEMA = "OUTSIDE_SCHEMA"
"""Error reason: settings are not what the schema allows."""

MAX_VALUES = 256
"""Maximum values of one setting."""

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
"""Names of settings, and values that are strings: what needs no escapes in a grammar."""


@dataclass(frozen=True)
class Setting:
    """One setting."""

    name: str
    """Name, for example ``learning_rate_factor``."""
    values: tuple[Any, ...]
    """The values that it may have: different numbers or words."""
    count: int | None = None
    """Its length, if it is a list of different ones of `values`; None: it is one of them."""
    description: str = ""
    """What it does, in one phrase."""
    default: Any = None
    """Its value at the start of a run; None: what the run does without it is none of `values`."""

    @property
    def allowed(self) -> str:
        """What it may be, for people: ``0.5, 1 or 2``."""
        *others, last = map(str, self.values)
        listed = f"{', '.join(others)} or {last}" if others else last
        return listed if self.count is None else f"a list of {self.count} different of {listed}"

    @property
    def example(self) -> Any:
        """A value that it may have."""
        return self.values[0] if self.count is None else list(self.values[: self.count])

    def checked(self, given: Any) -> Any:
        """The value that is given, as `values` has it; lists in the order of `values`.

        Raises:
            ValueError: It is not allowed.
        """
        if self.count is None:
            return self._value(given)
        if not isinstance(given, (list, tuple)) or len(given) != self.count:
            raise ValueError
        found = [self._value(item) for item in given]
        if len(set(found)) < len(found):
            raise ValueError
        return sorted(found, key=self.values.index)

    def _value(self, given: Any) -> Any:
        if not isinstance(given, bool):  # which equals 0 or 1
            for value in self.values:
                if value == given:
                    return value
        raise ValueError

    @property
    def schema(self) -> dict[str, Any]:
        """Its JSON Schema."""
        one = {"enum": list(self.values)}
        form: dict[str, Any] = one
        if self.count is not None:
            length = {"minItems": self.count, "maxItems": self.count}
            form = {"type": "array", "items": one, **length, "uniqueItems": True}
        notes = {"description": self.description, "default": self.default}
        return form | {name: note for name, note in notes.items() if note not in (None, "")}


@dataclass(frozen=True)
class SettingsSpace:
    """All settings that may be proposed together; a proposal has a value for each."""

    settings: tuple[Setting, ...]
    """In the order in which they are written."""

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema (2020-12)."""
        return {
            "type": "object",
            "properties": {setting.name: setting.schema for setting in self.settings},
            "required": [setting.name for setting in self.settings],
            "additionalProperties": False,
        }

    @classmethod
    def read(cls, schema: Mapping[str, Any] | None, path: str) -> SettingsSpace:
        """The inverse of `schema`.

        Args:
            schema: The schema, from a client.
            path: Path of the schema in the request.

        Raises:
            InvalidInput: It is no schema of this form, with all properties required.
        """
        properties = (schema or {}).get("properties")
        if not isinstance(properties, Mapping) or not properties:
            raise InvalidInput.field(path, "must be the JSON Schema of an object with properties")
        found = tuple(_read(name, form, f"{path}.{name}") for name, form in properties.items())
        required = (schema or {}).get("required")
        if not isinstance(required, Sequence) or set(required) != properties.keys():
            raise InvalidInput.field(f"{path}.required", "must name all properties")
        return cls(found)

    @property
    def defaults(self) -> dict[str, Any]:
        """The settings at the start of a run, of those that have a value then."""
        return {s.name: s.default for s in self.settings if s.default is not None}

    def checked(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Settings as the schema writes them: equal ones are equal Python values.

        Raises:
            InvalidInput: They are outside the schema (reason OUTSIDE_SCHEMA), with every violation.
        """
        found: dict[str, Any] = {}
        violations = list(self._violations(given, found))
        if violations:
            raise InvalidInput(violations=violations, reason=OUTSIDE_SCHEMA)
        return found

    def _violations(self, given: Mapping[str, Any], found: dict[str, Any]) -> Iterator[Violation]:
        names = [setting.name for setting in self.settings]
        for name in given:
            if name not in names:
                said = f"is not known here; known: {', '.join(names)}"
                yield Violation(str(name)[:100], said)
        for setting in self.settings:
            if setting.name not in given:
                yield Violation(setting.name, f"is missing; it must be {setting.allowed}")
                continue
            value = given[setting.name]
            try:
                found[setting.name] = setting.checked(value)
            except ValueError:
                said = f"must be {setting.allowed}; not {repr(value)[:80]}"
                yield Violation(setting.name, said)


def _read(name: str, form: Any, path: str) -> Setting:
    if not _WORD.fullmatch(name):
        raise InvalidInput.field(path, "must be named by letters, digits and underscores")
    form = form if isinstance(form, Mapping) else {}
    items, count = form.get("items"), form.get("minItems")
    is_list = isinstance(items, Mapping)
    values = items.get("enum") if isinstance(items, Mapping) else form.get("enum")
    if not isinstance(values, Sequence) or not all(map(_is_value, values)):
        raise InvalidInput.field(path, "must list its values, numbers or words, in `enum`")
    if not 1 <= len(values) <= MAX_VALUES or len(set(values)) < len(values):
        raise InvalidInput.field(path, f"must list 1 to {MAX_VALUES} different values in `enum`")
    if is_list and not (
        isinstance(count, int) and 1 <= count <= len(values) and count == form.get("maxItems")
    ):
        wanted = f"must be of one length, from 1 to {len(values)}: minItems = maxItems"
        raise InvalidInput.field(path, wanted)
    description = form.get("description", "")
    return Setting(
        name,
        tuple(values),
        count if is_list else None,
        description if isinstance(description, str) else "",
        form.get("default"),
    )


def _is_value(value: Any) -> bool:
    if isinstance(value, str):
        return _WORD.fullmatch(value) is not None
    return isinstance(value, (int, float)) and not isinstance(value, bool)
