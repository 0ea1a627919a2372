"""The product's source as syntax trees: what can be read from it without importing it."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

SOURCES = (
    "client/mentorgrad",
    "service_common",
    "run_store",
    "trainer_service",
    "mentor_service",
    "ui_service",
)
"""Folders of the product's packages."""

_NAMED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_LEVELS = frozenset({"debug", "info", "warning", "error", "critical", "exception"})


@functools.cache
def product_texts() -> dict[str, str]:
    """Path → text of every module of the product, generated code excluded."""
    return {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
        for folder in SOURCES
        for path in sorted((ROOT / folder).rglob("*.py"))
        if not path.stem.endswith(("_pb2", "_pb2_grpc"))
    }


@functools.cache
def _tree(path: str) -> ast.Module:
    return ast.parse(product_texts()[path], path)


def modules_with(pattern: str) -> dict[str, ast.Module]:
    """Path → syntax tree of the modules whose text has a match of a regular expression: to parse
    all would take seconds."""
    return {path: _tree(path) for path, text in product_texts().items() if re.search(pattern, text)}


@functools.cache
def _classes(path: str) -> dict[str, ast.ClassDef]:
    return {node.name: node for node in ast.walk(_tree(path)) if isinstance(node, ast.ClassDef)}


def class_tree(module: str, name: str) -> ast.ClassDef | None:
    """Syntax tree of a class of the product; None for one of generated code."""
    path = module.replace(".", "/")
    path = f"client/{path}" if path.startswith("mentorgrad/") else path
    found = [one for one in (f"{path}.py", f"{path}/__init__.py") if one in product_texts()]
    return _classes(found[0]).get(name.rpartition(".")[2]) if found else None


def texts_of(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def names_of_source(path: Path) -> list[str]:
    """`__all__` of a module, or else the public names that it defines. Nothing is imported."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, _NAMED):
            names.add(node.name)
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        for target in targets:
            if isinstance(target, ast.Name) and target.id == "__all__":
                assert isinstance(node, ast.Assign)
                return sorted(ast.literal_eval(node.value))
            if isinstance(target, ast.Name):
                names.add(target.id)
    return sorted(name for name in names if not name.startswith("_"))


def members_of_source(path: Path) -> dict[str, Any]:
    """Parameters of a module's public functions, and members of its public classes."""
    return {
        node.name: _class_members(node) if isinstance(node, ast.ClassDef) else _arguments(node)
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, _NAMED) and not node.name.startswith("_")
    }


def _class_members(cls: ast.ClassDef) -> dict[str, Any]:
    found: dict[str, Any] = {}
    attributes: set[str] = set()
    for node in ast.walk(cls):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if any(isinstance(part, ast.Name) for part in node.decorator_list):
                attributes.add(node.name)  # a property
            else:
                found[node.name] = _arguments(node)
    attributes |= set(set_on_self(cls))
    for node in cls.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            attributes.add(node.target.id)
    public = {
        name: value
        for name, value in found.items()
        if name == "__init__" or not name.startswith("_")
    }
    named = sorted(name for name in attributes if not name.startswith("_"))
    return {**public, "attributes": named}


def set_on_self(tree: ast.AST) -> Iterator[str]:
    """Names of the attributes that a class's methods set on `self`."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or not isinstance(node.ctx, ast.Store):
            continue
        if isinstance(node.value, ast.Name) and node.value.id == "self":
            yield node.attr


def _arguments(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Names of the parameters; one with a default ends in `=`."""
    given = function.args
    names = [argument.arg for argument in (*given.posonlyargs, *given.args)]
    first = len(names) - len(given.defaults)
    written = [name + ("=" if at >= first else "") for at, name in enumerate(names)]
    if given.vararg is not None:
        written.append(f"*{given.vararg.arg}")
    elif given.kwonlyargs:
        written.append("*")
    for argument, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        written.append(argument.arg + ("=" if default is not None else ""))
    if given.kwarg is not None:
        written.append(f"**{given.kwarg.arg}")
    return written[1:] if written[:1] in (["self"], ["cls"]) else written


def log_events() -> list[str]:
    """Names of the events that the product logs."""
    trees = modules_with(r"get_?[lL]ogger|logging\.").values()
    return sorted({event for tree in trees for event in _events(tree)})


def _events(tree: ast.Module) -> Iterator[str]:
    loggers, aliases = _loggers(tree), _aliases(tree, _loggers(tree))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        function = node.func
        is_alias = isinstance(function, ast.Name) and function.id in aliases
        if is_alias or _is_log_method(function, loggers):
            yield from _event_names(node, node.args[0])
        elif len(node.args) > 1 and _is_level(node.args[0]):
            yield from _event_names(node, node.args[1])


def _loggers(tree: ast.Module) -> set[str]:
    """Names of the module's loggers."""
    return {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
        if isinstance(node.value.func, ast.Attribute)
        if node.value.func.attr in ("get_logger", "getLogger")
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _aliases(tree: ast.Module, loggers: set[str]) -> set[str]:
    """Names that a logger's method is bound to, as in `line = log.debug if quiet else log.info`."""
    return {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        if isinstance(node.value, ast.IfExp | ast.Attribute)
        if any(_is_log_method(part, loggers) for part in ast.walk(node.value))
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _is_log_method(node: ast.AST, loggers: set[str]) -> bool:
    return (
        isinstance(node, ast.Attribute)
        and node.attr in _LEVELS
        and isinstance(node.value, ast.Name)
        and node.value.id in loggers
    )


def _is_level(node: ast.AST) -> bool:
    """Whether it is `logging.INFO` or the like."""
    return (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "logging"
        and node.attr.lower() in _LEVELS
    )


def _event_names(call: ast.Call, argument: ast.expr) -> list[str]:
    names = list(texts_of(argument))
    if not names:
        raise ValueError(f"line {call.lineno} logs an event whose name is not a constant")
    return names
