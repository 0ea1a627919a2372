"""The names that programs import, with their parameters and members."""

from __future__ import annotations

import enum
import inspect
import pkgutil
import re
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mentor_service import strategies
from mentorgrad import api, frames, integrations, plots, presets, tables
from tests.support.product_source import (
    ROOT,
    SOURCES,
    class_tree,
    members_of_source,
    modules_with,
    names_of_source,
    set_on_self,
    texts_of,
)

_STARS: dict[Any, str] = {
    inspect.Parameter.VAR_POSITIONAL: "*",
    inspect.Parameter.VAR_KEYWORD: "**",
}
_GROUP = re.compile(r"mentorgrad\.(commands|stores|strategies)")


def public_names() -> dict[str, list[str]]:
    """The names that programs import, per module."""
    found = {
        "mentorgrad.api": sorted(api.__all__),
        "mentor_service.strategies": sorted(strategies.__all__),
    }
    for name, module in _documented_modules().items():
        found[name] = names_of_source(Path(str(module.__file__)))
    for name, path in _integrations().items():
        found[name] = names_of_source(path)
    return found


def _integrations() -> dict[str, Path]:
    folder = Path(integrations.__path__[0])
    return {
        f"mentorgrad.integrations.{item.name}": folder / f"{item.name}.py"
        for item in pkgutil.iter_modules([str(folder)])
    }


def _documented_modules() -> dict[str, types.ModuleType]:
    return {
        "mentorgrad.frames": frames,
        "mentorgrad.plots": plots,
        "mentorgrad.presets": presets,
        "mentorgrad.tables": tables,
        "mentor_service.strategies.pool": strategies.pool,
        "mentor_service.strategies.prompts": strategies.prompts,
    }


def members() -> dict[str, Any]:
    """Parameters of the public functions, and parameters and attributes of the public classes."""
    found = {f"mentorgrad.{name}": _described(getattr(api, name)) for name in api.__all__}
    for name in strategies.__all__:
        value = getattr(strategies, name)
        if not isinstance(value, types.ModuleType):
            found[f"mentor_service.strategies.{name}"] = _described(value)
    for module_name, module in _documented_modules().items():
        for name in names_of_source(Path(str(module.__file__))):
            value = getattr(module, name)
            if callable(value):
                found[f"{module_name}.{name}"] = _described(value)
    for module_name, path in _integrations().items():
        # Not imported: each takes seconds of its library's imports.
        for name, content in members_of_source(path).items():
            found[f"{module_name}.{name}"] = content
    return found


def _described(value: Any) -> Any:
    if isinstance(value, types.FunctionType):
        return _parameters(value)
    if not isinstance(value, type):
        return "value"
    if issubclass(value, enum.Enum):
        return {name: member.value for name, member in value.__members__.items()}
    found = _attributes(value)
    methods = {
        name: _parameters(attribute)
        for name, attribute in found.items()
        if inspect.isroutine(attribute)
    }
    return {
        "__init__": _parameters(value),
        **methods,
        "attributes": sorted(set(found) - set(methods)),
    }


def _attributes(cls: type) -> dict[str, Any]:
    """Public attributes that the product's own classes define, by name."""
    packages = {Path(folder).name for folder in SOURCES}
    found: dict[str, Any] = {}
    for owner in reversed(cls.__mro__):
        if owner.__module__.partition(".")[0] not in packages:
            continue
        found |= dict.fromkeys(inspect.get_annotations(owner))
        found |= dict.fromkeys(_set_on_self(owner))
        found |= {name: getattr(owner, name) for name in owner.__dict__}
    return {name: value for name, value in found.items() if not name.startswith("_")}


def _set_on_self(cls: type) -> Iterator[str]:
    # `inspect.getsource` would parse the module once per class.
    tree = class_tree(cls.__module__, cls.__qualname__)
    if tree is not None:
        yield from set_on_self(tree)


def _parameters(function: Any) -> list[str]:
    """Names of the parameters; one with a default ends in `=`."""
    written: list[str] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if name == "self" or (name.startswith("_") and not name.strip("_")):
            continue
        has_default = parameter.default is not parameter.empty
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in written:
            written.append("*")
        written.append(_STARS.get(parameter.kind, "") + name + ("=" if has_default else ""))
    return written


def entry_points() -> dict[str, Any]:
    """Console scripts and entry-point groups with the names in them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {group: sorted(names) for group, names in project["entry-points"].items()}
    # The group of other packages' strategies: the distribution has no entry in it.
    asked_for = {
        text
        for tree in modules_with(_GROUP.pattern).values()
        for text in texts_of(tree)
        if _GROUP.fullmatch(text)
    }
    return {
        "scripts": sorted(project["scripts"]),
        "groups": groups,
        "groups_looked_up": sorted(asked_for),
    }
