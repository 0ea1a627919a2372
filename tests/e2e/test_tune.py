"""From a data file to predictions, on a real trainer with an encoder of a few thousand weights."""

from __future__ import annotations

import csv
import json
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from mentorgrad.cli.main import app
from mentorgrad.cli.support import tuning
from mentorgrad.cli.support.processes import Services
from tests.support.thread_trainer import ThreadTrainer
from tests.support.tiny_models import TEXTS, make

FILES = {
    *("model.json", "probe.safetensors", "prompt.safetensors", "prompt.txt"),
    *("report.html", "tune.json"),
}


class Desk:
    """A folder with a table and an encoder, and a trainer that may read the encoder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        make(folder / "models/encoder")
        self.table = folder / "films.csv"
        with self.table.open("w", newline="") as file:
            rows = [(text, "good" if "good" in text else "other") for text in TEXTS]
            csv.writer(file).writerows([("review", "verdict"), *rows])
        self.trainer = ThreadTrainer(folder, model_root=(folder / "models",))

    def tune(self, result: str, *flags: str) -> Any:
        return CliRunner().invoke(
            app,
            [
                *("tune", str(self.table), "--output", str(self.folder / result)),
                *("--server", self.trainer.address),
                *("--objective", "label_prompt"),  # the model is with the trainer alone
                *("--set", "objective.label_prompt.encoder=encoder"),
                *("--set", "objective.label_prompt.n_tokens=2"),
                *flags,
            ],
        )


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    made = Desk(tmp_path_factory.mktemp("desk"))
    yield made
    made.trainer.stop()


def broken_off(*_: object) -> None:
    """Stands in for a step at which a tune is interrupted."""
    raise KeyboardInterrupt


class Viewer:
    """Stands in for the user's browser, and for the user before it."""

    def __init__(self, result: Path) -> None:
        self._result = result
        self.states: list[str] = []
        """What the page says of the run: when it is opened, and at the end."""

    def open(self, address: str) -> bool:
        self._address = address.replace("/runs/", "/api/v1/runs/")
        return self._look()

    def wait(self, _: Services) -> None:
        assert (self._result / "tune.json").is_file()
        self._look()
        raise KeyboardInterrupt

    def _look(self) -> bool:
        said = httpx.get(self._address, trust_env=False, timeout=60).json()
        self.states.append(said["run"]["state"])
        return True


SHORT = ("--mentor", "random_tokens", "--set", "stages.count=2", "--set", "stages.steps=3")


def test_a_file_becomes_a_classifier_that_predicts(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(tuning, "judged", broken_off)
        asked = desk.tune("result", *SHORT)
    assert asked.exit_code == 130
    assert "the same command goes on" in asked.stderr
    folder = desk.folder / "result"
    soon = CliRunner().invoke(app, ["predict", str(folder), str(desk.table)])
    assert "its tuning goes on, or was broken off" in soon.stderr

    viewer = Viewer(folder)
    with monkeypatch.context() as patched:
        patched.setattr(webbrowser, "get", lambda: viewer)
        patched.setattr(Services, "wait", lambda services: viewer.wait(services))
        asked = desk.tune("result", *SHORT, "--json", "--open")
    assert asked.exit_code == 0, asked.stderr
    assert "going on with run" in asked.stderr
    assert "the page of the run: http://127.0.0.1:" in asked.stderr
    assert "until Ctrl-C" in asked.stderr
    assert viewer.states[1:] == ["RUN_STATE_SUCCEEDED"]
    (line,) = asked.stdout.splitlines()
    summary = json.loads(line)
    assert summary == json.loads((folder / "tune.json").read_text())
    assert {path.name for path in folder.iterdir()} == FILES == set(summary["files"])
    assert summary["rows"] == {"train": 58, "selection": 19, "test": 19}
    assert summary["stopped"] == ""
    methods = {one["name"]: one for one in summary["methods"]}
    assert list(methods) == ["majority", "zero_shot", "probe", "words", "prompt"]
    for one in methods.values():
        assert set(one["intervals"]) == {"accuracy", "macro_f1", "loss"}
    ranks = {
        name: (-one["selection"]["macro_f1"], one["selection"]["loss"])
        for name, one in methods.items()
        if one["selection"]
    }
    assert set(ranks) == {"probe", "words", "prompt"}
    assert summary["metric"] == "macro_f1"  # of 96 texts, 24 are good
    assert summary["choice"] == min(ranks, key=lambda name: ranks[name])
    assert json.loads((folder / "model.json").read_text())["use"] == summary["choice"]
    assert summary["advice"] in (folder / "report.html").read_text()

    out = desk.folder / "out.csv"
    predicted = CliRunner().invoke(
        app,
        [
            *("predict", str(folder), str(desk.table), "-o", str(out), "--json"),
            *("--label", "verdict", "--model-root", str(desk.folder / "models")),
        ],
    )
    assert predicted.exit_code == 0, predicted.stderr
    assert json.loads(predicted.stdout)["rows"] == 96
    first = out.read_text().splitlines()[0].split(",")
    assert first == ["review", "verdict", "label", "p_good", "p_other"]

    again = desk.tune("result", *SHORT)
    assert "holds the result already" in again.stdout
    other = desk.tune("result", *SHORT, "--shots", "4")
    assert other.exit_code == 2
    assert "the result of other data or options" in other.stderr


@pytest.mark.campaign
def test_a_run_that_stalls_is_stopped_and_its_best_is_judged(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = (
        *("--mentor", "none", "--patience", "1", "--set", "stages.count=10000"),
        *("--set", "stages.steps=2", "--set", "optimizer.learning_rate=1e-30", "--json"),
    )
    with monkeypatch.context() as patched:
        patched.setattr(tuning, "judged", broken_off)
        assert desk.tune("stalled", *flags).exit_code == 130
    asked = desk.tune("stalled", *flags)
    assert asked.exit_code == 0, asked.stderr
    summary = json.loads(asked.stdout)
    assert summary["stopped"] == "no better candidate in 1 stage"
    assert set(summary["files"]) == FILES
    assert {one["name"] for one in summary["methods"]} >= {"zero_shot", "probe", "prompt"}


def test_a_spec_that_the_trainer_refuses_leaves_nothing(desk: Desk) -> None:
    asked = desk.tune("refused", "--set", "objective.label_prompt.encoder=nowhere")
    assert asked.exit_code == 2
    assert "spec.objective.label_prompt.encoder" in asked.stderr
    assert not (desk.folder / "refused").exists()
