"""Settings that `mentorgrad serve all` passes to each of its two services.

Only given settings are passed on: a flag as a flag, the TOML file to each service that it has a
table for, and the environment unchanged. Each service then applies its own order of precedence
(flag, environment, file, default), as if it had been started alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mentorgrad.cli.support.specs import read_toml
from mentorgrad.errors import InvalidInput

SERVICES = ("trainer", "mentor")
"""Names of the services and of the tables of the TOML file."""

STORE_VARIABLE = "MENTORGRAD_TRAINER_STORE"
"""Passes the store's URL: it may contain a password, and all users can read command lines."""

TomlTable = Mapping[str, Any]


def read_tables(config: Path | None) -> dict[str, TomlTable]:
    """Each service's table of the TOML file; empty if the file does not have it.

    Raises:
        InvalidInput: The file cannot be read or contains other tables.
    """
    tables = read_toml(config) if config is not None else {}
    for name, table in tables.items():
        if name not in SERVICES or not isinstance(table, dict):
            raise InvalidInput(
                f"{config}: {name}: only the tables [trainer] and [mentor] are allowed"
            )
    return {name: tables.get(name, {}) for name in SERVICES}


def flags(**given: object) -> list[str]:
    """The flags of a service for settings by their names: a list is repeated, and what was not
    given is left out (None, or False for a flag without a value)."""
    listed: list[str] = []
    for name, value in given.items():
        for item in value if isinstance(value, list) else [value]:
            if item is not None and item is not False:
                listed.append(f"--{name.replace('_', '-')}")
                listed += [] if item is True else [str(item)]
    return listed


def said(service: str, setting: str, table: TomlTable) -> Any:
    """A setting's value from the environment, otherwise from the file; None: not set."""
    variable = f"MENTORGRAD_{service}_{setting}".upper()
    return os.environ.get(variable, table.get(setting))


def threads_of(service: str, given: int | None, share: int, table: TomlTable) -> int | None:
    """Thread count to pass to a service: the flag's value, otherwise its share of the cores.

    Returns:
        None if the environment or the file sets it, because the service reads that itself.
    """
    if given is None and said(service, "threads", table) is not None:
        return None
    return share if given is None else given


def mentor_flags(name: str, address: str, table: TomlTable) -> Iterator[str]:
    """Flags for the trainer's mentors: the started one, and those of the environment or the file.

    A flag overrides both, so they are repeated as flags. The started mentor replaces another one
    with the same name.
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
