"""The code that a guide shows is the code that the tests run."""

from __future__ import annotations

import re
import textwrap

import pytest

from tests.support.deployment import ROOT

SOURCES = {
    "js": ("client/node/walk.mjs", "client/node/errors.mjs", "client/node/predict.mjs"),
    "go": ("client/go/main.go",),
}
SHOWN = {"js": 6, "go": 3}


@pytest.mark.parametrize("language", SOURCES)
def test_the_guide_shows_the_programs_own_lines(language: str) -> None:
    guide = (ROOT / "docs/languages.md").read_text()
    shown = re.findall(rf"^```{language}\n(.*?)^```$", guide, flags=re.MULTILINE | re.DOTALL)
    assert len(shown) == SHOWN[language]
    program = "".join((ROOT / source).read_text() for source in SOURCES[language])
    for code in shown:
        assert len(code.splitlines()) > 4
        indented = textwrap.indent(code, "\t")
        assert code in program or indented in program, code


def test_the_guide_to_experiments_shows_the_example() -> None:
    guide = (ROOT / "docs/experiments.md").read_text()
    shown = re.search(r"^```toml\n(.*?)^```$", guide, flags=re.MULTILINE | re.DOTALL)
    assert shown is not None
    assert shown[1] == (ROOT / "examples/experiment.toml").read_text()
