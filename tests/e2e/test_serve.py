"""`mentorgrad serve`: both services together, and each by its own command."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mentorgrad.cli.main import app
from mentorgrad.client import Client, MentorClient
from mentorgrad.errors import Unavailable

COMMAND = [str(Path(sys.executable).with_name("mentorgrad")), "serve"]

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a `serve` command; it ends with the test."""
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.terminate()
        process.communicate(timeout=120)


def address(process: subprocess.Popen[str], service: str) -> str:
    assert process.stdout is not None
    said = json.loads(process.stdout.readline())
    assert said["service"] == service
    return str(said["address"])


def command_lines(pid: int) -> str:
    """Those of a process's descendants, as everybody on the machine can read them."""
    found = ""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it may just have ended
            found += Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ") + "\n"
            found += command_lines(int(child))
    return found


ELSEWHERE = """
[mentor]
backend = "openai"
base_url = "http://127.0.0.1:9/v1"
model = "a-model"
"""
"""A mentor that loads no LLM; the embedded one is the default."""


# The suite has what the README shows, in `test_documented_commands.py`: it serves, and stops.
@pytest.mark.campaign
@pytest.mark.parametrize(
    ("number", "settings", "model"),
    [
        pytest.param(signal.SIGINT, "", "SmolLM2", id="interrupted"),
        pytest.param(signal.SIGTERM, ELSEWHERE, "a-model", id="terminated"),
    ],
)
def test_all_starts_both_and_stops_both(
    start: Start, tmp_path: Path, number: int, settings: str, model: str
) -> None:
    (tmp_path / "services.toml").write_text(settings)
    both = start(
        *("all", "--listen", "127.0.0.1:0", "--mentor-listen", "127.0.0.1:0", "--name", "small"),
        *("--store", f"sqlite:///{tmp_path}/s3cret.sqlite", "--config", "services.toml", "--json"),
    )
    mentor, trainer = address(both, "mentor"), address(both, "trainer")
    with Client(trainer) as client:
        known = {entry.name: entry for entry in client.trainer_info().mentors}
        assert known["small"].available
        assert model in known["small"].model
        assert client.list_runs().runs == ()
    assert (tmp_path / "s3cret.sqlite").is_file()
    said = command_lines(both.pid)
    assert "trainer_service" in said
    assert "s3cret" not in said
    both.send_signal(number)
    assert both.wait(120) == (0 if number == signal.SIGINT else 128 + number)
    with MentorClient(mentor) as asked, pytest.raises(Unavailable):
        asked.info()
    with Client(trainer) as client, pytest.raises(Unavailable):
        client.list_runs()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("trainer", "--listen", "nowhere"), "listen: must be HOST:PORT"),
        (("trainer", "--listen", "0.0.0.0:0"), "--insecure"),
        (("trainer", "--mentor", "small"), "NAME=HOST:PORT"),
        (("trainer", "--tuned-model", "big"), "NAME=URL"),
        (("trainer", "--tuned-model", "big=127.0.0.1:8080"), "must be an http(s) URL"),
        (("trainer", "--tuned-model", "-=http://h/v1"), "not a valid model name"),
        (("trainer", "--store", "mysql://x"), "store: must be sqlite:///PATH"),
        (("mentor", "--model", "nowhere.gguf"), "nowhere.gguf"),
        (("mentor", "--threads", "0"), "threads"),
    ],
)
def test_a_bad_setting_is_one_line_and_exit_code_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        app(["serve", *arguments])
    said = capsys.readouterr()
    assert left.value.code == 2, said.err
    assert said.out == ""
    assert len(said.err.splitlines()) == 1, said.err
    assert message in said.err
