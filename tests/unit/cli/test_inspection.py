from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mentorgrad.domain.event import CandidatesScored, RunEvent
from mentorgrad.domain.run import CandidateSource, Run
from mentorgrad.serialization import from_dict
from run_store.open import open_store

Invoke = Callable[..., Any]


def test_list_reads_a_store_after_the_services_are_gone(invoke: Invoke, store_url: str) -> None:
    result = invoke("runs", "list", "--store", store_url)
    assert result.exit_code == 0, result.stderr
    header, row = result.stdout.splitlines()
    cells = dict(zip(header.split("\t"), row.split("\t"), strict=True))
    assert cells["run"] == "toy-run"
    assert cells["state"] == "succeeded"
    assert cells["mentor"] == "random_tokens"
    assert cells["test loss"] == "0.4200"


def test_an_empty_store_is_not_taken_for_none(invoke: Invoke) -> None:
    """A variable of the shell that is not set: the runs would be those of another place."""
    result = invoke("runs", "list", "--store", "")
    assert result.exit_code == 2
    assert "--store" in result.stderr


def test_list_as_json_gives_whole_runs(invoke: Invoke, store_url: str) -> None:
    result = invoke("runs", "list", "--store", store_url, "--json")
    page = json.loads(result.stdout)
    run = from_dict(Run, page["runs"][0])
    assert run.run_id == "toy-run"
    assert run.result is not None
    assert run.result.restarts_applied == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "value", "count"),
    [
        ("--state", "succeeded", 1),
        ("--state", "running", 0),
        ("--task", "other", 0),
        ("--mentor", "random_tokens", 1),
        ("--name", "toy", 1),
        ("--label", "arm=none", 0),
        ("--since", "2000-01-01", 1),
        ("--until", "2000-01-01T00:00:00", 0),
    ],
)
def test_list_filters(invoke: Invoke, store_url: str, option: str, value: str, count: int) -> None:
    result = invoke("runs", "list", "--store", store_url, "--json", option, value)
    assert len(json.loads(result.stdout)["runs"]) == count


def test_a_part_of_a_trajectory_without_snapshots_says_so(invoke: Invoke, store_url: str) -> None:
    for more, said in (
        (("--first", "1000000"), "no snapshots in these steps"),
        (("--points", "1"), ""),
    ):
        result = invoke("runs", "trajectory", "toy-run", "--store", store_url, *more)
        assert result.exit_code == 0
        assert said in result.stderr
        assert bool(result.stdout) is not bool(said)


def test_show_gives_figures_candidates_and_result(invoke: Invoke, store_url: str) -> None:
    result = invoke("runs", "show", "toy-run", "--store", store_url)
    assert result.exit_code == 0, result.stderr
    assert "test loss 0.4200, accuracy 0.800" in result.stdout
    assert "14, including 4 in races" in result.stdout
    assert "rows at a time\t8 in a step\n" in result.stdout
    assert "linear_probe\t0.3000\t0.850\t40\tC = 0.1\n" in result.stdout
    assert "prototypes\t–\t–\t40\tno labelled row is of class 'b'\n" in result.stdout
    assert "zero-shot accuracy" not in result.stdout, "it is among the baselines"
    candidates = [line for line in result.stdout.splitlines() if line.startswith("s")]
    assert [line.split("\t")[0] for line in candidates if "/" in line] == [
        "s1/step10",
        "s0/p0",
        "s0/step5",
    ]


def test_show_as_json_is_one_object(invoke: Invoke, store_url: str) -> None:
    result = invoke("runs", "show", "toy-run", "--store", store_url, "--json")
    shown = json.loads(result.stdout)
    assert set(shown) == {"run", "candidates", "artifacts", "waits", "label_scores"}
    assert shown["candidates"][0]["candidate_id"] == "s1/step10"


def test_show_gives_the_gap_that_words_cost(
    invoke: Invoke, toy_log: list[RunEvent], tmp_path: Path
) -> None:
    log = []
    for event in toy_log:
        payload = event.payload
        if isinstance(payload, CandidatesScored) and payload.candidates[0].stage == 1:
            soft = payload.candidates[0]
            words = replace(
                soft,
                candidate_id=f"{soft.candidate_id}/words",
                source=CandidateSource.PROJECTION,
                parents=(soft.candidate_id,),
                score=replace(soft.score, loss=soft.score.loss + 0.25),
            )
            payload = replace(payload, candidates=(soft, words))
        log.append(replace(event, payload=payload))
    url = f"sqlite:///{tmp_path}/gap.sqlite"
    store = open_store(url)
    store.import_run(log)
    store.close()

    shown = json.loads(invoke("runs", "show", "toy-run", "--store", url, "--json").stdout)
    gaps = {item["candidate_id"]: item.get("gap") for item in shown["candidates"]}
    assert gaps == {
        "s1/step10": pytest.approx(0.25),
        "s1/step10/words": pytest.approx(0.25),
        "s0/p0": None,
        "s0/step5": None,
    }
    assert all("gap" not in item for item in shown["candidates"] if item["stage"] == 0)

    # the gap is there even where the page is too short for the words
    lines = invoke("runs", "show", "toy-run", "--store", url, "--candidates", "1").stdout
    tables = [line.split("\t") for line in lines.splitlines() if line.count("\t") == 5]
    header, row = tables[-2:]  # below that of the labels
    assert dict(zip(header, row, strict=True))["gap"] == "0.2500"


def test_compare_a_store_s_runs(invoke: Invoke, store_url: str) -> None:
    result = invoke("runs", "compare", "toy-run", "toy-run", "--store", store_url, "--json")
    compared = json.loads(result.stdout)
    assert [run["run_id"] for run in compared["runs"]] == ["toy-run", "toy-run"]
    assert compared["differences"] == []
    assert compared["runs"][0]["result"]["baselines"][1]["test"]["accuracy"] == 0.85
    lines = invoke("runs", "compare", "toy-run", "toy-run", "--store", store_url).stdout
    assert "linear_probe (test loss, accuracy)\t0.3000, 0.850\t0.3000, 0.850\n" in lines
    assert "prototypes (test loss, accuracy)\t–, –\t–, –\n" in lines


def test_an_export_can_be_read_back_as_the_same_log(
    invoke: Invoke, store_url: str, toy_log: list[RunEvent], tmp_path: Path
) -> None:
    target = tmp_path / "out.jsonl"
    result = invoke("runs", "export", "toy-run", "--store", store_url, "-o", str(target), "--json")
    assert json.loads(result.stdout) == {
        "run_id": "toy-run",
        "events": len(toy_log),
        "file": str(target),
    }
    events = [from_dict(RunEvent, json.loads(line)) for line in target.read_text().splitlines()]
    assert [event.summary() for event in events] == [event.summary() for event in toy_log]
    parameters = [getattr(event.payload, "parameters", None) for event in events]
    assert sum(item is not None for item in parameters) == 2
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["loss", "path"])
def test_plot_draws_a_picture(invoke: Invoke, store_url: str, tmp_path: Path, kind: str) -> None:
    target = tmp_path / "picture.png"
    result = invoke(
        "runs", "plot", "toy-run", "--kind", kind, "--store", store_url, "-o", str(target)
    )
    assert result.exit_code == 0, result.stderr
    assert target.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("show", "nope"), 1, "nope"),
        (("list", "--state", "asleep"), 2, "--state: must be one of: queued, running"),
        (("list", "--order", "best"), 2, "--order: must be one of: newest, oldest"),
        (("list", "--page", "xyz"), 2, "page_token"),
        (("list", "--limit", "0"), 2, "--limit"),
        (("list", "--label", "arm"), 2, "--label: must be NAME=VALUE, not 'arm'"),
        (("download", "toy-run", "nothing.bin"), 1, "nothing.bin"),
        (("plot", "toy-run", "--kind", "pie"), 2, "--kind: must be one of: loss, path"),
        (("plot", "toy-run", "toy-run", "--kind", "path"), 2, "path plots only one run"),
    ],
)
def test_bad_input_is_one_line(
    invoke: Invoke, store_url: str, arguments: tuple[str, ...], code: int, message: str
) -> None:
    result = invoke("runs", *arguments, "--store", store_url)
    assert result.exit_code == code
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("error: ")
    assert message in result.stderr


@pytest.mark.parametrize("url", ["sqlite:///there/is/none.sqlite", "mysql://somewhere/else"])
def test_a_store_that_is_none_is_bad_input(invoke: Invoke, url: str) -> None:
    result = invoke("runs", "list", "--store", url)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert "store" in result.stderr
