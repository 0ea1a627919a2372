"""What reaches a terminal: texts from outside, and encodings that lack their letters."""

from __future__ import annotations

import ast
import io
import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from mentorgrad.cli.support import output
from mentorgrad.cli.support.output import Output
from mentorgrad.domain.event import CandidatesScored, Created
from mentorgrad.outside_text import one_line, shown, without_secrets
from mentorgrad.standard_streams import rows_output
from run_store.open import open_store
from tests.support import toy_run
from tests.support.product_source import modules_with

NASTY = "two\nlines\tand\r\x1b[31mred\x9b1m\u202eback\x07\x7f\ud83d\u2028ü"
COMMANDS: list[list[str]] = [
    ["runs", "list"],
    ["runs", "show", "toy-run"],
    ["runs", "compare", "toy-run", "toy-run"],
]


@pytest.fixture(scope="module")
def nasty_store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store whose run has texts that a terminal would interpret."""
    text = NASTY.replace("\ud83d", "")  # cannot be stored
    log = []
    for event in toy_run.toy_log():
        payload = event.payload
        if isinstance(payload, Created):
            payload = Created(replace(payload.spec, name=text), payload.request_id)
        if isinstance(payload, CandidatesScored):
            named = tuple(replace(item, text=text) for item in payload.candidates)
            payload = replace(payload, candidates=named)
        log.append(replace(event, payload=payload))
    url = f"sqlite:///{tmp_path_factory.mktemp('nasty')}/nasty.sqlite"
    store = open_store(url)
    store.import_run(log)
    store.close()
    return url


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[1])
def test_texts_from_outside_reach_no_terminal_raw(
    invoke: Callable[..., Any], nasty_store: str, command: list[str]
) -> None:
    for more in ((), ("--json",)):
        result = invoke(*command, "--store", nasty_store, *more)
        assert result.exit_code == 0, result.stderr
        assert result.stdout.replace("\n", "").replace("\t", "").isprintable()
    lines = invoke("runs", "list", "--store", nasty_store).stdout.splitlines()
    assert len(lines) == 2
    assert lines[0].count("\t") == lines[1].count("\t")
    assert "two lines and [31mred1mback" in lines[1]
    (run,) = json.loads(invoke("runs", "list", "--store", nasty_store, "--json").stdout)["runs"]
    assert run["spec"]["name"] == NASTY.replace("\ud83d", "")


@pytest.mark.parametrize(
    ("command", "encoding"),
    [
        *((COMMANDS[0], encoding) for encoding in ("latin-1", "ascii", "utf-8")),
        pytest.param(COMMANDS[0], "cp1252", marks=pytest.mark.campaign),
        *((command, "ascii") for command in COMMANDS[1:]),
    ],
    ids=lambda given: given if isinstance(given, str) else given[1],
)
def test_an_encoding_that_lacks_letters_ends_no_command(
    monkeypatch: pytest.MonkeyPatch, nasty_store: str, encoding: str, command: list[str]
) -> None:
    from mentorgrad.cli.main import app

    for more in ((), ("--json",)):
        out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr(sys, "stdout", out)
        with pytest.raises(SystemExit) as ended:
            app([*command, "--store", nasty_store, *more])
        assert ended.value.code == 0
        out.flush()
        text = out.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]
        if more:
            assert command[1] == "compare" or "ü" in str(json.loads(text))


class Terminal(io.TextIOWrapper):
    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8")

    def isatty(self) -> bool:
        return True

    def shown(self) -> str:
        self.flush()
        return self.buffer.getvalue().decode()  # type: ignore[attr-defined, no-any-return]


def test_headings_on_a_terminal_are_texts_without_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    out = Output()
    assert out.is_terminal
    out.table(["a", f"[link=http://x]{NASTY}[/link]"], [["1", f"[red]{NASTY}"]])
    said = terminal.shown()
    assert re.sub(r"\x1b\[\d*m|\n", "", said).isprintable()  # bold is ours
    assert "[link=http://x]" in said


def test_a_terminal_without_a_width_shows_what_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "0")
    monkeypatch.setenv("FORCE_COLOR", "1")
    Output().table(["name"], [["a thing"]])
    assert "a thing" in capsys.readouterr().out


def test_rows_on_a_terminal_keep_their_lines_and_are_bytes_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    row = f"{NASTY[4:].replace(chr(0xD83D), '')},ü\n".encode()
    rows_output().write(row)
    assert terminal.shown() == "lines\tand [31mred1mback ü,ü\n"
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", file)
    rows_output().write(row)
    assert file.buffer.getvalue() == row  # type: ignore[attr-defined]


def test_what_a_service_says_of_itself_reaches_no_terminal_raw(
    invoke: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mentorgrad.cli.commands import doctor

    found = doctor.Finding(NASTY, doctor.Status.WARNING, NASTY, NASTY)
    monkeypatch.setattr(doctor, "_checks", lambda *_: [found])
    assert invoke("doctor").stdout[:-1].replace("\t", "").isprintable()


def test_one_module_prints() -> None:
    calls = {
        (path, name)
        for path, tree in modules_with(r"\b(print|echo|Console)\b").items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        if (name := getattr(node.func, "attr", getattr(node.func, "id", "")))
        in ("print", "echo", "Console")
    }
    assert {path for path, _ in calls} == {
        "client/mentorgrad/cli/support/output.py",
        "service_common/server.py",  # one JSON object, for programs
    }


def test_an_error_is_one_line_without_control_characters(invoke: Callable[..., Any]) -> None:
    result = invoke("runs", "show", "x", "--server", NASTY)
    assert result.exit_code == 2
    assert result.stderr.endswith("\n")
    assert result.stderr[:-1].isprintable()


def test_a_note_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    output.note(NASTY)
    assert capsys.readouterr().err == "two lines\tand [31mred1mback ü\n"


def test_json_is_json_and_escapes_what_a_terminal_would_interpret(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Output(as_json=True).json({"text": NASTY})
    said = capsys.readouterr().out
    assert said[:-1].isprintable()
    assert json.loads(said) == {"text": NASTY}


def test_what_is_printable_stays() -> None:
    text = "  “ä”  –  字 🙂"
    assert shown(text) == text
    assert one_line(text) == "“ä” – 字 🙂"


def test_a_time_zone_that_cannot_be_ends_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    try:
        for zone, said in (("UTC-1", "04:04:05"), ("XYZ-99", "03:04:05"), ("No/Where", "03:04:05")):
            monkeypatch.setenv("TZ", zone)
            time.tzset()
            assert output.moment(moment) == f"2026-01-02 {said}"
            assert output.moment(datetime.max.replace(tzinfo=UTC)).startswith("9999-12-31")
    finally:
        monkeypatch.undo()
        time.tzset()


def test_secrets_are_masked() -> None:
    assert without_secrets("postgresql://u:p@h/d") == "postgresql://u:***@h/d"
    assert without_secrets("it is abcd and abc", ["abcd", "abc", ""]) == "it is *** and abc"
