"""Optional parts of the distribution: whether they are there, and what to install."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from typing import Any

from mentorgrad.errors import Unsupported

EXTRAS = {
    "trainer": ("torch", "transformers", "sqlalchemy", "alembic", "safetensors", "pyarrow"),
    "mentor": ("llama-cpp-python", "httpx", "jsonschema"),
    "postgres": ("psycopg",),
    "plot": ("matplotlib",),
    "hub": ("huggingface-hub",),
}
"""Extra → what tells whether it is installed."""


def load_entry_point(group: str, name: str, extra: str) -> Any:
    """What an optional part of the distribution provides under a name.

    Raises:
        Unsupported: Something it needs is not installed; says which extra to install.
    """
    found = importlib.metadata.entry_points(group=group, name=name)
    try:
        return next(iter(found)).load()
    except StopIteration:
        missing = name
    except ImportError as error:
        missing = error.name or str(error)
    raise Unsupported(
        f"{missing} is not installed; run: pip install 'mentorgrad[{extra}]'",
        reason="MISSING_EXTRA",
    )


def installed_version(package: str) -> str | None:
    """Version of an installed distribution; None when it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def require_extras(what: str, extras: Sequence[str], install: str, *packages: str) -> None:
    """Checks that extras (and further packages) are installed before anything is started.

    Raises:
        Unsupported: Something is missing; says what to install.
    """
    wanted = [package for extra in extras for package in EXTRAS[extra]] + list(packages)
    missing = [package for package in wanted if installed_version(package) is None]
    if missing:
        raise Unsupported(
            f"{what} needs {', '.join(missing)}; run: pip install 'mentorgrad[{install}]'",
            reason="MISSING_EXTRA",
        )
