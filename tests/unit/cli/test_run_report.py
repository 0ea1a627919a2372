"""`mentorgrad runs report`: the page of one run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from mentorgrad.domain.event import Created, RunEvent
from mentorgrad.domain.run import Score
from mentorgrad.domain.spec import Criterion
from mentorgrad.tune.outcome import ScoredRows, method_on, outcome
from mentorgrad.tune.predictions import RowPredictions
from mentorgrad.tune.report import tune_page
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
        "Labels on test",
        "Labels on test, by prediction",
        "Losses",
        "Best candidates on selection",
        "Costs",
        "Conditions",
    ]
    assert "0.4200" in text
    assert "rows at a time in a step" in text
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


def test_the_page_of_a_tune_escapes_what_comes_from_the_table(store_url: str) -> None:
    odd = "<img src=x onerror=alert(1)> & <b>"
    shares = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    labels = np.array([0, 1, 1])
    rows = ScoredRows([odd] * 3, labels, {"prompt": RowPredictions.of_shares(labels, shares)})
    method = method_on(rows, "prompt", odd, Score(loss=1.0, accuracy=0.5, rows=3))
    found = outcome([method], rows, (odd, "other"), Criterion.ACCURACY)
    store = open_store(store_url, read_only=True)
    page = tune_page(odd, found, [("What was read", [odd])], store, store.get_run("toy-run"))
    store.close()
    assert "<img" not in page
    body = well_formed(page)
    assert [part.text for part in body.iter("h2")][:4] == [
        "Which method",
        "Test rows by label and prediction",
        "The most confident errors on test",
        "What was read",
    ]
    assert body.findtext("body/main/h1") == odd


def test_a_page_that_cannot_be_written_is_refused(invoke: Invoke, store_url: str) -> None:
    result = invoke("runs", "report", "toy-run", "--html", "no/where.html", "--store", store_url)
    assert result.exit_code == 2
    assert "there is no folder no" in result.stderr
