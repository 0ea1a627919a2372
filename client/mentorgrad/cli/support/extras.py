"""Checks whether optional parts of the distribution are installed."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from typing import Any

from mentorgrad.errors import Unsupported
from mentorgrad.installed import installed_version, pip_line

EXTRAS = {
    "trainer": (
        "torch",
        "transformers",
        "sqlalchemy",
        "alembic",
        "safetensors",
        "pyarrow",
        "httpx",
    ),
    "mentor": ("llama-cpp-python", "httpx", "jsonschema"),
    "postgres": ("psycopg",),
    "plot": ("matplotlib",),
    "hub": ("huggingface-hub",),
    "tables": ("openpyxl", "pyarrow"),
}
"""Maps each extra to the packages that must be installed for it."""


def load_entry_point(group: str, name: str, extra: str) -> Any:
    """Loads an entry point of an optional part of the distribution.

    Raises:
        Unsupported: A package it needs is not installed; names the extra to install.
    """
    found = importlib.metadata.entry_points(group=group, name=name)
    try:
        return next(iter(found)).load()
    except StopIteration:
        missing = name
    except ImportError as error:
        missing = error.name or str(error)
    raise Unsupported(
        f"{missing} is not installed; run: {pip_line(extra)}",
        reason="MISSING_EXTRA",
    )


def require_extras(what: str, extras: Sequence[str], install: str, *packages: str) -> None:
    """Checks that extras and further packages are installed.

    Raises:
        Unsupported: A package is missing; says what to install.
    """
    wanted = [package for extra in extras for package in EXTRAS[extra]] + list(packages)
    missing = [package for package in wanted if installed_version(package) is None]
    if missing:
        raise Unsupported(
            f"{what} needs {', '.join(missing)}; run: {pip_line(install)}",
            reason="MISSING_EXTRA",
        )
