"""The pages of guarantees, of security and of proofs name tests that there are."""

from __future__ import annotations

import re

import pytest

from tests.support.product_source import ROOT, SOURCES

PAGE = (ROOT / "docs/guarantees.md").read_text()
PROOFS = (ROOT / "docs/proofs.md").read_text()
SECURITY = (ROOT / "docs/security.md").read_text()


@pytest.mark.parametrize(("page", "least"), [(PAGE, 21), (SECURITY, 10)])
def test_every_promise_names_tests_that_exist(page: str, least: int) -> None:
    promises = [line for line in page.splitlines() if line.startswith("| ") and "tests/" in line]
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page)
    assert len(promises) >= least
    assert len(named) >= len(promises)
    for path, name in named:
        assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.M), (path, name)


def test_every_proof_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PROOFS)
    assert len(named) > 15
    for path, name in named:
        assert re.search(rf"^(async )?def {name or 'test_'}", (ROOT / path).read_text(), re.M), name
    for path in re.findall(r"\]\(\.\./(bench/[\w./]+)\)", PROOFS):
        assert (ROOT / path).exists(), path


def test_every_line_of_promises_has_its_proof() -> None:
    rows = re.findall(r"^\| promise \|.*?\n\|---.*?\n((?:\|.*\n)+)", PAGE, re.M)
    assert len(rows) == 4
    for row in "".join(rows).splitlines():
        assert "`tests/" in row.rsplit("|", 2)[1], row


def test_every_module_that_the_page_of_security_names_is_there() -> None:
    known = [path.as_posix() for folder in SOURCES for path in (ROOT / folder).rglob("*.py")]
    named = {name for name in re.findall(r"`([\w/]+\.py)`", SECURITY) if "tests/" not in name}
    assert len(named) > 20
    assert [name for name in named if not any(path.endswith(f"/{name}") for path in known)] == []
