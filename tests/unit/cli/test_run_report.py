"""`mentorgrad runs report`: the page of one run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from mentorgrad.domain.event import Created, RunEvent
from run_store.open import open_store

Invoke = Callable[..., Any]


def well_formed(page: str) -> ElementTree.Element:
    """The page, which is XML too but for its doctype and its void elements."""
    text = page.partition("\n")[2].replace('"utf-8">', '"utf-8"/>')
    return ElementTree.fromstring(text.replace('initial-scale=1">', 'initial-scale=1"/>'))


def test_a_run_is_reported_on_one_page(invoke: Invoke, store_url: str, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    result = invoke("runs", "report", "toy-run", "--html", str(page), "--store", store_url)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"report written to {page}\n"
    text = page.read_text()
    assert [part.text for part in well_formed(text).iter("h2")] == [
        "Result",
        "Baselines",
        "Losses",
        "Best candidates on selection",
        "Costs",
        "Conditions",
    ]
    assert "0.4200" in text
    assert "<script" not in text
    assert "http" not in text.replace("http://www.w3.org", "")


def test_texts_of_a_run_are_escaped(
    invoke: Invoke, tmp_path: Path, toy_log: list[RunEvent]
) -> None:
    url = f"sqlite:///{tmp_path}/odd.sqlite"
    first = toy_log[0].payload
    assert isinstance(first, Created)
    odd = replace(first, spec=replace(first.spec, name="<script>alert(1)</script> & co"))
    store = open_store(url)
    store.import_run([replace(toy_log[0], payload=odd), *toy_log[1:]])
    store.close()
    page = tmp_path / "report.html"
    result = invoke("runs", "report", "toy-run", "--html", str(page), "--store", url)
    assert result.exit_code == 0, result.stderr
    assert "<script" not in page.read_text()
    assert (
        well_formed(page.read_text()).findtext("body/main/h1") == "<script>alert(1)</script> & co"
    )


def test_a_page_that_cannot_be_written_is_refused(invoke: Invoke, store_url: str) -> None:
    result = invoke("runs", "report", "toy-run", "--html", "no/where.html", "--store", store_url)
    assert result.exit_code == 2
    assert "there is no folder no" in result.stderr
