"""A worker executes a run on the rows that it was created with, or not at all."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

from mentorgrad.domain.event import Created
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import DataFiles, RunSpec, Task
from run_store.temporary_store import TemporaryRunStore
from trainer_service.control_plane.validation import validate_objective
from trainer_service.job import EXIT_FAILED, WorkerJob
from trainer_service.objectives.kept_results import KeptResults
from trainer_service.running.stop_control import StopRequest
from trainer_service.worker import work

SPEC = RunSpec(task=Task("own", DataFiles("rows.jsonl"), "what it is", ("good", "bad"), shots=4))


def write(folder: Path, word: str) -> None:
    rows = [{"text": f"{word} {n}", "label": n % 2} for n in range(20)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))


def test_rows_that_have_changed_since_end_the_run_and_both_digests_are_named(
    tmp_path: Path,
) -> None:
    write(tmp_path, "film")
    before = validate_objective(SPEC, data_roots=[tmp_path])
    write(tmp_path, "book")
    after = validate_objective(SPEC, data_roots=[tmp_path])
    with closing(TemporaryRunStore()) as store:
        run, _ = store.create(Created(SPEC, task_digest=before))
        job = WorkerJob(run.run_id, "-", "-", data_roots=(str(tmp_path),))
        assert work(job, store, StopRequest(), KeptResults()) == EXIT_FAILED
        ended = store.get_run(run.run_id)
    assert ended.state is RunState.FAILED
    assert ended.reason == (
        "the rows of task own are not those that the run was created with: their SHA-256 is "
        f"{after}, and that of the run's rows is {before}; restore the data, or create a new run"
    )
