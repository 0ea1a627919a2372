"""`mentorgrad run --upload`: which files are sent, and what the spec names then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mentorgrad.cli.support.data_uploads import with_uploads
from mentorgrad.domain.spec import DataFiles, RunSpec, Task
from mentorgrad.errors import InvalidInput


class Client:
    """Takes files; the digest of each is its name."""

    def upload_data(self, path: Path) -> str:
        path.read_bytes()
        return f"upload:{path.name}"


def spec(*files: str) -> RunSpec:
    return RunSpec(task=Task("own", DataFiles(*files), "what it is", ("a", "b")))


def test_files_are_sent_and_named_by_their_digests(tmp_path: Path) -> None:
    client: Any = Client()
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("text,label\n")
    found = with_uploads(client, spec(str(tmp_path / "a.csv"), "", str(tmp_path / "b.csv")))
    assert found == spec("upload:a.csv", "", "upload:b.csv")
    assert with_uploads(client, found) == found
    with pytest.raises(InvalidInput, match=r"none\.csv cannot be read: no such file"):
        with_uploads(client, spec(str(tmp_path / "none.csv")))
    with pytest.raises(InvalidInput, match="--upload: the task has no data files"):
        with_uploads(client, RunSpec())
