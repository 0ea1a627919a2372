"""What creating a run warns of: rows and settings that it does not use, and texts that it cuts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mentorgrad.domain.objective import Function, LabelPrompt
from mentorgrad.domain.spec import DataFiles, LongTexts, MentorChoice, RunSpec, Task
from mentorgrad.errors import InvalidInput
from trainer_service.control_plane.validation import validate_objective


def warnings(folder: Path, files: Sequence[str], **fields: Any) -> list[str]:
    """Of a run on two files of 40 and 30 rows."""
    for name, rows in (("train", 40), ("selection", 30)):
        texts = [{"text": f"{name} {n}", "label": n % 2} for n in range(rows)]
        texts[0]["text"] = "a long text " * 200
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, texts)))
    task = Task("own", DataFiles(*files), "what it is", ("a", "b"), **fields)
    found: list[str] = []
    spec = RunSpec(LabelPrompt(), task)
    validate_objective(spec, data_roots=[folder], warn=found.append)
    return found


SHOTS = "spec.task.shots = 4 limits the train rows per class (0: all)"
ROWS = "spec.task.selection_rows = 5 limits the selection rows per class"
ONE, BOTH = ("train.jsonl",), ("train.jsonl", "selection.jsonl")


@pytest.mark.parametrize(
    ("files", "fields", "says"),
    [
        (ONE, {"shots": 0}, None),
        # Without a selection file, selection takes half of what train leaves at most.
        (ONE, {"shots": 4}, f"16 of 40 labelled rows are not used: {SHOTS}"),
        (ONE, {"shots": 4, "selection_rows": 5}, f"22 of 40 labelled rows are not used: {SHOTS}"),
        (
            BOTH,
            {"shots": 4, "selection_rows": 5},
            # One text stands in both files.
            f"51 of 69 labelled rows are not used: {SHOTS}; {ROWS}",
        ),
        (BOTH, {"shots": 0, "selection_rows": 5}, f"20 of 69 labelled rows are not used: {ROWS}"),
    ],
)
def test_rows_that_are_not_used(
    tmp_path: Path, files: Sequence[str], fields: dict[str, Any], says: str | None
) -> None:
    found = [line for line in warnings(tmp_path, files, **fields) if "labelled rows" in line]
    assert found == ([] if says is None else [says])


@pytest.mark.parametrize(
    ("name", "is_told"), [("none", True), ("random_tokens", True), ("m", False)]
)
def test_a_strategy_without_a_mentor_is_not_used(name: str, is_told: bool) -> None:
    found: list[str] = []
    spec = RunSpec(Function(), mentor=MentorChoice(name, strategy="opro"))
    validate_objective(spec, warn=found.append)
    told = f"spec.mentor.strategy = opro is not used: spec.mentor.name = {name}"
    assert [line.startswith(told) for line in found] == [True] * is_told


def test_texts_that_will_be_cut(tmp_path: Path) -> None:
    found = warnings(tmp_path, ONE, shots=0, long_texts=LongTexts.HEAD_TAIL)
    assert found == [
        "1 of 40 texts take more than 254 tokens, and will be cut (spec.task.long_texts = "
        "head_tail)"
    ]
    with pytest.raises(InvalidInput) as caught:
        warnings(tmp_path, ONE, shots=0, long_texts=LongTexts.ERROR)
    assert caught.value.reason == "TEXT_TOO_LONG"
    assert "the first is row 1 of train ('" in caught.value.message


def test_texts_that_the_model_does_not_know(tmp_path: Path) -> None:
    rows = [{"text": f"{'😀 ' * (n % 3)}text {n}", "label": n % 2} for n in range(40)]
    (tmp_path / "odd.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found: list[str] = []
    task = Task("own", DataFiles("odd.jsonl"), "what it is", ("a", "b"), shots=0)
    validate_objective(RunSpec(LabelPrompt(), task), data_roots=[tmp_path], warn=found.append)
    (line,) = found
    assert "of the tokens of the texts are unknown to the model; an encoder" in line


def test_the_built_in_task_is_made_for_few_rows() -> None:
    found: list[str] = []
    validate_objective(RunSpec(), warn=found.append)
    assert found == []
