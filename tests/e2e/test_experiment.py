"""The example experiment by the command alone: own services, a break in the middle, a report.

The services are processes where it breaks, which is in a campaign. In the suite, `test_demo.py` has
a command that starts them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from mentorgrad.cli.main import app
from mentorgrad.cli.support import local_services
from mentorgrad.cli.support.output import Output
from mentorgrad.domain.experiment import Experiment, Report
from mentorgrad.domain.query import RunFilter
from mentorgrad.domain.run import RunState
from mentorgrad.serialization import from_dict
from run_store.open import open_store
from tests.support.thread_trainer import ThreadTrainer
from tests.support.trainer_process import eventually

EXAMPLE = Path(__file__).parents[2] / "examples/experiment.toml"
pytestmark = pytest.mark.timeout(900)


COMMAND = (sys.executable, "-c", "from mentorgrad.cli.main import main; main()")


def words(folder: Path, *flags: str) -> list[str]:
    """Of the command."""
    return [
        # One worker: the imports of another would take longer than its share of the runs.
        *("experiment", "run", str(EXAMPLE), "--local", "--workers", "1"),
        *("--directory", str(folder / "out"), *flags),
    ]


def start(folder: Path, *flags: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *words(folder, *flags)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"MENTORGRAD_TRAINER_CACHE_DIR": str(folder / "cache")},
        start_new_session=True,
    )


def interrupt(folder: Path) -> None:
    """Starts it and interrupts it when the first run has ended."""
    first = start(folder)

    def some_have_ended() -> bool:
        assert first.poll() is None, first.communicate()
        if not (folder / "out/runs.sqlite").exists():
            return False
        store = open_store(f"sqlite:///{folder}/out/runs.sqlite")
        ended = store.list_runs(RunFilter(states=(RunState.SUCCEEDED,))).runs
        store.close()
        return bool(ended)

    eventually(some_have_ended, "a run that ended", 400.0)
    first.send_signal(signal.SIGINT)
    _, err = first.communicate(timeout=120)
    assert first.returncode == 130
    assert err.splitlines()[-1] == (
        "stopped, with all services; run the same command again to continue"
    )


def broken_and_continued(folder: Path, *flags: str) -> str:
    """What the same command says that goes on after a break."""
    interrupt(folder)
    second = start(folder, *flags)
    out, err = second.communicate(timeout=600)
    assert second.returncode == 0, err
    assert "(already exists; it continues)" in err
    return out


@contextlib.contextmanager
def served_here(
    _: Output, directory: Path, mentors: Sequence[str], *, workers: int, **more: Any
) -> Iterator[str]:
    """Stands in for `local_services`, with a trainer in this process."""
    assert (mentors, workers, more) == ([], 1, {"model": None, "trainer_flags": []})
    directory.mkdir()
    trainer = ThreadTrainer(directory)
    yield trainer.address
    trainer.stop()


# How one goes on after every step is in `experiments/test_experiment_runner.py`.
@pytest.mark.parametrize("broken", [False, pytest.param(True, marks=pytest.mark.campaign)])
def test_the_example_survives_a_break_and_reports(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    broken: bool,
) -> None:
    url = f"sqlite:///{tmp_path}/out/runs.sqlite"

    def said(*words: str) -> str:
        """By a command in this process, when it has ended."""
        with pytest.raises(SystemExit) as left:
            app(words)
        told = capsys.readouterr()
        assert left.value.code == 0, told.err
        return told.out

    page = str(tmp_path / "report.html")
    flags = ("--json", "--html", page)
    if broken:
        out = broken_and_continued(tmp_path, *flags)
    else:
        monkeypatch.setattr(local_services, "local_services", served_here)
        out = said(*words(tmp_path, *flags)).splitlines()[-1]  # the runs' threads say more
    report = from_dict(Report, json.loads(out))
    assert report.complete
    assert (report.name, report.subject, report.strongest_control) == (
        "hollows",
        "perturb",
        "random",
    )
    assert [(arm.arm, arm.runs, arm.failed) for arm in report.arms] == [
        ("none", 6, 0),
        ("random", 6, 0),
        ("perturb", 6, 0),
    ]
    assert all(arm.gradient_steps <= report.gradient_steps_limit == 120 for arm in report.arms)
    places = {(cell.arm, cell.variation, cell.seed) for cell in report.cells}
    assert len(places) == len(report.cells) == 18
    pooled = [c for c in report.comparisons if not c.variation and not c.task]
    assert {c.other for c in pooled} == {"none", "random"}
    assert all(c.difference.count == 6 for c in pooled)

    assert json.loads((tmp_path / "out/report.json").read_text()) == json.loads(out)
    assert (tmp_path / "out/report.md").read_text().startswith("# hollows")
    assert "<script" not in Path(page).read_text()
    store = open_store(url)
    (experiment,) = store.list_experiments().experiments
    assert isinstance(experiment, Experiment)
    runs = store.list_runs(page_size=100).runs
    store.close()
    assert len(runs) == 18
    # Split, start and batches are fixed by the seed: arms of one cell begin at one point.
    assert {run.spec.seed for run in runs} == {0, 1, 2}

    def read(*words: str) -> dict[str, Any]:
        """What the store says, with all services gone."""
        told: dict[str, Any] = json.loads(said("experiment", *words, "--store", url, "--json"))
        return told

    name = experiment.experiment_id
    (listed,) = read("list")["experiments"]
    assert listed == read("show", name)
    assert (listed["experiment_id"], listed["progress"]["succeeded"]) == (name, 18)
    assert read("report", name) == json.loads(out)
