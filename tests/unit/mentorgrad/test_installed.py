from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mentorgrad import installed


def _came_from(monkeypatch: pytest.MonkeyPatch, record: dict[str, Any] | None) -> None:
    class Found:
        def read_text(self, name: str) -> str | None:
            assert name == "direct_url.json"
            return None if record is None else json.dumps(record)

    monkeypatch.setattr(installed, "distribution", lambda name: Found())


@pytest.mark.parametrize(
    ("editable", "line"),
    [
        (True, "pip install -e '{folder}[trainer,hub]'"),
        (False, "pip install '{folder}[trainer,hub]'"),
    ],
)
def test_extras_of_a_source_folder_come_from_that_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, editable: bool, line: str
) -> None:
    folder = tmp_path / "a copy"
    folder.mkdir()
    (folder / "pyproject.toml").touch()
    about = {"editable": True} if editable else {}
    _came_from(monkeypatch, {"url": folder.as_uri(), "dir_info": about})
    assert installed.pip_line("trainer,hub") == line.format(folder=folder)


def test_extras_of_an_index_s_package_or_a_folder_that_is_gone_come_from_the_index(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gone = {"url": (tmp_path / "gone").as_uri(), "dir_info": {}}
    wheel = {"url": (tmp_path / "mentorgrad.whl").as_uri(), "archive_info": {}}
    for record in (None, gone, wheel):
        _came_from(monkeypatch, record)
        assert installed.pip_line("trainer") == "pip install 'mentorgrad[trainer]'"
        assert installed.pip_line() == "pip install mentorgrad"


def test_extras_of_a_source_that_is_not_installed_come_from_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def absent(name: str) -> Any:
        raise installed.PackageNotFoundError(name)

    monkeypatch.setattr(installed, "distribution", absent)
    folder = Path(installed.__file__).parents[2]
    assert installed.pip_line("plot") == f"pip install '{folder}[plot]'"
