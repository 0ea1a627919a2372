"""What every `UploadStore` guarantees. Each test reads back from a store opened anew."""

from __future__ import annotations

import hashlib
import io
from datetime import timedelta
from typing import Any

import pytest

from mentorgrad.domain.event import Created
from mentorgrad.domain.experiment import Arm, ExperimentSpec, ExperimentState
from mentorgrad.domain.objective import Function
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import DataFiles, RunSpec, Task
from mentorgrad.errors import AlreadyExists, DataLoss, InvalidInput, NotFound
from run_store.uploads import PIECE_BYTES, StoredUpload

NOW, LATER = timedelta(0), timedelta(days=1)
DATA = b"text,label\n" + b"x" * (2 * PIECE_BYTES)


def put(store: Any, data: bytes = DATA, suffix: str = ".csv") -> str:
    digest = hashlib.sha256(data).hexdigest()
    store.put_upload(StoredUpload(digest, suffix, len(data)), io.BytesIO(data))
    return digest


def spec(train: str, test: str = "") -> RunSpec:
    files = DataFiles(f"upload:{train}", test=f"upload:{test}" if test else "")
    return RunSpec(task=Task("own", files, "what it is", ("a", "b")))


def is_there(store: Any, digest: str) -> bool:
    try:
        return store.find_upload(digest).sha256 == digest
    except NotFound:
        return False


def test_a_file_is_kept_as_it_was_given(opened: Any) -> None:
    digest = put(opened.store)
    store = opened.reopen()
    assert store.find_upload(digest) == StoredUpload(digest, ".csv", len(DATA))
    pieces = list(store.upload_pieces(digest))
    assert b"".join(pieces) == DATA
    assert max(map(len, pieces)) == PIECE_BYTES
    put(store)
    assert b"".join(store.upload_pieces(digest)) == DATA


def test_an_unknown_file_is_not_found(opened: Any) -> None:
    for name in ("0" * 64, "", "a\x00b", "'; --", "x" * 300):
        for call in (opened.store.find_upload, lambda n: list(opened.store.upload_pieces(n))):
            with pytest.raises(NotFound) as caught:
                call(name)
            assert caught.value.reason == "UPLOAD_NOT_FOUND"
        with pytest.raises(InvalidInput) as refused:
            opened.store.create(Created(spec(name) if name.isprintable() else spec("1")))
        assert refused.value.violations[0].field == "spec.task.data.train"
        assert opened.store.list_runs().runs == ()


def test_an_unused_file_is_deleted_when_its_time_is_over(opened: Any) -> None:
    digest = put(opened.store)
    assert opened.store.expire_uploads(LATER) == 0
    assert opened.reopen().expire_uploads(NOW) == 1
    assert not is_there(opened.store, digest)
    assert put(opened.store) == digest
    assert b"".join(opened.store.upload_pieces(digest)) == DATA


def test_a_file_goes_with_the_last_run_that_uses_it(opened: Any) -> None:
    digest, test = put(opened.store), put(opened.store, b"other")
    first, _ = opened.store.create(Created(spec(digest, test)))
    second, _ = opened.store.create(Created(spec(digest, digest)))
    assert opened.store.expire_uploads(NOW) == 0
    opened.reopen().delete(first.run_id)
    assert (is_there(opened.store, digest), is_there(opened.store, test)) == (True, False)
    opened.store.transition(second.run_id, RunState.CANCELLED)
    opened.reopen().delete(second.run_id)
    assert not is_there(opened.store, digest)


def test_a_run_without_data_uses_no_file(opened: Any) -> None:
    task = spec("0" * 64).task
    run, _ = opened.store.create(Created(RunSpec(Function(), task=task)))
    opened.store.delete(run.run_id)


def test_a_running_experiment_keeps_its_files(opened: Any) -> None:
    digest, other = put(opened.store), put(opened.store, b"other")
    experiment = ExperimentSpec(
        "which", tasks=(spec(digest).task,), arms=(Arm("a"), Arm("b")), seeds=(0,)
    )
    made, _ = opened.store.create_experiment(experiment)
    run, _ = opened.store.create(Created(spec(digest)))
    opened.store.delete(run.run_id)
    assert opened.store.expire_uploads(NOW) == 1
    assert (is_there(opened.store, digest), is_there(opened.store, other)) == (True, False)
    with pytest.raises(AlreadyExists):
        put(opened.store, suffix=".tsv")
    opened.store.set_experiment_state(made.experiment_id, ExperimentState.CANCELLED)
    assert opened.store.expire_uploads(NOW) == 1


def test_the_same_bytes_have_one_format_while_they_are_used(opened: Any) -> None:
    digest = put(opened.store, suffix=".txt")
    assert put(opened.store) == digest
    assert opened.store.find_upload(digest).suffix == ".csv"
    opened.store.create(Created(spec(digest)))
    put(opened.store)
    with pytest.raises(AlreadyExists) as caught:
        put(opened.store, suffix=".tsv")
    assert caught.value.reason == "UPLOAD_OTHER_FORMAT"


class Broken(io.BytesIO):
    """Cannot be read to its end."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() > 0:
            raise OSError("as told")
        return super().read(size)


def test_a_file_that_breaks_off_leaves_nothing(opened: Any) -> None:
    upload = StoredUpload("0" * 64, ".csv", len(DATA))
    with pytest.raises(OSError, match="as told"):
        opened.store.put_upload(upload, Broken(DATA))
    assert not is_there(opened.reopen(), upload.sha256)


def test_bytes_that_do_not_match_their_digest_are_data_loss(opened: Any) -> None:
    upload = StoredUpload("0" * 64, ".csv", len(DATA))
    opened.store.put_upload(upload, io.BytesIO(DATA))
    with pytest.raises(DataLoss):
        list(opened.store.upload_pieces(upload.sha256))
