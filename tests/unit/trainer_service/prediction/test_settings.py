"""Settings of the predict service: its folder is an argument of the command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from mentorgrad.errors import InvalidInput
from service_common.settings import command
from trainer_service.prediction.settings import PredictorSettings


def invoked(*arguments: str, **environment: str) -> tuple[Result, Any]:
    found: list[Any] = []
    app = typer.Typer()
    app.command()(command(PredictorSettings, found.append, "Serve."))
    result = CliRunner().invoke(app, list(arguments), env=environment)
    return result, found[0] if found else None


def test_the_folder_is_an_argument_or_in_the_environment(tmp_path: Path) -> None:
    roots = ("--model-root", str(tmp_path), "--tuned-model", "own=http://h:8/v1")
    _, found = invoked("folder", "--use", "probe", *roots)
    assert (found.result, found.use, found.listen) == (Path("folder"), "probe", "127.0.0.1:50553")
    assert (found.model_root, found.tuned_model) == ((tmp_path,), {"own": "http://h:8/v1"})
    _, found = invoked(MENTORGRAD_PREDICTOR_RESULT="elsewhere")
    assert found.result == Path("elsewhere")
    shown, _ = invoked("--help")
    assert "[RESULT]" in shown.stdout
    assert "--result" not in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "result: must be given, as RESULT or MENTORGRAD_PREDICTOR_RESULT"),
        (("a", "--use", "best"), "use: input should be 'auto'"),
    ],
)
def test_what_is_missing_or_wrong_is_named(arguments: tuple[str, ...], words: str) -> None:
    result, found = invoked(*arguments)
    assert found is None
    assert isinstance(result.exception, InvalidInput)
    assert words in result.exception.message
