"""Documented Python code imports public names only: those of `docs/public-interface.md`.

Read are the Python blocks of README.md and of every page under docs/, examples/, notebooks, and the
project of tests/support/user_project.
"""

from __future__ import annotations

import ast
import json
import re
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.deployment import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS = {
    Path(folder).name: ROOT / folder
    for folder in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
}
"""Packages of the distribution → their folders."""

OURS = {*FOLDERS, "bench", "tests"}
PAGE = (ROOT / "docs/public-interface.md").read_text()


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def names(title: str) -> list[str]:
    """The first column of a section's table."""
    return re.findall(r"^\| `([\w.*]+)` \|", section(title), re.M)


def file_of(module: str) -> Path | None:
    package, *rest = module.split(".")
    place = FOLDERS[package].joinpath(*rest)
    files = (place / "__init__.py", place.with_suffix(".pyi"), place.with_suffix(".py"))
    return next((file for file in files if file.exists()), None)


def public_modules() -> set[str]:
    found = set()
    for name in names("Python"):
        package = name.removesuffix(".*")
        file = file_of(package)
        assert file is not None, f"docs/public-interface.md: there is no {package}"
        found.add(package)
        if name != package:
            inside = (path.stem for path in file.parent.glob("*.py") if path.stem != "__init__")
            found.update(f"{package}.{stem}" for stem in inside)
    return found


PUBLIC = public_modules()


def public_names(module: str) -> set[str]:
    """What may be imported from a public module."""
    file = file_of("mentorgrad.api" if module == "mentorgrad" else module)
    assert file is not None
    found = {name.rpartition(".")[2] for name in PUBLIC if name.rpartition(".")[0] == module}
    if module == "mentorgrad":
        found |= {"__version__"}
    body = ast.parse(file.read_text()).body
    for line in body:
        if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "__all__":
            return found | set(ast.literal_eval(line.value))
    # Generated stubs: whatever they define; other modules state what they offer.
    if module.startswith("mentorgrad.v1."):
        defined = (line for line in body if isinstance(line, (ast.ClassDef, ast.FunctionDef)))
        found |= {line.name for line in defined if not line.name.startswith("_")}
    return found


class Code(NamedTuple):
    """Some Python and where it stands."""

    file: str
    line: int
    """Of the file (in a notebook: of the cell) that comes before the code."""
    text: str


def blocks(text: str, file: str) -> Iterator[Code]:
    """The Python blocks of a Markdown page."""
    for match in re.finditer(r"^( *)```(?:python|py)\b.*\n((?:.*\n)*?)\1```", text, re.M):
        line = text.count("\n", 0, match.start(2))
        yield Code(file, line, textwrap.dedent(match[2]))


def cells(text: str, file: str) -> Iterator[Code]:
    """The code cells of a notebook, without the lines that are IPython's own."""
    for number, cell in enumerate(json.loads(text)["cells"], start=1):
        if cell["cell_type"] == "code":
            lines = "".join(cell["source"]).splitlines()
            lines = ["" if line.lstrip().startswith(("%", "!")) else line for line in lines]
            yield Code(f"{file}, cell {number}", 0, "\n".join(lines))


def documented() -> Iterator[Code]:
    for pattern in ("*.md", "docs/**/*.md", "client/*/*.md", "examples/**/*.md"):
        for path in sorted(ROOT.glob(pattern)):
            yield from blocks(path.read_text(), str(path.relative_to(ROOT)))
    for pattern in ("examples/**/*.py", "tests/support/user_project/*.py"):
        for path in sorted(ROOT.glob(pattern)):
            if path.name != "mistakes.py":  # made for mypy to find them
                yield Code(str(path.relative_to(ROOT)), 0, path.read_text())
    for folder in ("docs", "examples"):
        for path in sorted((ROOT / folder).rglob("*.ipynb")):
            yield from cells(path.read_text(), str(path.relative_to(ROOT)))


def imported(tree: ast.Module) -> Iterator[tuple[int, str, str]]:
    """Line, module and name (empty: the module itself) of what is ours."""
    modules: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for one in node.names:
                if one.name.partition(".")[0] in OURS:
                    yield node.lineno, one.name, ""
                    modules[one.asname or one.name.partition(".")[0]] = (
                        one.name if one.asname else one.name.partition(".")[0]
                    )
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if module.partition(".")[0] in OURS:
                yield from ((node.lineno, module, one.name) for one in node.names)
    # `import mentorgrad`, then `mentorgrad.Client`.
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = modules.get(node.value.id)
            if module is not None:
                yield node.lineno, module, node.attr


def faults(code: Code) -> Iterator[str]:
    """What a piece of code imports that is not public, with file and line."""
    try:
        tree = ast.parse(code.text)
    except SyntaxError as error:
        yield f"{code.file}:{code.line + (error.lineno or 0)}: {error.msg}"
        return
    for line, module, name in imported(tree):
        place = f"{code.file}:{code.line + line}"
        # The package above public modules only leads to them (`import mentor_service.strategies`).
        leads = f"{module}.{name}" in PUBLIC
        if module not in PUBLIC and not leads:
            yield f"{place}: {module} is not public"
        elif name not in ("", "*") and not leads and name not in public_names(module):
            yield f"{place}: {module}.{name} is not public"


def test_documented_code_imports_public_names_only() -> None:
    found = list(documented())
    files = {code.file for code in found}
    assert {"docs/adding-a-strategy.md", "examples/own_loop.py"} <= files
    wrong = [fault for code in found for fault in faults(code)]
    assert not wrong, "\n".join(wrong)


def test_every_public_module_states_its_names() -> None:
    assert {"mentorgrad", "mentorgrad.v1.run_pb2", "mentor_service.strategies"} <= PUBLIC
    packages = {"mentorgrad.v1", "mentorgrad.integrations"}
    for module in PUBLIC - packages:
        assert public_names(module), module
    assert "resolve" in public_names("mentorgrad")
    assert "RunSpec" in public_names("mentorgrad.v1.run_pb2")


def test_the_page_names_the_groups_of_entry_points() -> None:
    groups = set(names("Entry points"))
    assert set(PROJECT["project"]["entry-points"]) <= groups
    strategies = (ROOT / "docs/adding-a-strategy.md").read_text()
    kinds = ("commands", "predictors", "stores", "strategies")
    assert {f"mentorgrad.{name}" for name in kinds} == groups
    assert '[project.entry-points."mentorgrad.strategies"]' in strategies


PAGE_WITH_FAULTS = """\
# A page

```python
from mentorgrad import Client
from mentorgrad.wire import channels
import mentor_service.strategies
```

- In a list:

  ```python
  import mentorgrad

  mentorgrad.Client, mentorgrad.cli
  from mentorgrad import Nonsense
  import run_store.open
  ```

```python
def (
```

```
from mentorgrad.wire import codec
```
"""


def test_what_is_not_public_is_named_with_file_and_line() -> None:
    assert [fault for code in blocks(PAGE_WITH_FAULTS, "page.md") for fault in faults(code)] == [
        "page.md:5: mentorgrad.wire is not public",
        "page.md:15: mentorgrad.Nonsense is not public",
        "page.md:16: run_store.open is not public",
        "page.md:14: mentorgrad.cli is not public",
        "page.md:20: invalid syntax",
    ]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("from mentorgrad.v1 import run_pb2", ""),
        ("from mentorgrad.v1.run_pb2 import RunSpec", ""),
        ("from mentorgrad.v1.run_pb2 import RunSpecs", "mentorgrad.v1.run_pb2.RunSpecs"),
        ("from mentorgrad import __version__, plots, presets", ""),
        ("from mentorgrad.integrations import torch", ""),
        ("from mentorgrad.integrations.torch import Rules", ""),
        (
            "from mentorgrad.integrations.torch import replace",
            "mentorgrad.integrations.torch.replace",
        ),
        ("from mentorgrad.plots import np", "mentorgrad.plots.np"),
        ("from mentorgrad.api import Client", "mentorgrad.api"),
        ("from mentorgrad import cli", "mentorgrad.cli"),
        ("from mentor_service import strategies", ""),
        ("from mentor_service import prompts", "mentor_service"),
        ("import trainer_service", "trainer_service"),
        ("import numpy, trainers_service", ""),
    ],
)
def test_lines(line: str, fault: str) -> None:
    notebook = {
        "cells": [
            {"cell_type": "markdown", "source": ["from mentorgrad import cli"]},
            {"cell_type": "code", "source": ["%pip install mentorgrad\n", line]},
        ]
    }
    wanted = [f"book.ipynb, cell 2:2: {fault} is not public"] if fault else []
    found = [each for code in cells(json.dumps(notebook), "book.ipynb") for each in faults(code)]
    assert found == wanted
