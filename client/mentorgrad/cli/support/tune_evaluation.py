"""Judges what a run left: the files of the result, and what its methods predict for test rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mentorgrad.domain.run import Run, Score
from mentorgrad.domain.spec import Criterion, DataFiles, Task
from mentorgrad.errors import DataLoss, PreconditionFailed
from mentorgrad.serialization import from_dict
from mentorgrad.tune.folder import MODEL_FILE
from mentorgrad.tune.outcome import ScoredRows, TuneOutcome, method_on, outcome
from mentorgrad.tune.predictions import (
    PREDICTIONS_FILE,
    RunPredictions,
    read_predictions,
    read_tensors,
)

if TYPE_CHECKING:
    from mentorgrad.client import Client

PROBE_FILE, WORDS_FILE = "probe.safetensors", "prompt.txt"


def download(client: Client, run_id: str, folder: Path) -> RunPredictions:
    """Writes a run's files to a folder, but for its predictions, which are returned.

    Raises:
        PreconditionFailed: There are no predictions: the trainer is of an earlier version.
        DataLoss: They are damaged.
    """
    found = None
    for item in client.artifacts(run_id):
        content = client.read_artifact(run_id, item.name)
        if item.name == PREDICTIONS_FILE:
            found = read_predictions(content)
        else:
            (folder / Path(item.name).name).write_bytes(content)
    if found is None:
        raise PreconditionFailed(
            f"the run has left no {PREDICTIONS_FILE}: its trainer is of an earlier version"
        )
    return found


def texts_of(path: Path, task: Task) -> list[str]:
    """The texts of a file that `write_splits` has written, each with its second text."""
    columns = task.data or DataFiles()
    names = [name for name in (columns.text_field, columns.pair_field) if name]
    with path.open(encoding="utf-8") as file:
        records = map(json.loads, file)
        return [" | ".join(record[name] for name in names) for record in records]


def probe_on_selection(path: Path) -> Score | None:
    """The score on selection that a probe's file says; None without the file or the score.

    Raises:
        DataLoss: The file is damaged.
    """
    if not path.is_file():
        return None
    try:
        _, facts = read_tensors(path.read_bytes())
        return from_dict(Score, json.loads(facts["selection"])) if "selection" in facts else None
    except (KeyError, ValueError, AttributeError, TypeError):
        raise DataLoss(f"{path} is damaged") from None


def judged(
    run: Run,
    found: RunPredictions,
    texts: Sequence[str],
    probe: Score | None,
    metric: Criterion,
) -> TuneOutcome:
    """Puts the methods' figures together and chooses.

    Args:
        run: The run, with a result.
        found: What its methods predict for the test rows.
        texts: The test rows.
        probe: Score of the probe on selection.
        metric: What the choice is made by.

    Raises:
        DataLoss: The predictions are not those of the rows.
    """
    if len(texts) != len(found.labels) or run.result is None:
        raise DataLoss(
            f"{PREDICTIONS_FILE} has {len(found.labels)} rows, and the test split {len(texts)}"
        )
    mentor = run.spec.mentor.name
    kind = "control" if run.spec.mentor.is_control else "mentor"
    tuned = "tuned without a mentor" if mentor == "none" else f"tuned with the {kind} {mentor}"
    lines = (
        ("majority", "majority", "the majority", None),
        ("zero_shot", "zero_shot", "zero-shot", None),
        ("linear_probe", "probe", "the linear probe", probe),
        ("words", "words", "the prompt in words", found.selection.get("words")),
        ("prompt", "prompt", f"the prompt {tuned}", run.result.returned.score),
    )
    methods = {use: found.methods[name] for name, use, _, _ in lines if name in found.methods}
    rows = ScoredRows(texts, found.labels, methods)
    figures = [method_on(rows, use, title, on) for _, use, title, on in lines if use in methods]
    return outcome(figures, rows, run.spec.task.label_values, metric)


def split_rows(folder: Path) -> dict[str, int]:
    """Rows of the splits, as ``model.json`` has them."""
    splits = json.loads((folder / MODEL_FILE).read_text(encoding="utf-8"))["splits"]
    return {name: split["rows"] for name, split in splits.items()}


def describe_choice(folder: Path, choice: str) -> None:
    """Records in ``model.json`` what predicts, and writes the words beside it."""
    path = folder / MODEL_FILE
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    document["use"] = choice
    text = json.dumps(document, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    path.write_text(text, encoding="utf-8")
    if not (folder / WORDS_FILE).exists():
        (folder / WORDS_FILE).write_text(document["text"] + "\n", encoding="utf-8")
