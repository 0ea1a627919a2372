from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Invoke = Callable[..., Any]

_WRITING = {
    "export": ("runs", "export", "toy-run", "-o"),
    "download": ("runs", "download", "toy-run", "-o"),
    "plot": ("runs", "plot", "toy-run", "-o"),
    "report": ("experiment", "report", "x", "--html"),
    "token": ("tokens", "create", "alice", "--scope", "read", "--out"),
    "all files": ("runs", "download", "toy-run", "--into"),
    "certificates": ("certs", "dev"),
    "demo": ("demo", "--directory"),
}
_FOLDERS = ("all files", "certificates", "demo")


def _refused(result: Any, message: str) -> None:
    assert result.exit_code == 2, result.stderr
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert message in result.stderr


@pytest.mark.parametrize("command", _WRITING)
def test_a_path_that_cannot_be_written_is_refused_before_any_work(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("MENTORGRAD_SERVER", "127.0.0.1:1")
    monkeypatch.setenv("MENTORGRAD_TOKENS", str(tmp_path / "tokens.json"))
    (tmp_path / "file").touch()
    below = tmp_path / ("file" if command in _FOLDERS else "none") / "out.png"
    _refused(invoke(*_WRITING[command], str(below)), f"{below} cannot be written: ")
    if command not in (*_FOLDERS, "download"):  # these take a folder
        _refused(invoke(*_WRITING[command], str(tmp_path)), "is a folder")

    real = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: mode != os.W_OK and real(path, mode)
    )  # no permission bit stops root
    place = tmp_path / "out.png"
    _refused(invoke(*_WRITING[command], str(place)), f"{place} cannot be written: no write")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["x.xyz", "x", "png"])
def test_a_plot_of_unknown_format_names_the_formats(
    invoke: Invoke, store_url: str, tmp_path: Path, name: str
) -> None:
    target = str(tmp_path / name)
    result = invoke("runs", "plot", "toy-run", "--store", store_url, "-o", target)
    _refused(result, "the name of a plot ends in .")
    assert ".png" in result.stderr
