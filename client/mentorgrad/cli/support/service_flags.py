"""What `mentorgrad serve all` hands to each of its two services.

Only what somebody said is handed on: a flag as a flag, a table of the TOML file as a file of the
service's own, and the environment as it is. So each service decides by its own order of strength
(flag, environment, file, default), as if it had been started alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mentorgrad.cli.support.specs import read_toml
from mentorgrad.errors import InvalidInput

SERVICES = ("trainer", "mentor")
"""The services, which are also the tables of the TOML file."""

STORE_VARIABLE = "MENTORGRAD_TRAINER_STORE"
"""By which a store's URL travels: it may hold a password, and command lines are for all to read."""

Table = Mapping[str, Any]


def read_tables(config: Path | None) -> dict[str, Table]:
    """Each service's table of the TOML file; empty where it says nothing.

    Raises:
        InvalidInput: The file cannot be read or holds something else.
    """
    tables = read_toml(config) if config is not None else {}
    for name, table in tables.items():
        if name not in SERVICES or not isinstance(table, dict):
            raise InvalidInput(
                f"{config}: {name}: there are only the tables [trainer] and [mentor]"
            )
    return {name: tables.get(name, {}) for name in SERVICES}


def config_flags(folder: Path, service: str, table: Table) -> Iterator[str]:
    """Writes a service's table to a file of its own and names it; nothing for an empty table."""
    if table:
        file = folder / f"{service}.toml"
        lines = (f"{json.dumps(name)} = {_toml(value)}\n" for name, value in table.items())
        file.write_text("".join(lines), encoding="utf-8")
        yield from ("--config", str(file))


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        pairs = (f"{json.dumps(name)} = {_toml(inner)}" for name, inner in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, default=str)


def flag(name: str, value: object) -> tuple[str, ...]:
    """A flag with its value; nothing where it was not given."""
    return (name, str(value)) if value is not None else ()


def said(service: str, setting: str, table: Table) -> Any:
    """What the environment, or else the file, says about a setting; None: nothing."""
    variable = f"MENTORGRAD_{service}_{setting}".upper()
    return os.environ.get(variable, table.get(setting))


def threads_of(service: str, given: int | None, share: int, table: Table) -> int | None:
    """Threads to tell a service: as many as the flag says, else its share of the cores.

    Returns:
        None where the environment or the file has spoken, and the service hears it itself.
    """
    if given is None and said(service, "threads", table) is not None:
        return None
    return share if given is None else given


def mentor_flags(name: str, address: str, table: Table) -> Iterator[str]:
    """The trainer's mentors: ours, and with it those of the environment or the file.

    A flag overrules both, so they are repeated as flags; ours takes its name from another.
    """
    others = said("trainer", "mentor", table) or ()
    if isinstance(others, Mapping):
        others = [f"{other}={target}" for other, target in others.items()]
    elif isinstance(others, str):
        others = [item.strip() for item in others.split(",") if item.strip()]
    for item in others:
        if str(item).partition("=")[0] != name:
            yield from ("--mentor", str(item))
    yield from ("--mentor", f"{name}={address}")
