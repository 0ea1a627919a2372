"""A whole run on images with CLIP: it learns, resumes exactly, and predicts as it was tested."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mentorgrad.cli.main import app
from mentorgrad.domain.event import EventKind
from mentorgrad.domain.objective import LabelPrompt
from mentorgrad.domain.query import EventQuery
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import (
    Acceptance,
    DataFiles,
    MentorChoice,
    Optimizer,
    RunSpec,
    Stages,
    Task,
)
from run_store.temporary_store import TemporaryRunStore
from tests.contract.test_resume import StopsAt, create, go
from tests.support.digit_images import WORDS, write_digits
from tests.support.effective_log import effective, run_files
from tests.support.tiny_models import make_clip
from trainer_service import tensorfile
from trainer_service.job import WorkerJob
from trainer_service.objectives.torch_free import ARTIFACT
from trainer_service.run_composition import run_parts

SPEC = RunSpec(
    objective=LabelPrompt("clip", n_tokens=3, per_class=True),
    task=Task(
        name="digits",
        data=DataFiles("train", test="test"),
        labels=WORDS,
        description="which digit the image shows",
        shots=8,
        selection_rows=8,
    ),
    optimizer=Optimizer(learning_rate=0.005, batch_size=16),
    stages=Stages(count=2, steps=6, candidates=2),
    mentor=MentorChoice("random_tokens", proposals=3),
    acceptance=Acceptance(finalists=1, probe_steps=2),
    seed=5,
)


@pytest.mark.slow
@pytest.mark.usefixtures("without_probe")
def test_a_run_on_images(tmp_path: Path) -> None:
    write_digits(tmp_path / "train", 0, 20)
    write_digits(tmp_path / "test", 20, 5)
    make_clip(tmp_path / "clip")
    roots = {"data_roots": (str(tmp_path),), "model_roots": (str(tmp_path),)}
    job = WorkerJob(run_id="-", store="-", cache_dir=str(tmp_path / "cache"), **roots)
    store = TemporaryRunStore()
    whole, broken = create(store, SPEC), create(store, SPEC)
    assert go(store, whole, StopsAt(), run_parts(job)) is RunState.SUCCEEDED
    cached = list((tmp_path / "cache" / "embeddings").iterdir())
    assert len(cached) == 3, "a file per split"
    assert go(store, broken, StopsAt(9), run_parts(job)) is RunState.PAUSED
    assert go(store, broken, StopsAt(), run_parts(job)) is RunState.SUCCEEDED
    assert effective(store, broken) == effective(store, whole)
    files = run_files(store, whole)
    assert run_files(store, broken) == files
    assert len(list((tmp_path / "cache" / "embeddings").iterdir())) == 3

    segments = store.events(whole, EventQuery(kinds=(EventKind.SEGMENT,)))
    losses = [snapshot.train_loss for event in segments for snapshot in event.payload.snapshots]
    assert min(losses) < losses[0] - 0.03
    result = store.get_run(whole).result
    assert result is not None
    assert result.test is not None
    assert {baseline.name for baseline in result.baselines} >= {"prototypes"}
    store.close()
    prompt, metadata = tensorfile.load(files[ARTIFACT])
    assert prompt["prompt"].shape == (2, 3, 16)
    assert metadata["images"] == "true"

    folder = tmp_path / "result"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    # A table beside the images: its paths are relative to it, wherever the command runs.
    lines = [
        f"{file.relative_to(tmp_path)},{file.parent.name}"
        for file in sorted((tmp_path / "test").rglob("*.png"))
    ]
    (tmp_path / "new.csv").write_text("\n".join(["image,truth", *lines, "test/absent.png,sun"]))
    arguments = [
        "predict",
        str(folder),
        str(tmp_path / "new.csv"),
        "--model",
        str(tmp_path / "clip"),
    ]
    done = CliRunner().invoke(app, [*arguments, "--label", "truth"])
    assert done.exit_code == 0, done.stderr
    assert "absent.png" in done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len(rows) == 10
    given = np.array([float(row[f"p_{row['truth']}"]) for row in rows])
    assert -np.log(given).mean() == pytest.approx(result.test.loss, abs=1e-5)
    right = np.mean([row["label"] == row["truth"] for row in rows])
    assert right == pytest.approx(result.test.accuracy)
