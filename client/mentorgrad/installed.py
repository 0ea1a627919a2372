"""Versions of installed distributions."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version


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
