from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mentorgrad.cli.support import short_ids
from mentorgrad.domain.event import Created
from mentorgrad.domain.experiment import Experiment, ExperimentPage
from mentorgrad.errors import InvalidInput, NotFound
from run_store.open import open_store
from run_store.visibility import OnBehalf
from tests.support import toy_run

Invoke = Callable[..., Any]

ONE, TWO = "01k9zzzzzzaaaaaaaaaaaaaaaa", "01k9zzzzzzabbbbbbbbbbbbbbb"


@pytest.fixture(scope="module")
def three_runs(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with the toy run and two whose ids begin alike; the last test adds a run."""
    toy_log = toy_run.toy_log()
    url = f"sqlite:///{tmp_path_factory.mktemp('three')}/runs.sqlite"
    store = open_store(url)
    try:
        store.import_run(toy_log)
        for run_id in (ONE, TWO):
            created = replace(toy_log[0].payload, request_id=run_id)
            log = [replace(toy_log[0], payload=created), *toy_log[1:]]
            store.import_run([replace(event, run_id=run_id) for event in log])
    finally:
        store.close()
    return url


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "{}"),
        ("compare", "{}", "toy"),
        ("export", "{}", "-o", "-"),
        ("download", "{}", "--into", "all", "--force"),
        ("plot", "{}"),
    ],
)
def test_a_beginning_stands_for_the_run_that_has_it(
    invoke: Invoke,
    three_runs: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    for given in (ONE, ONE[:12]) if arguments[0] == "show" else (ONE[:12],):
        named = [part.format(given) for part in arguments]
        result = invoke("runs", *named, "--store", three_runs)
        assert result.exit_code == 0, result.stderr
        assert arguments[0] in ("plot", "download") or ONE in result.stdout

    ambiguous = invoke("runs", *(part.format("01k9") for part in arguments), "--store", three_runs)
    assert ambiguous.exit_code == 2
    assert f"the ids of 2 runs begin with 01k9: {ONE}, {TWO}" in ambiguous.stderr

    unknown = invoke("runs", *(part.format("01k9x") for part in arguments), "--store", three_runs)
    assert unknown.exit_code == 1
    assert "01k9x" in unknown.stderr


def test_a_whole_id_that_begins_another_is_itself() -> None:
    class Experiments:
        def get_experiment(self, experiment_id: str) -> Experiment:
            if experiment_id not in ("ab", "abc", "b"):
                raise NotFound(experiment_id)
            return Experiment(experiment_id)

        def list_experiments(self, page_size: int = 50, page_token: str = "") -> ExperimentPage:
            if page_token:
                return ExperimentPage((Experiment("b"),))
            return ExperimentPage((Experiment("ab"), Experiment("abc")), "more")

        def get_report(self, experiment_id: str) -> Any: ...

    reader = Experiments()
    assert short_ids.experiment_id(reader, "ab") == "ab"
    with pytest.raises(InvalidInput, match="2 experiments begin with a: ab, abc"):
        short_ids.experiment_id(reader, "a")
    with pytest.raises(NotFound):
        short_ids.experiment_id(reader, "c")


def test_short_ids_are_as_long_as_it_takes() -> None:
    ids = [ONE, TWO, "01k9yyyyyyaaaaaaaaaaaaaaaa", "own"]
    assert short_ids.shortened(ids) == {
        ONE: ONE[:12],
        TWO: TWO[:12],
        ids[2]: ids[2][:10],
        "own": "own",
    }


@pytest.mark.parametrize("given", ["", " ", "\n"])
def test_an_empty_id_is_not_the_beginning_of_the_only_run(
    invoke: Invoke, tmp_path: Path, given: str
) -> None:
    """As of a variable that is not set: ``runs delete "$RUN"``."""
    url = f"sqlite:///{tmp_path}/one.sqlite"
    store = open_store(url)
    store.import_run(toy_run.toy_log())
    store.close()
    result = invoke("runs", "show", given, "--store", url)
    assert (result.exit_code, result.stderr) == (
        2,
        "error: the id is empty; give the beginning of one of the runs\n",
    )


@pytest.mark.parametrize(("width", "left_out"), [(200, ()), (80, ("restarts", "created", "step"))])
def test_a_list_fits_its_terminal(
    invoke: Invoke,
    three_runs: str,
    monkeypatch: pytest.MonkeyPatch,
    width: int,
    left_out: tuple[str, ...],
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    shown = invoke("runs", "list", "--store", three_runs).stdout
    lines = re.sub("\x1b\\[[0-9;]*m", "", shown).splitlines()
    assert len(lines) == 7, "a heading, three rules and a line per run"
    assert all(len(line) <= width for line in lines)
    table = "\n".join(lines)
    assert ONE[:12] in table
    assert ONE[:13] not in table
    assert all(name not in table for name in left_out)
    assert all(name in table for name in ("run", "state", "selection loss", "mentor"))


def test_columns_are_named(invoke: Invoke, three_runs: str) -> None:
    listed = ("runs", "list", "--store", three_runs, "--columns")
    result = invoke(*listed, "accuracy, test_loss,run")
    assert result.stdout.splitlines()[0] == "accuracy\ttest loss\trun"
    assert f"0.800\t0.4200\t{ONE}" in result.stdout
    wrong = invoke(*listed, "loss")
    assert wrong.exit_code == 2
    assert "--columns: must be of: run, name, state" in wrong.stderr


def test_owners_are_shown_where_there_are_several(invoke: Invoke, three_runs: str) -> None:
    listed = ("runs", "list", "--store", three_runs)
    assert "owner" not in invoke(*listed).stdout
    store = open_store(three_runs)
    run, _ = store.seen_by(OnBehalf("alice", "")).create(Created())
    store.close()
    heading, *lines = invoke(*listed).stdout.splitlines()
    assert heading.endswith("\tcreated\towner")
    assert [line.rpartition("\t")[2] for line in lines].count("alice") == 1
    mine = invoke(*listed, "--owner", "alice", "--columns", "run,owner").stdout
    assert mine.splitlines() == ["run\towner", f"{run.run_id}\talice"]
