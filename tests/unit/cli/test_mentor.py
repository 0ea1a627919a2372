"""`mentorgrad mentor` against a real service."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from mentor_service.strategies import registry

Invoke = Callable[..., Any]


def test_info_names_the_strategies_and_where_their_options_are(
    invoke: Invoke, shared_mentor: Any
) -> None:
    result = invoke("mentor", "info", "--mentor-server", shared_mentor.address)
    assert result.exit_code == 0
    for name, cls in registry.BUILT_IN.items():
        assert f"{name}\t{cls.description[:80]}" in result.stdout
    assert "mentorgrad mentor strategies NAME" in result.stdout


def test_strategies_are_listed_with_what_they_need(invoke: Invoke, shared_mentor: Any) -> None:
    result = invoke("mentor", "strategies", "--mentor-server", shared_mentor.address)
    assert result.exit_code == 0
    rows = dict(line.split("\t")[:2] for line in result.stdout.splitlines()[1:])
    assert set(rows) == set(registry.BUILT_IN)
    assert rows["maao"] == "-"
    assert rows["directional"] == "hints"
    assert rows["gpo"] == "embeddings"


def test_one_strategy_is_shown_with_all_its_options(invoke: Invoke, shared_mentor: Any) -> None:
    address = shared_mentor.address
    result = invoke("mentor", "strategies", "evoprompt", "--mentor-server", address)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    found = {line.split("\t")[0]: line.split("\t")[1] for line in lines if line.count("\t") == 2}
    schema = registry.BUILT_IN["evoprompt"].options_schema
    assert set(found) == {"option", *schema["properties"]}
    assert found["variant"] == "ga | de"
    assert found["top_k"] == "integer, at least 0, at most 100"
    assert found["weights"] == "list of number, above 0, at most 1"
    assert "differential evolution" in result.stdout
    as_json = invoke("mentor", "strategies", "evoprompt", "--json", "--mentor-server", address)
    (one,) = json.loads(as_json.stdout)
    assert one["options_schema"]["properties"]["variant"]["enum"] == ["ga", "de"]


def test_an_unknown_strategy_is_one_line_that_names_the_known_ones(
    invoke: Invoke, shared_mentor: Any
) -> None:
    result = invoke("mentor", "strategies", "oracle", "--mentor-server", shared_mentor.address)
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "'oracle'" in result.stderr
    assert "maao, leo" in result.stderr
