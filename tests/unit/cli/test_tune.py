"""What `mentorgrad tune` refuses, before it writes or starts anything."""

from __future__ import annotations

import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mentorgrad.cli.support import extras, tune_places
from mentorgrad.cli.support.live_page import LivePage
from mentorgrad.cli.support.output import Output
from mentorgrad.cli.support.processes import Services
from tests.support.own_tables import plain, put, write_table

Invoke = Callable[..., Any]

FINE = plain(40)


@pytest.mark.parametrize(
    ("content", "flags", "words"),
    [
        (None, (), "a.csv: there is no such file"),
        ("", (), "a.csv: "),
        ([(text, "one") for text, _ in FINE], (), "column 'label': every row has the label 'one'"),
        ([*FINE, ("more", "rare")], (), "'rare' has fewer; leave such labels out with --rare drop"),
        (FINE, ("--text", "message"), "message"),
        (FINE, ("--objective", "function"), "--objective: must be one of: label_prompt"),
        (FINE, ("--metric", "f1"), "--metric: must be one of: loss, accuracy"),
        (FINE, ("--set", "stages.steps=many"), "stages.steps"),
        (FINE, ("--set", "nonsense=1"), "nonsense"),
        (FINE, ("--description", "x" * 501), "task.description: must have at most 500"),
        (FINE, ("--seed", "-1"), "seed: must be at least 0"),
        (FINE, ("--long", "cut"), "--long: must be one of: truncate"),
        (FINE, ("--class-weight", "even"), "--class-weight: must be one of: none, balanced"),
    ],
)
def test_a_refusal_is_one_line_and_leaves_nothing(
    invoke: Invoke,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: Any,
    flags: tuple[str, ...],
    words: str,
) -> None:
    def started(*_: Any, **__: Any) -> None:
        raise AssertionError("services are started only for what can be run")

    monkeypatch.setattr(tune_places, "local_services", started)
    file = tmp_path / "a.csv"
    if content is not None:
        put(file, content)
    result = invoke("tune", str(file), "-o", str(tmp_path / "result"), *flags)
    assert result.exit_code == 2, result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert words in result.stderr
    assert not (tmp_path / "result").exists()


def test_a_folder_with_other_files_is_refused(invoke: Invoke, tmp_path: Path) -> None:
    file = write_table(tmp_path / "a.csv", FINE)
    result = invoke("tune", str(file), "-o", str(tmp_path))
    assert result.exit_code == 2
    assert result.stderr == (
        f"error: --output: {tmp_path} holds files that are no result of a tune; name another "
        "folder, or write beside them with --overwrite\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    result = invoke("tune", str(file), "-o", str(file))
    assert result.exit_code == 2
    assert result.stderr.endswith("a.csv is not a folder\n")


def test_without_the_extra_of_the_page_there_is_no_open(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_table(tmp_path / "a.csv", FINE)
    found = extras.installed_version
    monkeypatch.setattr(
        extras, "installed_version", lambda name: None if name == "uvicorn" else found(name)
    )
    result = invoke("tune", str(file), "-o", str(tmp_path / "result"), "--open")
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert "--open needs uvicorn; run: pip install" in result.stderr
    assert not (tmp_path / "result").exists()


class Window(webbrowser.BaseBrowser):
    """A browser that does not take the terminal."""

    def open(self, url: str, new: int = 0, autoraise: bool = True) -> bool:
        return True


@pytest.mark.parametrize(
    ("browser", "chosen", "is_opened"),
    [
        (Window(), {}, True),
        (webbrowser.GenericBrowser("false"), {}, False),
        (webbrowser.GenericBrowser("true"), {"BROWSER": "true"}, True),
        (None, {}, False),
    ],
)
def test_only_a_window_is_opened_or_what_the_user_has_chosen(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    browser: webbrowser.BaseBrowser | None,
    chosen: dict[str, str],
    is_opened: bool,
) -> None:
    def get() -> webbrowser.BaseBrowser:
        if browser is None:
            raise webbrowser.Error("none")
        return browser

    monkeypatch.delenv("BROWSER", raising=False)
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(webbrowser, "get", get)
    LivePage("127.0.0.1:7", Services(), Output()).show("r1")
    said = capsys.readouterr().out
    assert said.startswith("the page of the run: http://127.0.0.1:7/runs/r1\n")
    assert ("open the address yourself" in said) is not is_opened
