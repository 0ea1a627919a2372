"""`--upload` of runs and experiments: which files are sent, and what the spec names then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mentorgrad.cli.support.data_uploads import with_uploads
from mentorgrad.domain.experiment import Arm, ExperimentSpec, Tuning, Variation
from mentorgrad.domain.spec import DataFiles, RunSpec, Task
from mentorgrad.errors import InvalidInput
from mentorgrad.uploads import check_size


class Client:
    """Takes files of up to 20 bytes; the digest of each is its name."""

    def __init__(self) -> None:
        self.taken: list[str] = []

    def upload_data(self, path: Path) -> str:
        check_size(len(path.read_bytes()), 20)
        self.taken.append(path.name)
        return f"upload:{path.name}"


def own(*files: str) -> Task:
    return Task(f"own{len(files)}", DataFiles(*files), "what it is", ("a", "b"))


def spec(*files: str) -> RunSpec:
    return RunSpec(task=own(*files))


def test_files_are_sent_and_named_by_their_digests(tmp_path: Path) -> None:
    client: Any = Client()
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("text,label\n")
    found = with_uploads(client, spec(str(tmp_path / "a.csv"), "", str(tmp_path / "b.csv")))
    assert found == spec("upload:a.csv", "", "upload:b.csv")
    assert with_uploads(client, found) == found
    with pytest.raises(InvalidInput, match=r"none\.csv cannot be read: no such file"):
        with_uploads(client, spec(str(tmp_path / "none.csv")))
    (tmp_path / "c.csv").write_text("text,label\n" * 2)
    with pytest.raises(
        InvalidInput, match=r"c\.csv: upload\.size_bytes: is 22; must be at most 20"
    ):
        with_uploads(client, spec(str(tmp_path / "c.csv")))
    with pytest.raises(InvalidInput, match="--upload: no task has data files"):
        with_uploads(client, RunSpec())


def test_the_files_of_an_experiment_are_sent_once_each(tmp_path: Path) -> None:
    client: Any = Client()
    for name in ("a.csv", "b.csv", "c.csv"):
        (tmp_path / name).write_text("text,label\n")
    a, b, c = (str(tmp_path / name) for name in ("a.csv", "b.csv", "c.csv"))
    made = ExperimentSpec(
        tasks=(Task("tickets"), own(a), own(b, "", a)),
        variations=(Variation("more", {"task": {"data": {"train": c}, "shots": 8}}),),
        arms=(Arm("first"), Arm("second", changes={"mentor": {"options": {"data": {"train": c}}}})),
        seeds=(0,),
        tuning=Tuning((0.1,), own(a), (0,)),
    )
    found = with_uploads(client, made)
    assert client.taken == ["a.csv", "b.csv", "c.csv"]
    assert [task.data for task in found.tasks] == [
        None,
        DataFiles("upload:a.csv"),
        DataFiles("upload:b.csv", "", "upload:a.csv"),
    ]
    assert found.variations[0].changes["task"] == {"data": {"train": "upload:c.csv"}, "shots": 8}
    assert found.tuning.task.data == DataFiles("upload:a.csv")
    assert found.arms == made.arms
    assert with_uploads(client, found) == found
