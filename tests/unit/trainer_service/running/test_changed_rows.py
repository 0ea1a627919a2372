"""A worker executes a run on the rows that it was created with, or not at all."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from mentorgrad.domain.event import Created
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import DataFiles, RunSpec, Task
from mentorgrad.errors import InvalidInput, Unavailable
from run_store.temporary_store import TemporaryRunStore
from run_store.uploads import StoredUpload
from tests.unit.trainer_service.running.test_alternation import SPEC as FUNCTION
from tests.unit.trainer_service.running.test_alternation import Done, parts
from trainer_service.control_plane.validation import validate_objective
from trainer_service.job import EXIT_FAILED, WorkerJob
from trainer_service.objectives.kept_results import KeptResults
from trainer_service.running.stop_control import LEASE, StopRequest
from trainer_service.tasks.load import load_task
from trainer_service.tasks.uploaded import FetchedUploads
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
        store.claim(run.run_id, "test", LEASE)
        job = WorkerJob(run.run_id, "-", data_roots=(str(tmp_path),))
        assert work(job, store, StopRequest(), KeptResults()) == EXIT_FAILED
        ended = store.get_run(run.run_id)
    assert ended.state is RunState.FAILED
    assert ended.reason == (
        "the rows of task own are not those that the run was created with: their SHA-256 is "
        f"{after}, and that of the run's rows is {before}; restore the data, or create a new run"
    )


class Away:
    """A store of uploads that is away the first time."""

    def __init__(self, store: TemporaryRunStore) -> None:
        self.store = store
        self.asked = 0

    def find_upload(self, sha256: str) -> StoredUpload:
        self.asked += 1
        if self.asked == 1:
            raise Unavailable("as told", reason="STORE_AWAY")
        return self.store.find_upload(sha256)

    def upload_pieces(self, sha256: str) -> Iterator[bytes]:
        return self.store.upload_pieces(sha256)


def test_an_upload_is_copied_when_the_store_is_back(tmp_path: Path) -> None:
    write(tmp_path, "film")
    data = (tmp_path / "rows.jsonl").read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    task = replace(SPEC.task, data=DataFiles(f"upload:{sha256}"))
    with closing(TemporaryRunStore()) as store:
        store.put_upload(StoredUpload(sha256, ".jsonl", len(data)), io.BytesIO(data))
        fetched = FetchedUploads(Away(store))
        with pytest.raises(Unavailable):
            fetched.fetch(task.data)
        fetched.fetch(task.data)
        with fetched.opened(sha256) as path:
            assert path.read_bytes() == data
            assert path.parent.stat().st_mode & 0o077 == 0
        assert load_task(task, 0, (), uploads=fetched.opened).train
        fetched.discard()
        assert not path.exists()
        with pytest.raises(InvalidInput) as caught:
            load_task(task, 0, (), uploads=fetched.opened)
        assert caught.value.reason == "UPLOAD_NOT_FOUND"


def test_a_run_waits_for_a_store_that_is_away_while_it_copies(tmp_path: Path) -> None:
    asked: list[RunSpec] = []

    def fetch(spec: RunSpec) -> None:
        asked.append(spec)
        if len(asked) == 1:
            raise Unavailable("as told", reason="STORE_AWAY")

    assert Done(FUNCTION, replace(parts(), fetch=fetch)).state is RunState.SUCCEEDED
    assert len(asked) == 2
