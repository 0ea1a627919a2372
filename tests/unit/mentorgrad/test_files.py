"""Files that are written as a whole or not at all."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from mentorgrad.files import replacing


def _write(target: Path, text: str) -> None:
    with replacing(target) as file:
        file.write(text.encode())


def test_a_block_that_fails_changes_nothing(tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    _write(target, "first")
    with pytest.raises(TypeError), replacing(target) as file:
        file.writelines([b"half of it", None])  # type: ignore[list-item]
    assert target.read_text() == "first"
    assert list(tmp_path.iterdir()) == [target]


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    _write(pipe, "rows")
    reader.join()
    assert read == ["rows"]
    assert pipe.is_fifo()


def test_a_link_is_replaced_and_what_it_names_stays(tmp_path: Path) -> None:
    named, link = tmp_path / "somebody's", tmp_path / "out.csv"
    named.write_text("theirs")
    link.symlink_to(named)
    _write(link, "mine")
    assert not link.is_symlink()
    assert (link.read_text(), named.read_text()) == ("mine", "theirs")


def test_names_may_be_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    target = tmp_path / ("é" * 127)
    _write(target, "rows")
    assert target.read_text() == "rows"
