"""Installed distributions: their versions, and optional parts of this one."""

from __future__ import annotations

import importlib.metadata
import json
import shlex
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from mentorgrad.errors import Unsupported

OURS = "mentorgrad"
"""Name of this distribution."""


@cache  # a process keeps what it has imported, and a look takes a millisecond each
def installed_version(package: str) -> str | None:
    """Version of a distribution; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Maps each of the distributions that are installed to its version."""
    found = {package: installed_version(package) for package in packages}
    return {package: number for package, number in found.items() if number is not None}


def pip_line(extras: str = "") -> str:
    """The command that installs this distribution with extras, from the folder that it came from.

    Args:
        extras: Names of extras, separated by commas.
    """
    source, flags = _source()
    what = f"{source}[{extras}]" if extras else source
    return f"pip install {flags}{shlex.quote(what)}"


def _source() -> tuple[str, str]:
    """What pip installs this distribution from, and the flags for it: a folder with its source, or
    its name in a package index."""
    try:
        found = json.loads(distribution(OURS).read_text("direct_url.json") or "{}")
    except PackageNotFoundError:  # not installed: imported from its source
        found = {"url": Path(__file__).parents[2].as_uri(), "dir_info": {}}
    folder = Path(url2pathname(urlsplit(found.get("url", "")).path))
    if "dir_info" not in found or not (folder / "pyproject.toml").is_file():
        return OURS, ""
    return str(folder), "-e " if found["dir_info"].get("editable") else ""


def load_entry_point(group: str, name: str, extra: str) -> Any:
    """Loads an entry point of an optional part of the distribution.

    Raises:
        Unsupported: A package it needs is not installed; names the extra to install.
    """
    try:
        return next(iter(importlib.metadata.entry_points(group=group, name=name))).load()
    except StopIteration:
        missing = name
    except ImportError as error:
        missing = error.name or str(error)
    raise Unsupported(f"{missing} is not installed; run: {pip_line(extra)}", reason="MISSING_EXTRA")
