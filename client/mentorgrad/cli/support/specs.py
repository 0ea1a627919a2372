"""Builds a run's spec from a preset, a TOML file, flags and ``path=value`` settings. Each of them
overrides those before it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import InvalidInput
from mentorgrad.paths import expanded
from mentorgrad.presets import preset_fields
from mentorgrad.serialization import from_dict, merged


def build_spec(
    file: Path | None,
    flags: Mapping[str, Any],
    settings: Sequence[str] = (),
    preset: str | None = None,
) -> RunSpec:
    """Builds the spec that a command line describes; see `spec_fields`."""
    return from_dict(RunSpec, spec_fields(file, flags, settings, preset))


def spec_fields(
    file: Path | None,
    flags: Mapping[str, Any],
    settings: Sequence[str] = (),
    preset: str | None = None,
) -> dict[str, Any]:
    """The fields that a command line sets, as `from_dict` reads them.

    Args:
        file: TOML file with the fields of a spec; None: the defaults.
        flags: Field path → value; None: not given.
        settings: ``path=value``; a value that is not JSON is taken as text.
        preset: Name of the preset to start from; None: the defaults.

    Raises:
        InvalidInput: A field is unknown, has the wrong type or is out of range; names its path.
    """
    tree = preset_fields(preset) if preset is not None else {}
    if file is not None:
        tree = merged(RunSpec, tree, read_toml(file))
    for path, value in flags.items():
        if value is not None:
            tree = merged(RunSpec, tree, _nested(path, value))
    for item in settings:
        path, separator, text = item.partition("=")
        if not separator or not path:
            raise InvalidInput.field("--set", f"must be path=value, not {item!r}")
        tree = merged(RunSpec, tree, _nested(path.strip(), _value(text.strip())))
    return tree


def read_toml(path: Path) -> dict[str, Any]:
    """Reads a TOML file.

    Raises:
        InvalidInput: The file cannot be read; says why.
    """
    try:
        return tomllib.loads(_text(path))
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"{path}: {error}") from None


def read_json(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
        InvalidInput: The file cannot be read; says why.
    """
    try:
        return json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise InvalidInput(f"{path}:{error.lineno}: {error.msg}") from None


def _text(path: Path) -> str:
    try:
        return expanded(path, "file").read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = (getattr(error, "strerror", None) or str(error)).lower()
        raise InvalidInput(f"{path} cannot be read: {why}") from None


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _nested(path: str, value: Any) -> Any:
    """A value in nested mappings: ``a.b`` → ``{"a": {"b": value}}``."""
    for name in reversed(path.split(".")):
        value = {name: value}
    return value
