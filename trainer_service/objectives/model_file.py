"""``model.json``: what a run's prompt is, and everything that is needed to predict with it. Imports
no torch.

The same facts are the metadata of ``prompt.safetensors``, so that either file alone says what the
prompt belongs to.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mentorgrad.domain.spec import DataFiles, RunSpec
from mentorgrad.schema import snake_case
from mentorgrad.serialization import to_dict
from trainer_service.tasks.data import CutTexts, Split, TaskData

FORMAT = 1
"""Version of the document; a reader refuses others."""

_COLUMNS = ("text_field", "pair_field", "label_field")


def model_document(
    spec: Any,
    run: RunSpec,
    task: TaskData,
    *,
    model: str,
    model_sha256: str,
    model_revision: str,
    device: str,
    text: str,
    cut_texts: CutTexts,
    **facts: Any,
) -> dict[str, Any]:
    """The facts that all objectives record, and an objective's own.

    Args:
        spec: The run's objective.
        run: The run.
        task: Its rows, without demonstrations.
        model: Reference of the frozen model.
        model_sha256: Hex SHA-256 of its weights, configuration and tokenizer.
        model_revision: Commit of a model of the Hugging Face hub; empty for others.
        device: Kind of the device that the run scored on.
        text: The prompt in words.
        cut_texts: The rows whose texts are cut.
        **facts: The objective's own, as JSON has them.
    """
    return {
        "format": FORMAT,
        "objective": snake_case(type(spec).__name__),
        "spec": to_dict(spec),
        "text": text,
        "model": model,
        "model_sha256": model_sha256,
        "model_revision": model_revision,
        "device": device,
        "labels": list(task.labels),
        "label_values": list(run.task.label_values),
        "long_texts": run.task.long_texts.value,
        "cut_texts": {split: len(rows) for split, rows in cut_texts.items()},
        "paired": task.is_paired,
        "images": task.has_images,
        "columns": _columns(run),
        "task": task.name,
        "task_sha256": task.digest,
        "splits": {split.value: _split(task, split) for split in Split},
        "prior": [],
        **facts,
    }


def _columns(run: RunSpec) -> dict[str, str]:
    """The columns that the rows were read from, for a task of files of one's own."""
    data: DataFiles | None = run.task.data
    if data is None:
        return {}
    columns = {name: getattr(data, name) for name in _COLUMNS}
    if data.image_field:
        columns["image_field"] = data.image_field
    if data.choice_fields:
        columns["choice_fields"] = "\n".join(data.choice_fields)
    return columns


def _split(task: TaskData, split: Split) -> dict[str, Any]:
    return {"rows": len(task.rows(split)), "sha256": task.split_digest(split)}


def document_bytes(document: Mapping[str, Any]) -> bytes:
    """The document as a file."""
    return json.dumps(document, indent=2, ensure_ascii=False, sort_keys=True).encode() + b"\n"


def with_run(document: bytes, run_id: str, rows_at_once: int) -> bytes:
    """The document with what no objective knows.

    Args:
        document: The file.
        run_id: The run that left it.
        rows_at_once: Train rows that passed through the model at a time in its last step.
    """
    facts = {"run_id": run_id, "rows_at_once": rows_at_once}
    return document_bytes({**json.loads(document), **facts})


def as_metadata(document: Mapping[str, Any]) -> dict[str, str]:
    """The document as metadata of a safetensors file: what is no text, as JSON."""
    return {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in document.items()
    }
