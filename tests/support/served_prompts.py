"""Runs of `served_prompt` with a scripted server."""

from __future__ import annotations

import json
from pathlib import Path

from mentorgrad.domain.objective import ServedPrompt
from mentorgrad.domain.spec import Criterion, DataFiles, MentorChoice, RunSpec, Stages, Task
from tests.support.label_server import LabelServer
from tests.support.tiny_models import TEXTS
from trainer_service.job import WorkerJob
from trainer_service.run_composition import run_parts
from trainer_service.running.execution import Parts

OBJECTIVE = ServedPrompt("own", max_characters=60)
SPEC = RunSpec(
    objective=OBJECTIVE,
    task=Task("own", DataFiles("rows.jsonl"), "what is said", ("other", "worth"), 4, 4),
    stages=Stages(count=3, steps=0),
    mentor=MentorChoice("random_tokens", proposals=4),
    criterion=Criterion.ACCURACY,
    seed=3,
)


def write_rows(folder: Path) -> Path:
    """Writes the rows of `SPEC`; returns the folder."""
    lines = [
        json.dumps({"text": text, "label": int("good" in text or "bad" in text)}) for text in TEXTS
    ]
    (folder / "rows.jsonl").write_text("\n".join(lines))
    return folder


def parts(server: LabelServer, folder: Path, model: str = "") -> Parts:
    """A worker's parts that know the server as ``own``; `model` is the fragment of its URL."""
    known = {"own": server.url + model}
    return run_parts(
        WorkerJob(run_id="-", store="-", data_roots=(str(folder),), tuned_models=known)
    )
