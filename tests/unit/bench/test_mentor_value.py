"""The campaign that compares mentors with controls: plan, records, figures, tables."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from bench.mentor_value import __main__ as command
from bench.mentor_value.arms import Allowance, Cell, Model, spec
from bench.mentor_value.figures import arms_of, difference
from bench.mentor_value.picture import draw
from bench.mentor_value.plan import Campaign, check_arms, hours, weights
from bench.mentor_value.records import (
    VERSION,
    Record,
    cell_of,
    open_records,
    read_records,
)
from bench.mentor_value.tables import largest_mentor, tables
from mentorgrad.domain.objective import Calibration
from mentorgrad.domain.spec import Task
from mentorgrad.errors import InvalidInput, PreconditionFailed
from mentorgrad.field_limits import check

CAMPAIGN = Campaign(
    objective="causal_prompt",
    tasks={"one": (2, 200), "two": (6, 180)},
    tuned=("135M", "0.5B"),
    mentors=("135M", "1.5B"),
    budgets=("0", "20"),
    shots=(4,),
    seeds=(0, 1, 2),
)
PLACE = ("causal_prompt", "0.5B", "0")
MATCHED = Calibration.MATCHED


def record(cell: Cell, loss: float, **changes: Any) -> Record:
    score = {"loss": loss, "accuracy": 0.5, "macro_f1": 0.5}
    return {
        "bench": VERSION,
        **asdict(cell),
        "test": score,
        "baselines": {"zero_shot": {**score, "loss": 2.0}, "linear_probe": None},
        "calibration": "matched",
        "seconds": 36.0,
        **changes,
    }


def recorded(losses: dict[str, float]) -> list[Record]:
    """Records whose losses differ by task and seed, and by a constant between arms."""
    return [
        record(cell, losses[cell.arm] + 0.1 * cell.seed + (cell.task == "two"))
        for cell in replace(CAMPAIGN, tuned=("0.5B",), budgets=("0",)).cells()
        if cell.arm in losses
    ]


@pytest.mark.parametrize("budget", ["0", "0x3", "20", "f400"])
@pytest.mark.parametrize("objective", ["causal_prompt", "served_prompt"])
def test_every_cell_has_a_valid_spec(objective: str, budget: str) -> None:
    cells = replace(CAMPAIGN, objective=objective, budgets=(budget,)).cells()
    tuned = Model("135M", "pkg:package/file.gguf")
    specs = [spec(cell, tuned, Task("tickets"), 6, MATCHED) for cell in cells]
    for made in specs:
        check(made)
    assert {made.mentor.name for made in specs} >= {"random_tokens", "mentor_1_5b"}


def test_arms_differ_in_their_mentor_only_but_for_the_one_that_spends_on_steps() -> None:
    tuned = Model("135M", "pkg:package/file.gguf")
    cells = [cell for cell in CAMPAIGN.cells() if (cell.budget, cell.seed) == ("20", 0)]
    same = {
        repr(replace(made, mentor=specs_mentor, labels={}))
        for cell in cells
        if cell.arm != "none/rows" and cell.tuned == "135M" and cell.task == "one"
        for made in [spec(cell, tuned, Task("tickets"), 2, MATCHED)]
        for specs_mentor in [spec(cells[0], tuned, Task("tickets"), 2, MATCHED).mentor]
    }
    assert len(same) == 1
    rows = next(cell for cell in cells if cell.arm == "none/rows")
    # 8 texts on 2 classes of 4 train and 16 selection rows are 320 rows: 6 steps of 48.
    assert spec(rows, tuned, Task("tickets"), 2, MATCHED).budget.gradient_steps == 26


def test_a_mentor_gets_an_arm_per_size_and_a_variant_for_the_largest() -> None:
    arms = {cell.arm: cell.mentor for cell in CAMPAIGN.cells() if cell.budget == "0"}
    assert arms == {
        "none": "",
        "random_tokens": "",
        "description": "",
        "mentor_135M": "135M",
        "mentor_1.5B": "1.5B",
        "mentor_1.5B/examples": "1.5B",
    }


def test_a_part_of_the_plan_has_whole_seeds() -> None:
    cells = CAMPAIGN.cells()
    assert [cell.seed for cell in cells] == sorted(cell.seed for cell in cells)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", Allowance(1, 0, False)),
        ("0x3", Allowance(3, 0, False)),
        ("20", Allowance(1, 20, False)),
        ("f400", Allowance(1, 200, True)),
    ],
)
def test_budgets_are_read(text: str, expected: Allowance) -> None:
    assert Allowance.parse(text) == expected


def test_time_is_estimated_from_records_where_there_are_any() -> None:
    cells = [cell for cell in CAMPAIGN.cells() if cell.tuned == "135M"]
    one = cells[0]
    of_one = [record(one, 1.0, seconds=3600.0)]
    assert hours(CAMPAIGN, [one], of_one) == pytest.approx(1.0)
    assert hours(CAMPAIGN, cells, of_one) > hours(CAMPAIGN, cells[:9], of_one) > 1.0
    assert hours(CAMPAIGN, cells, []) > 0


def test_records_outlast_a_process_that_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "of" / "records.jsonl"
    first, second = CAMPAIGN.cells()[:2]
    with open_records(path) as file:
        file.append(first, record(first, 1.0))
    with path.open("a") as torn:
        torn.write('{"bench": 1, "obj')
    assert [cell_of(item) for item in read_records(path, MATCHED)] == [first]
    with open_records(path) as file:
        file.append(second, record(second, 2.0))
    assert [cell_of(item) for item in read_records(path, MATCHED)] == [first, second]


def test_two_processes_do_not_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    with (
        open_records(path),
        pytest.raises(PreconditionFailed, match="another process"),
        open_records(path),
    ):
        pass


@pytest.mark.parametrize("line", ["[]", "{}", "no json", json.dumps({"bench": VERSION})])
def test_what_is_no_record_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(f"{line}\n")
    with pytest.raises(InvalidInput, match="line 1"):
        read_records(path, MATCHED)


def test_records_of_another_calibration_are_kept_apart(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    made = record(CAMPAIGN.cells()[0], 1.0)
    earlier = {name: value for name, value in made.items() if name != "calibration"}
    path.write_text(f"{json.dumps(made)}\n{json.dumps(earlier)}\n")
    assert read_records(path, MATCHED) == [made]
    assert read_records(path, Calibration.BATCH) == [earlier]


def test_records_of_another_version_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(json.dumps(record(CAMPAIGN.cells()[0], 1.0, bench=VERSION + 1)) + "\n")
    with pytest.raises(InvalidInput, match=f"version {VERSION + 1}"):
        read_records(path, MATCHED)


def test_differences_are_paired_by_task_and_seed() -> None:
    records = recorded({"mentor_1.5B": 0.5, "random_tokens": 0.75})
    found = difference(records, PLACE, "mentor_1.5B", "random_tokens")
    assert found is not None
    assert found.estimate.mean == pytest.approx(-0.25)
    assert (found.wins, found.estimate.count, found.seeds) == (1.0, 6, 3)
    assert found.is_weak
    assert difference(records, PLACE, "mentor_1.5B", "description") is None
    assert difference(records, PLACE, "mentor_1.5B", "linear_probe") is None


def test_the_headline_compares_the_largest_mentor() -> None:
    records = recorded({"mentor_135M": 0.9, "mentor_1.5B": 0.5, "random_tokens": 0.75})
    found = command.headline(records, CAMPAIGN)
    assert found["mentor"] == "mentor_1.5B"
    assert found["vs_random_tokens"]["mean"] == -0.25
    assert found["vs_none"]["mean"] == pytest.approx(0.5 + 0.1 + 0.5 - 2.0)
    assert found["vs_description"] is None
    assert command.headline([], CAMPAIGN)["vs_none"] is None


def test_tables_and_picture_hold_every_arm(tmp_path: Path) -> None:
    records = recorded({"mentor_135M": 0.9, "mentor_1.5B": 0.5, "random_tokens": 0.75})
    text = tables(records)
    arms = arms_of(records, PLACE)
    assert largest_mentor(arms) == "mentor_1.5B"
    assert "| random_tokens | 6 | 1.350 | 0.500 | 0.500 | 0.850 | 1.850 | -0.250" in text
    assert "6 (weak)" in text
    draw(records, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 1000


def test_a_task_with_one_seed_counts_in_the_mean() -> None:
    records = recorded({"random_tokens": 0.75})
    last = records[-1]["task"]
    begun = [record for record in records if record["task"] != last or record["seed"] == 0]
    assert "| random_tokens | 4 | 1.300 | 0.500 | 0.500 | 0.850 | 1.750 |" in tables(begun)


@pytest.mark.parametrize("text", ["1.5", "B", "x5B"])
def test_a_size_class_has_a_unit(text: str) -> None:
    with pytest.raises(InvalidInput, match="size class"):
        weights(text)


def test_bad_options_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InvalidInput, match="no arm 'nobody'"):
        check_arms(["nobody"])
    for flags, said in (
        (["--budgets", "ten"], "'ten'"),
        (["--tuned", "0.5B"], "0.5B=FILE"),
        (["--mentor", "0.5B=/no/such/file"], "no file"),
        (["--tasks", str(tmp_path), "--only", "missing"], "missing"),
    ):
        with pytest.raises((InvalidInput, FileNotFoundError), match=said):
            command.run(command.arguments([*flags, "--plan", "--records", str(tmp_path / "r")]))
