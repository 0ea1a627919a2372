from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main
import typer.testing
from typer.testing import CliRunner

from mentorgrad.cli.main import app
from mentorgrad.domain.event import RunEvent
from mentorgrad.wire import channels
from tests.support import toy_run


@pytest.fixture
def toy_log() -> list[RunEvent]:
    """The log of a finished run, as `import_run` takes it."""
    return toy_run.toy_log()


@pytest.fixture(scope="session")
def _toy_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a closed SQLite store that holds the toy run; nobody may change it."""
    from run_store.open import open_store

    file = tmp_path_factory.mktemp("toy") / "runs.sqlite"
    store = open_store(f"sqlite:///{file}")
    try:
        store.import_run(toy_run.toy_log())
    finally:
        store.close()
    return file


@pytest.fixture
def store_url(tmp_path: Path, _toy_store: Path) -> str:
    """A SQLite store that holds the toy run."""
    shutil.copy(_toy_store, tmp_path)
    return f"sqlite:///{tmp_path / _toy_store.name}"


@pytest.fixture(scope="session", autouse=True)
def _commands_are_made_once() -> Iterator[None]:
    """A runner makes all commands from their functions anew each time, which takes longer than most
    of them run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.testing, "_get_command", cache(typer.main.get_command))
        yield


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs the command line in this process; the result has exit_code, stdout and stderr."""
    monkeypatch.setenv("COLUMNS", "200")
    # Where there is no service, each command would wait most of a second for its retries.
    monkeypatch.setitem(
        channels._SERVICE_CONFIG["methodConfig"][0]["retryPolicy"], "initialBackoff", "0.01s"
    )
    for name in ("MENTORGRAD_SERVER", "MENTORGRAD_MENTOR"):
        monkeypatch.delenv(name, raising=False)
    runner = CliRunner()

    def run(*arguments: str, **options: Any) -> Any:
        return runner.invoke(app, list(arguments), **options)

    return run
