"""Validation of nested dataclasses against the limits declared on their fields.

The tests of a class's fields are compiled once. Valid values cost no path building: paths are
composed only for violations, from the inside out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mentorgrad.errors import InvalidInput, Violation
from mentorgrad.plain_values import as_plain
from mentorgrad.schema import (
    Bounds,
    FieldKind,
    FieldType,
    Validated,
    field_bounds,
    field_types,
    join,
    per_class,
    snake_case,
)

T = TypeVar("T")

MAX_TEXT = 2_000
"""Maximum characters of a string field without a declared limit."""

MAX_VIOLATIONS = 100
"""Maximum violations reported at once; a large input may have one per entry."""

_Test = Callable[[Any], Sequence[Violation]]
"""Returns the violations of a value, with paths relative to it."""


def check(value: T, path: str = "") -> T:
    """Returns `value` if it is valid, with the types that its fields declare (see `as_plain`).

    Raises:
        InvalidInput: A value has another type, or a limit is violated; carries the first
            `MAX_VIOLATIONS` violations.
    """
    return check_limits(as_plain(value, path), path)


def check_limits(value: T, path: str = "") -> T:
    """`check` for values whose types are right already, as those of a message are.

    Raises:
        InvalidInput: A limit is violated; carries the first `MAX_VIOLATIONS` violations.
    """
    if found := violations(value):
        raise InvalidInput(violations=within(path, found[:MAX_VIOLATIONS]))
    return value


def within(path: str, found: Iterable[Violation]) -> list[Violation]:
    """Prefixes the paths of violations in a part with the path of the part.

    Args:
        path: Path of the part in the whole: a name, an index in brackets, or empty.
        found: Violations with paths relative to the part.
    """

    def whole(part: str) -> str:
        return path + part if not part or part.startswith("[") else join(path, part)

    return [Violation(whole(one.field), one.description) for one in found]


def violations(value: Any) -> Sequence[Violation]:
    """Returns all violations in nested dataclasses, with paths relative to the outermost.

    At most about `MAX_VIOLATIONS` per list.
    """
    found: list[Violation] = []
    for name, test in _tests(type(value)):
        member = getattr(value, name)
        if member is not None and (wrong := test(member)):
            found += within(name, wrong)
    if isinstance(value, Validated):
        found += value.cross_violations()
    return found


@per_class
def _tests(cls: type) -> tuple[tuple[str, _Test], ...]:
    """Name and test of each field that can violate a limit; most fields of records cannot."""
    bounds = field_bounds(cls)
    return tuple(
        (name, _field_test(kind, bounds[name]))
        for name, kind in field_types(cls).items()
        if kind.repeated or _has_limits(kind, bounds[name])
    )


def _has_limits(kind: FieldType, bounds: Bounds) -> bool:
    if kind.kind in (FieldKind.ENUM, FieldKind.DATETIME, FieldKind.ARRAY) or kind.base in (
        bool,
        bytes,
        Path,
    ):
        return False
    if kind.base is int or (kind.base is float and not bounds.finite):
        return (bounds.gt, bounds.ge, bounds.le) != (None, None, None)
    return True


def _field_test(kind: FieldType, bounds: Bounds) -> _Test:
    if kind.repeated:
        return _list_test(bounds, _item_test(kind, bounds) if _has_limits(kind, bounds) else None)
    if kind.kind is FieldKind.STRING_MAP:
        return _map_test(bounds)
    return _size_test(bounds) if kind.kind is FieldKind.STRUCT else _item_test(kind, bounds)


def _item_test(kind: FieldType, bounds: Bounds) -> _Test:
    """The test of a single value."""
    if kind.kind is FieldKind.MESSAGE:
        return violations
    if kind.kind is FieldKind.UNION:
        return _union_test
    if kind.kind is FieldKind.DURATION:
        test = _number_test(bounds)
        return lambda duration: test(duration.total_seconds())
    return _text_test(bounds) if kind.base is str else _number_test(bounds)


def _union_test(member: Any) -> Sequence[Violation]:
    found = violations(member)
    return within(snake_case(type(member).__name__), found) if found else found


def _list_test(bounds: Bounds, item_test: _Test | None) -> _Test:
    size_test = _size_test(bounds)

    def test(items: Any) -> Sequence[Violation]:
        found = list(size_test(items))
        if item_test is not None:
            for index, item in enumerate(items):
                if wrong := item_test(item):
                    found += within(f"[{index}]", wrong)
                    if len(found) >= MAX_VIOLATIONS:
                        break
        return found

    return test


def _map_test(bounds: Bounds) -> _Test:
    size_test, text_test = _size_test(bounds), _text_test(Bounds())
    key_test = _text_test(Bounds(max_length=100, required=True))

    def test(items: Any) -> Sequence[Violation]:
        found = list(size_test(items))
        for key, text in items.items():
            found += key_test(key)
            found += within(f"[{key[:100]!r}]", text_test(text))
        return found

    return test


def _size_test(bounds: Bounds) -> _Test:
    def test(items: Any) -> Sequence[Violation]:
        if bounds.required and not items:
            return (Violation("", "must not be empty"),)
        if bounds.max_length is not None and len(items) > bounds.max_length:
            said = f"must have at most {bounds.max_length} entries, not {len(items)}"
            return (Violation("", said),)
        return ()

    return test


def _number_test(bounds: Bounds) -> _Test:
    above, least, most = bounds.gt, bounds.ge, bounds.le

    def test(number: Any) -> Sequence[Violation]:
        if bounds.finite and not math.isfinite(number):
            return (Violation("", f"must be a finite number, not {number}"),)
        if (
            (above is not None and number <= above)
            or (least is not None and number < least)
            or (most is not None and number > most)
        ):
            return (Violation("", f"must be {bounds.range_text()}, not {number:g}"),)
        return ()

    return test


def _text_test(bounds: Bounds) -> _Test:
    limit = bounds.max_length or MAX_TEXT
    pattern = re.compile(bounds.pattern) if bounds.pattern else None

    def test(text: Any) -> Sequence[Violation]:
        if bounds.required and not text:
            said = "must not be empty"
        elif len(text) > limit:
            said = f"must have at most {limit} characters, not {len(text)}"
        elif "\x00" in text and not bounds.verbatim:
            said = "must not contain NUL characters"
        elif text and pattern and not pattern.fullmatch(text):
            said = f"must match {bounds.pattern}, but is {text[:80]!r}"
        else:
            return ()
        return (Violation("", said),)

    return test
