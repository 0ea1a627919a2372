"""The outward interface of the product, computed from the code.

`tests/contract/test_recorded_interface.py` compares it with the files in
`tests/contract/recorded/`. When an addition is intended, write the files again and read their
diff before committing it::

    python -m tests.support.interface
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.support.interface_of_python import entry_points, members, public_names
from tests.support.interface_of_services import command_line, environment, metrics, settings
from tests.support.interface_of_store import store_schema
from tests.support.product_source import ROOT, log_events

FOLDER = ROOT / "tests" / "contract" / "recorded"

_WIDTH = 100
"""Characters of a line, up to which a value of a recorded file is written on one."""

PARTS: dict[str, Callable[[], Any]] = {
    "command_line": command_line,
    "entry_points": entry_points,
    "environment": environment,
    "log_events": log_events,
    "members": members,
    "metrics": metrics,
    "public_names": public_names,
    "settings": settings,
    "store_schema": store_schema,
}
"""Name of the recorded file → what computes its content."""


def recorded_text(name: str) -> str:
    """A recorded file."""
    return (FOLDER / f"{name}.json").read_text(encoding="utf-8")


def recorded(name: str) -> Any:
    """Content of a recorded file."""
    return json.loads(recorded_text(name))


def written(content: Any) -> str:
    """Content as a file has it: JSON with sorted keys, short values on one line."""
    return _written(content, 0) + "\n"


def _written(value: Any, depth: int) -> str:
    short = json.dumps(value, sort_keys=True, ensure_ascii=False)
    if not value or not isinstance(value, dict | list) or len(short) + depth < _WIDTH:
        return short
    inside = " " * (depth + 1)
    if isinstance(value, dict):
        lines = [
            f"{inside}{json.dumps(key)}: {_written(item, depth + 1)}"
            for key, item in sorted(value.items())
        ]
        return "{\n" + ",\n".join(lines) + "\n" + " " * depth + "}"
    lines = [inside + _written(item, depth + 1) for item in value]
    return "[\n" + ",\n".join(lines) + "\n" + " " * depth + "]"


@dataclasses.dataclass(frozen=True)
class Difference:
    """Where the present interface differs from the recorded one, as paths."""

    gone: tuple[str, ...] = ()
    """In the record alone, or with another value."""
    joined: tuple[str, ...] = ()
    """Not in the record."""


def difference(old: Any, new: Any, path: str = "") -> Difference:
    """Compares two contents. Lists of names are compared by what is in them, and then by order;
    lists of tables, where they are of equal length, one by one."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return _sum(
            Difference(
                tuple(_join(path, key) for key in old if key not in new),
                tuple(_join(path, key) for key in new if key not in old),
            ),
            *(difference(old[key], new[key], _join(path, key)) for key in old if key in new),
        )
    if not _is_list(old) or not _is_list(new):
        return Difference() if old == new else Difference((f"{path}: {old!r} became {new!r}",))
    if len(old) == len(new) and all(isinstance(item, Mapping) for item in (*old, *new)):
        pairs = enumerate(zip(old, new, strict=True))
        return _sum(*(difference(one, other, _join(path, at)) for at, (one, other) in pairs))
    gone = tuple(_join(path, item) for item in old if item not in new)
    joined = tuple(_join(path, item) for item in new if item not in old)
    if not gone and not joined and list(old) != list(new):
        gone = (f"{path}: the order {old} became {new}",)
    return Difference(gone, joined)


def _sum(*parts: Difference) -> Difference:
    return Difference(
        tuple(item for part in parts for item in part.gone),
        tuple(item for part in parts for item in part.joined),
    )


def _join(path: str, key: object) -> str:
    return f"{path} / {key}" if path else str(key)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def main() -> None:
    """Writes the files."""
    FOLDER.mkdir(exist_ok=True)
    for name, compute in PARTS.items():
        (FOLDER / f"{name}.json").write_text(written(compute()), encoding="utf-8")
    print(f"{len(PARTS)} files in {FOLDER}", file=sys.stderr)


if __name__ == "__main__":
    main()
