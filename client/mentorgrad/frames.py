"""Frames of pandas: one row per run, snapshot, candidate or experiment.

The columns are the paths of the fields, as ``runs show --json`` nests them and `compare_runs` names
them: ``result.test.accuracy``, ``spec.mentor.name``. A column of a choice, such as
``spec.objective``, holds the name of what was chosen; its fields are columns behind it. Baselines
are columns by their names (``result.baselines.linear_probe.test.loss``); other sequences are
tuples in one cell. What is missing is NaN, NaT or None.

pandas is imported when a frame is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from mentorgrad.domain.run import Baseline
from mentorgrad.domain.summary import DataFrame
from mentorgrad.errors import Unsupported
from mentorgrad.installed import pip_line
from mentorgrad.schema import FieldKind, FieldType, field_types, join, snake_case

__all__ = ["to_frame"]

_LAST = ("spec.", "versions.", "request_id")
"""Beginnings of the columns that stand behind all others."""


def to_frame(values: Iterable[Any], kind: type | None = None) -> DataFrame:
    """Makes a frame with one row per value.

    Args:
        values: Runs, snapshots, candidates, experiments or other records of one type, for example
            from `iter_runs`.
        kind: Their type, whose columns a frame without rows has too; None: that of the first.

    Raises:
        Unsupported: pandas is not installed (extra ``frame``).
    """
    pandas = _pandas()
    values = list(values)
    kind = kind or (type(values[0]) if values else None)
    known = {} if kind is None else dict(_columns(kind))
    rows = [dict(leaves(value)) for value in values]
    names = dict.fromkeys([*known, *(name for row in rows for name in row)])
    ordered = sorted(names, key=lambda name: name.startswith(_LAST))
    frame: DataFrame = pandas.DataFrame(rows, columns=ordered)
    types = {name: _dtype(field) for name, field in known.items() if frame[name].isna().all()}
    return frame.astype({name: dtype for name, dtype in types.items() if dtype is not None})


def _pandas() -> Any:
    try:
        import pandas
    except ImportError:
        raise Unsupported(
            f"frames require pandas; run: {pip_line('frame')}", reason="MISSING_EXTRA"
        ) from None
    return pandas


def _columns(kind: type, path: str = "") -> Iterator[tuple[str, FieldType]]:
    """The columns that every value of a type has, with their fields' types."""
    for name, field in field_types(kind).items():
        where = join(path, name)
        if field.base is Baseline or field.kind in (FieldKind.STRUCT, FieldKind.STRING_MAP):
            continue
        if field.kind is FieldKind.MESSAGE and not field.repeated:
            yield from _columns(field.base, where)
        else:
            yield where, field


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Path and value of all that is not missing."""
    for name, field in field_types(type(value)).items():
        member, where = getattr(value, name), join(path, name)
        if member is None:
            continue
        if field.base is Baseline:
            for item in member:
                yield from leaves(item, join(where, item.name))
        elif field.repeated:
            yield where, member
        elif field.kind is FieldKind.MESSAGE:
            yield from leaves(member, where)
        elif field.kind is FieldKind.UNION:
            chosen = snake_case(type(member).__name__)
            yield where, chosen
            yield from leaves(member, join(where, chosen))
        elif field.kind in (FieldKind.STRUCT, FieldKind.STRING_MAP):
            yield from ((join(where, str(key)), item) for key, item in member.items())
        else:
            yield where, member.value if field.kind is FieldKind.ENUM else member


def _dtype(field: FieldType) -> str | None:
    """The type of a column all of whose cells are missing; None: whatever pandas takes."""
    if field.repeated:
        return None
    if field.kind is FieldKind.DATETIME:
        return "datetime64[us, UTC]"
    if field.kind is FieldKind.DURATION:
        return "timedelta64[us]"
    return "float64" if field.kind is FieldKind.SCALAR and field.base in (int, float) else None
