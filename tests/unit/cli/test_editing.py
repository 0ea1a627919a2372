"""`runs list --field` and `--text` on a store, and what `runs tag` refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

Invoke = Callable[..., Any]


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (("--field", "spec.mentor.name=random_tokens"), 1),
        (("--field", "spec.mentor.name=none"), 0),
        (("--field", "result.test.accuracy>=0.7", "--field", "result.test.loss <= 0.5"), 1),
        (("--field", "best_selection_loss<=-1"), 0),
        (("--text", "toy"), 1),
        (("--text", "nowhere"), 0),
    ],
)
def test_list_by_fields_and_text(
    invoke: Invoke, store_url: str, options: tuple[str, ...], count: int
) -> None:
    result = invoke("runs", "list", "--store", store_url, "--json", *options)
    assert result.exit_code == 0, result.stderr
    assert len(json.loads(result.stdout)["runs"]) == count


def test_a_short_text_is_said_to_be_a_beginning(invoke: Invoke, store_url: str) -> None:
    result = invoke("runs", "list", "--store", store_url, "--text", "to")
    assert "searched the beginnings of names only" in result.stderr


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("spec.optimizer.learning_rte=1", "did you mean spec.optimizer.learning_rate"),
        ("spec.seed", "must be FIELD=VALUE, FIELD>=NUMBER or FIELD<=NUMBER"),
        ("spec.seed>=high", "must compare with a number"),
        ("spec.seed=high", "'spec.seed' must be a number"),
    ],
)
def test_a_bad_condition_names_what_is_meant(
    invoke: Invoke, store_url: str, given: str, said: str
) -> None:
    result = invoke("runs", "list", "--store", store_url, "--field", given)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())


def test_tag_wants_a_label(invoke: Invoke) -> None:
    result = invoke("runs", "tag", "RUN")
    assert result.exit_code == 2
    assert "give labels to set as NAME=VALUE" in result.stderr
