"""`mentorgrad experiment`, as far as it goes without a service."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mentorgrad.cli.support import experiment_watching, local_services
from mentorgrad.cli.support.experiment_file import mentors_of, read_experiment, request_id_of
from mentorgrad.cli.support.experiment_watching import duration, status, watch_experiment
from mentorgrad.cli.support.output import Output
from mentorgrad.cli.support.processes import Services
from mentorgrad.domain.experiment import (
    ArmReport,
    Experiment,
    ExperimentProgress,
    ExperimentState,
    Report,
)
from mentorgrad.domain.spec import MentorChoice, Task
from mentorgrad.errors import Unavailable
from mentorgrad.serialization import to_dict

Invoke = Callable[..., Any]
NOBODY = "127.0.0.1:1"
EXAMPLE = Path(__file__).parents[3] / "examples/experiment.toml"
GOOD = """
tasks = ["tickets", {name = "mail", shots = 2}]
seeds = 3
[base.objective.function]
[[arms]]
name = "none"
[[arms]]
name = "other"
mentor = "small"
[[arms]]
name = "third"
mentor = {name = "perturb", options = {scale = 0.5}}
[tuning]
learning_rates = [0.1, 1]
task = "tune"
seeds = 2
"""


def test_a_file_is_a_spec_with_shorthands(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text(GOOD)
    spec = read_experiment(file)
    assert spec.tasks == (Task("tickets"), Task("mail", shots=2))
    assert (spec.seeds, spec.tuning.seeds, spec.tuning.task) == ((0, 1, 2), (0, 1), Task("tune"))
    assert [arm.mentor for arm in spec.arms] == [
        MentorChoice(),
        MentorChoice("small"),
        MentorChoice("perturb", options={"scale": 0.5}),
    ]
    assert mentors_of(spec) == ["small"]


def test_the_content_names_the_experiment(tmp_path: Path) -> None:
    first, second = tmp_path / "a.toml", tmp_path / "b.toml"
    first.write_text(GOOD)
    second.write_text("# a remark\n" + GOOD.replace("seeds = 3", "seeds = [0, 1, 2]"))
    assert request_id_of(read_experiment(first)) == request_id_of(read_experiment(second))
    second.write_text(GOOD.replace("seeds = 3", "seeds = 4"))
    assert request_id_of(read_experiment(first)) != request_id_of(read_experiment(second))


def test_the_example_is_right() -> None:
    assert read_experiment(EXAMPLE).runs == 18


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds = 3", "seeds = 0", "a number of seeds between 1 and 10000"),
        ("seeds = 3", "seeds = true", "seeds: must be a list"),
        ("seeds = 3", "sedes = 3", "sedes: is not known here"),
        ("seeds = 3", "seeds = 1979-05-27", "no field accepts a date"),
        ("seeds = 3", "seeds = [1, 1]", "seeds: must not contain a seed twice"),
        ('name = "none"', 'nmae = "none"', "arms[0].nmae: is not known here"),
        ('name = "none"', 'name = "other"', "arms: must have unique names"),
        ('mentor = "small"', "mentor = 3", "arms[1].mentor: must be a mapping"),
        ("[[arms]]", "[[arsm]]", "arsm: is not known here"),
        ("learning_rates = [0.1, 1]", "learning_rates = [0]", "must be greater than 0"),
        ("tasks = [", "tasks = ", "Expected"),
        ('tasks = ["tickets", {name = "mail", shots = 2}]', "", "tasks: must have at least 1"),
        ('tasks = ["tickets", {name = "mail", shots = 2}]', "tasks = 3", "tasks: must be a list"),
        ("[base.objective.function]", "[base.objectve]", "base.objectve: is not known here"),
    ],
)
def test_a_wrong_file_is_one_line(
    invoke: Invoke, tmp_path: Path, old: str, new: str, message: str
) -> None:
    file = tmp_path / "x.toml"
    assert old in GOOD
    file.write_text(GOOD.replace(old, new))
    result = invoke("experiment", "run", str(file), "--server", NOBODY)
    assert result.exit_code == 2, result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert message in result.stderr


def test_a_missing_file_and_flags_that_do_not_go_together(invoke: Invoke, tmp_path: Path) -> None:
    run = ("experiment", "run")
    assert "cannot be read" in invoke(*run, str(tmp_path / "none.toml")).stderr
    for flags in (("--local", "--detach"), ("--json", "--markdown", "--server", NOBODY)):
        result = invoke(*run, str(EXAMPLE), *flags)
        assert result.exit_code == 2
        assert "cannot be given with" in result.stderr


def test_one_mentor_cannot_stand_for_two(invoke: Invoke, tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text(GOOD.replace('"perturb"', '"large"'))
    result = invoke("experiment", "run", str(file), "--local", "--directory", str(tmp_path / "d"))
    assert result.exit_code == 2
    assert "the arms use small, large" in result.stderr
    assert not (tmp_path / "d").exists()


@pytest.mark.slow
def test_without_a_service_one_line_offers_to_start_one(invoke: Invoke) -> None:
    result = invoke("experiment", "run", str(EXAMPLE), "--server", NOBODY)
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert f"no trainer service answers at {NOBODY}" in result.stderr
    assert f"mentorgrad experiment run {EXAMPLE} --local" in result.stderr


# -- reports that were kept -------------------------------------------------------------------

REPORT = Report("x", "which", "what is asked", True, arms=(ArmReport("none"), ArmReport("noise")))


def test_a_kept_report_is_shown_again_in_every_form(invoke: Invoke, tmp_path: Path) -> None:
    kept, page = tmp_path / "report.json", tmp_path / "page.html"
    kept.write_text(json.dumps(to_dict(REPORT)))
    report = ("experiment", "report", str(kept))
    assert "what is asked" in invoke(*report).stdout
    assert json.loads(invoke(*report, "--json").stdout) == to_dict(REPORT)
    result = invoke(*report, "--markdown", "--html", str(page))
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("# which")
    assert "<title>which</title>" in page.read_text()
    figures = tmp_path / "published.toml"
    figures.write_text('[[published]]\ntask="t"\narm="none"\nvalue=0.5\nsource="a paper"\n')
    result = invoke(*report, "--markdown", "--html", str(page), "--published", str(figures))
    assert "| none | t | accuracy | 0.500 | – | 0 | a paper |" in result.stdout
    assert "<td>a paper</td>" in page.read_text()
    kept.write_text('{"arms": 3}')
    result = invoke(*report)
    assert result.exit_code == 2
    assert f"{kept}: arms: must be a list" in result.stderr


# -- watching ---------------------------------------------------------------------------------


def at(done: int, state: ExperimentState = ExperimentState.RUNNING, **more: Any) -> Experiment:
    return Experiment("x", state=state, progress=ExperimentProgress(4, succeeded=done, **more))


class Client:
    """Says what it is told to, one thing a time."""

    def __init__(self, *answers: Experiment | Exception) -> None:
        self._answers = list(answers)

    def get_experiment(self, experiment_id: str) -> Experiment:
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment_watching, "POLL_SECONDS", 0.0)


@pytest.mark.usefixtures("_quick")
def test_watching_tells_each_thing_once_and_outlives_an_outage(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiment_watching, "LINE_SECONDS", 0.0)
    last = at(4, ExperimentState.FINISHED)
    client: Any = Client(
        at(0, waiting=4, tuning=True), at(1, running=1), at(1, running=1), Unavailable("x"), last
    )
    assert watch_experiment(client, "x", Output()) is last
    assert capsys.readouterr().out.splitlines() == [
        "0/4 runs, choosing learning rates",
        "1/4 runs, 1 running",
        "4/4 runs, all ended",
    ]


@pytest.mark.usefixtures("_quick")
def test_watching_gives_up_a_service_that_stays_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment_watching, "AWAY_SECONDS", -1.0)
    client: Any = Client(at(0), Unavailable("gone"))
    with pytest.raises(Unavailable):
        watch_experiment(client, "x", Output())


@pytest.mark.usefixtures("_quick")
def test_lines_of_a_pipe_are_few_and_the_last_one_is_there(
    capsys: pytest.CaptureFixture[str],
) -> None:
    client: Any = Client(at(0), at(1), at(2), at(4, ExperimentState.FINISHED))
    watch_experiment(client, "x", Output())
    assert [line[:3] for line in capsys.readouterr().out.splitlines()] == ["0/4", "4/4"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (89, "89 s"), (90, "2 min"), (5_000, "83 min"), (12_000, "3 h 20 min")],
)
def test_durations_are_for_people(seconds: int, text: str) -> None:
    assert duration(timedelta(seconds=seconds)) == text


def test_a_status_names_what_matters() -> None:
    progress = ExperimentProgress(9, 3, 2, 2, 2, time_left=timedelta(seconds=40))
    assert status(progress) == "2 running, 2 failed, about 40 s left"
    assert status(ExperimentProgress(9, 9)) == "waiting for workers"


# -- services of its own ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cores", "mentor", "gib", "expected"),
    [
        (1, False, 64, (0, 1)),
        (2, True, 64, (1, 1)),
        (2, False, 64, (0, 2)),
        (16, False, 64, (0, 16)),
        (16, True, 64, (8, 8)),
        (64, False, 10.5, (0, 10)),
        (4, False, 0.5, (0, 1)),
    ],
)
def test_cores_and_memory_say_how_many_workers(
    cores: int, mentor: bool, gib: float, expected: tuple[int, int]
) -> None:
    assert local_services.share_cores(cores, mentor, gib) == expected
    assert local_services.memory_gib() > 0


def test_more_cores_than_workers_allowed(invoke: Invoke) -> None:
    assert local_services.share_cores(200, False, 500)[1] <= 64
    result = invoke("experiment", "run", str(EXAMPLE), "--local", "--workers", "65")
    assert result.exit_code == 2


def test_flags_of_the_local_trainer_reach_it(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []

    def start(self: Services, name: str, arguments: Sequence[str], *_: Any, **__: Any) -> str:
        heard.extend(arguments)
        raise Unavailable("not started")

    monkeypatch.setattr(Services, "start", start)
    file = tmp_path / "experiment.toml"
    file.write_text('tasks = ["tickets"]\nseeds = 1\n[[arms]]\nname = "a"\n[[arms]]\nname = "b"\n')
    roots = ("--data-root", "one", "--model-root", "two", "--model-root", "three")
    more = ("--tuned-model", "big=http://h:8/v1", "--device", "cpu", "--directory", str(tmp_path))
    result = invoke("experiment", "run", str(file), "--local", *roots, *more)
    assert "not started" in result.stderr
    assert heard[-len(roots) - 4 :] == [*roots, *more[:4]]
