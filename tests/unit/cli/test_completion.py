from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mentorgrad.cli.support import completion

Invoke = Callable[..., Any]


@pytest.fixture
def suggested(invoke: Invoke) -> Callable[[str], list[str]]:
    """What a shell offers behind a line; a word after the last blank is being written."""

    def ask(line: str) -> list[str]:
        words = line.split()
        environment = {
            "_MENTORGRAD_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - (not line.endswith(" "))),
            "OTEL_EXPORTER_OTLP_ENDPOINT": "no address",
        }
        result = invoke(env=environment, prog_name="mentorgrad")
        assert result.exit_code == 0
        assert result.stderr == ""
        return sorted(result.stdout.split())

    return ask


def test_commands_and_options(suggested: Callable[[str], list[str]]) -> None:
    assert suggested("mentorgrad ru") == ["run", "runs"]
    assert suggested("mentorgrad runs wa") == ["watch"]
    assert suggested("mentorgrad runs watch --from") == ["--from-start"]


def test_runs_of_a_store(suggested: Callable[[str], list[str]], store_url: str) -> None:
    for command in ("show", "compare one", "export", "plot", "download"):
        assert suggested(f"mentorgrad runs {command} --store {store_url} t") == ["toy-run"]
    assert suggested(f"mentorgrad runs show --store {store_url} x") == []
    assert suggested(f"mentorgrad experiment show --store {store_url} ") == []


def test_a_name_is_described_without_control_characters(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completion, "_reader", lambda *_: nullcontext())
    said = [("good", "two\nlines \x1b]0;title\x07"), ("go\x9bod", "")]
    assert completion._matching(
        cast(Any, SimpleNamespace(params={})), "go", lambda _: iter(said), "sql"
    ) == [("good", "two lines ]0;title")]


@pytest.mark.parametrize(
    "options",
    [
        "--server 127.0.0.1:1",
        "--server nonsense",
        "--server 127.0.0.1:1 --ca /nowhere.pem",
        "--store sqlite:////nowhere/runs.sqlite",
        "--store postgresql://127.0.0.1:1/runs",
        "--store ?",
    ],
)
def test_nothing_is_said_where_nobody_answers(
    suggested: Callable[[str], list[str]], options: str
) -> None:
    assert suggested(f"mentorgrad runs show {options} ") == []
    assert suggested(f"mentorgrad experiment show {options} ") == []
