"""What users and other programs rely on stays: names, flags, settings, metrics, logs, schema.

Each part is compared with its file in `recorded/`. A name may be added, together with the file
(`python -m tests.support.interface`); none may go, and none may change its meaning.
"""

from __future__ import annotations

import importlib.metadata

import pytest

from tests.support.interface import PARTS, Difference, difference, recorded, recorded_text, written
from tests.support.interface_of_store import declared_tables

_RENEW = "write the record again with `python -m tests.support.interface`, and read its diff"


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_the_interface_is_as_it_was_recorded(part: str) -> None:
    found = difference(recorded(part), PARTS[part]())
    assert not found.gone, f"{part}: gone or changed:\n" + "\n".join(found.gone)
    assert not found.joined, f"{part}: new; {_RENEW}:\n" + "\n".join(found.joined)


def test_the_files_are_as_the_command_writes_them() -> None:
    for part in PARTS:
        assert recorded_text(part) == written(recorded(part)), f"{part}: {_RENEW}"


def test_the_tables_are_declared_as_the_migrations_make_them() -> None:
    schema = recorded("store_schema")
    tables = {
        name: table for name, table in schema["tables"].items() if name != schema["version_table"]
    }
    for table in tables.values():
        for column in table["columns"].values():
            del column["postgres_type"]
    assert difference(tables, declared_tables()) == Difference()


def test_the_installed_distribution_has_the_entry_points() -> None:
    found = recorded("entry_points")
    for group, names in {**found["groups"], "console_scripts": found["scripts"]}.items():
        assert set(names) <= {entry.name for entry in importlib.metadata.entry_points(group=group)}


def test_what_goes_changes_or_joins_is_told_apart() -> None:
    old = {"a": {"b": 1, "c": ["x", "y"]}, "d": None}
    assert difference(old, old) == Difference()
    assert difference(old, {"a": {"b": 2, "c": ["y", "z"]}, "e": 1}) == Difference(
        gone=("d", "a / b: 1 became 2", "a / c / x"), joined=("e", "a / c / z")
    )
    (reordered,) = difference(["x", "y"], ["y", "x"]).gone
    assert "order" in reordered
