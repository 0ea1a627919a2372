"""Checks whether optional parts of the distribution are installed."""

from __future__ import annotations

from collections.abc import Sequence

from mentorgrad.errors import Unsupported
from mentorgrad.installed import installed_version, pip_line
from mentorgrad.installed import load_entry_point as load_entry_point

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
    "ui": ("starlette", "uvicorn"),
    "postgres": ("psycopg",),
    "plot": ("matplotlib",),
    "frame": ("pandas",),
    "hub": ("huggingface-hub",),
    "tables": ("openpyxl", "pyarrow"),
}
"""Maps each extra to the packages that must be installed for it."""


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
