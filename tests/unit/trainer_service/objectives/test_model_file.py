"""What every run with a prompt says of it in ``model.json``."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch

from mentorgrad.domain.objective import LabelPrompt
from mentorgrad.domain.spec import DataFiles, RunSpec, Task
from tests.support.numerics import objective
from trainer_service import tensorfile
from trainer_service.objectives.model_file import FORMAT, model_document
from trainer_service.objectives.torch_free import ARTIFACT, MODEL_FILE
from trainer_service.tasks.data import Row, TaskData


@pytest.mark.parametrize("name", ["prompt_tuning", "served_prompt", "causal_prompt"])
def test_the_document_and_the_metadata_say_the_same(name: str) -> None:
    made = objective(name)
    task = made.problem.task
    assert task is not None
    files = made.export(made.language.initial(torch.Generator().manual_seed(0)))
    document = json.loads(files[MODEL_FILE])
    _, metadata = tensorfile.load(files[ARTIFACT])
    read = {
        name: value if isinstance(document[name], str) else json.loads(value)
        for name, value in metadata.items()
    }
    assert read == document
    assert document["format"] == FORMAT
    assert document["labels"] == list(task.labels)
    assert document["splits"]["test"]["rows"] == len(task.test)
    assert len({split["sha256"] for split in document["splits"].values()}) == 3


def test_columns_are_those_of_files_of_ones_own() -> None:
    rows = (Row("a", 0), Row("b", 1))
    task = TaskData("own", "", ("x", "y"), rows, rows, ())
    files = DataFiles("rows.csv", text_field="message", label_field="intent")
    facts: dict[str, Any] = {"model": "m", "model_sha256": "", "model_revision": ""}
    facts |= {"device": "cpu", "text": "", "cut_texts": {}}
    named = {"text_field": "message", "pair_field": "", "label_field": "intent"}
    for data, columns in (
        (None, {}),
        (files, named),
        (replace(files, choice_fields=("a", "b")), named | {"choice_fields": "a\nb"}),
    ):
        run = RunSpec(LabelPrompt(), Task("own", data, labels=task.labels))
        assert model_document(run.objective, run, task, **facts)["columns"] == columns
