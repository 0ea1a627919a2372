"""The folder of a tune: what is gone on with, what is refused, and the result as a whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mentorgrad.errors import InvalidInput
from mentorgrad.tune.folder import TuneFolder, data_digest, wishes_digest

ONE, OTHER = wishes_digest({"data": "one"}), wishes_digest({"data": "other"})


def finished(path: Path, digest: str = ONE, overwrite: bool = False, **files: str) -> None:
    """A tune into this folder, from its begin to its end."""
    with TuneFolder(path, digest, overwrite) as folder:
        folder.keep(run_id="a-run")
        with folder.staged() as staged:
            for name, text in ({"model.json": "{}"} | files).items():
                (staged / name).write_text(text)
            folder.finish(staged, {"choice": "probe"})
        folder.drop()


def test_a_tune_that_leaves_no_state_leaves_nothing(tmp_path: Path) -> None:
    with TuneFolder(tmp_path / "a/b", ONE) as folder:
        (folder.private / "data").mkdir()
    assert not (tmp_path / "a/b").exists()


def test_a_tune_that_was_broken_off_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "result"
    with TuneFolder(path, ONE) as folder:
        folder.keep(run_id="a-run")  # and then nothing more
    again = TuneFolder(path, ONE)
    assert again.unfinished
    with again as folder:
        assert folder.state["run_id"] == "a-run"
    with pytest.raises(InvalidInput, match=r"a tune of other data or options; .*--overwrite"):
        TuneFolder(path, OTHER)
    with TuneFolder(path, OTHER, overwrite=True) as folder:
        assert not folder.unfinished
        assert folder.state == {}
    assert not path.joinpath(".tune").exists()


def test_the_result_is_there_as_a_whole_and_an_earlier_one_goes(tmp_path: Path) -> None:
    path = tmp_path / "result"
    finished(path, **{"probe.safetensors": "old", "report.html": "old"})
    names = {"model.json", "probe.safetensors", "report.html", "tune.json"}
    assert {file.name for file in path.iterdir()} == names
    assert TuneFolder(path, ONE).summary == json.loads((path / "tune.json").read_text())
    with pytest.raises(InvalidInput, match="the result of other data or options"):
        TuneFolder(path, OTHER)
    with TuneFolder(path, OTHER, overwrite=True) as folder:
        folder.keep(run_id="broken off")
    assert TuneFolder(path, OTHER).summary is None
    (path / "notes.txt").write_text("mine")
    finished(path, OTHER, overwrite=True, **{"report.html": "new"})
    names = {"model.json", "notes.txt", "report.html", "tune.json"}
    assert {file.name for file in path.iterdir()} == names
    assert (path / "report.html").read_text() == "new"


def test_only_one_process_tunes_into_a_folder(tmp_path: Path) -> None:
    with TuneFolder(tmp_path / "result", ONE) as folder:
        folder.keep()
        with (
            pytest.raises(InvalidInput, match="another process is tuning"),
            folder.__class__(folder.path, ONE),
        ):
            pass
        assert folder.unfinished


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match="no result of a tune"):
        TuneFolder(tmp_path, ONE)
    finished(tmp_path / "result")
    summary = tmp_path / "result/tune.json"
    summary.write_text(json.dumps(json.loads(summary.read_text()) | {"format": 99}))
    with pytest.raises(InvalidInput, match="another version"):
        TuneFolder(tmp_path / "result", ONE)


def test_a_digest_is_of_content_and_of_names_in_a_folder(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.csv").write_text("text,label\n")
    assert data_digest(tmp_path / "one") == data_digest(tmp_path / "two")
    single = data_digest(tmp_path / "one/a.csv")
    (tmp_path / "two/a.csv").rename(tmp_path / "two/b.csv")
    assert data_digest(tmp_path / "one") != data_digest(tmp_path / "two")
    assert data_digest(tmp_path / "two/b.csv") == single
