"""The trainer's settings where the surroundings are unusual."""

from __future__ import annotations

import os
import pwd
import tempfile
from pathlib import Path
from typing import Any

import pytest

from mentorgrad.errors import InvalidInput
from mentorgrad.paths import check_temporary_folder
from service_common.settings import load
from trainer_service.model_settings import default_cache_dir
from trainer_service.settings import TrainerSecrets, TrainerSettings


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A user id without a name and without HOME, in some folder."""

    def unknown(_: Any) -> Any:
        raise KeyError("uid not found")

    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_a_home_folder_the_cache_is_in_the_working_folder(nobody: Path) -> None:
    assert default_cache_dir() == nobody / ".cache" / "mentorgrad"
    assert load(TrainerSettings, None, {"cache_dir": Path("/c")}).cache_dir == Path("/c")
    with pytest.raises(InvalidInput, match="cache_dir: ~/c: there is no home folder"):
        load(TrainerSettings, None, {"cache_dir": Path("~/c")})


def test_without_a_folder_for_temporary_files_the_variable_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check_temporary_folder()
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/nowhere"])
    with pytest.raises(InvalidInput, match="TMPDIR: must name a folder"):
        check_temporary_folder()


def test_the_cache_is_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "mentorgrad"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_cache_dir() == tmp_path / "home" / ".cache" / "mentorgrad"


def test_roots_in_the_home_folder_are_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("MENTORGRAD_TRAINER_DATA_ROOT", f"~/data{os.pathsep}~")
    assert load(TrainerSettings, None, {}).data_root == (tmp_path / "data", tmp_path)
    with pytest.raises(InvalidInput, match=f"folder {tmp_path}/none does not exist"):
        load(TrainerSettings, None, {"model_root": ["~/none"]})


def test_the_line_end_of_a_value_is_not_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MENTORGRAD_TRAINER_STORE", "postgresql://u:p@host/runs\n")
    monkeypatch.setenv("MENTORGRAD_TRAINER_OPENAI_API_KEY", "sk-abc\r\n")
    assert load(TrainerSettings, None, {}).store == "postgresql://u:p@host/runs"
    assert TrainerSecrets().openai_api_key.get_secret_value() == "sk-abc"


def test_an_address_that_is_refused_does_not_show_its_password() -> None:
    with pytest.raises(InvalidInput, match="must be an http") as caught:
        load(TrainerSettings, None, {"tuned_model": ["m=ftp://me:pa55word@host/v1"]})
    assert "pa55word" not in caught.value.message
