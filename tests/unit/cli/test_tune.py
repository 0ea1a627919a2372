"""What `mentorgrad tune` refuses, before it writes or starts anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mentorgrad.cli.support import tune_places
from tests.support.own_tables import plain, put, write_table

Invoke = Callable[..., Any]

FINE = plain(40)


@pytest.mark.parametrize(
    ("content", "flags", "words"),
    [
        (None, (), "a.csv: there is no such file"),
        ("", (), "a.csv: "),
        ([(text, "one") for text, _ in FINE], (), "column 'label': every row has the label 'one'"),
        ([*FINE, ("more", "rare")], (), "'rare' has fewer; leave such labels out with --rare drop"),
        (FINE, ("--text", "message"), "message"),
        (FINE, ("--objective", "function"), "--objective: must be one of: label_prompt"),
        (FINE, ("--metric", "f1"), "--metric: must be one of: loss, accuracy"),
        (FINE, ("--set", "stages.steps=many"), "stages.steps"),
        (FINE, ("--set", "nonsense=1"), "nonsense"),
        (FINE, ("--description", "x" * 501), "task.description: must have at most 500"),
        (FINE, ("--seed", "-1"), "seed: must be at least 0"),
        (FINE, ("--long", "cut"), "--long: must be one of: truncate"),
        (FINE, ("--class-weight", "even"), "--class-weight: must be one of: none, balanced"),
    ],
)
def test_a_refusal_is_one_line_and_leaves_nothing(
    invoke: Invoke,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: Any,
    flags: tuple[str, ...],
    words: str,
) -> None:
    def started(*_: Any, **__: Any) -> None:
        raise AssertionError("services are started only for what can be run")

    monkeypatch.setattr(tune_places, "local_services", started)
    file = tmp_path / "a.csv"
    if content is not None:
        put(file, content)
    result = invoke("tune", str(file), "-o", str(tmp_path / "result"), *flags)
    assert result.exit_code == 2, result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert words in result.stderr
    assert not (tmp_path / "result").exists()


def test_a_folder_with_other_files_is_refused(invoke: Invoke, tmp_path: Path) -> None:
    file = write_table(tmp_path / "a.csv", FINE)
    result = invoke("tune", str(file), "-o", str(tmp_path))
    assert result.exit_code == 2
    assert result.stderr == (
        f"error: --output: {tmp_path} holds files that are no result of a tune; name another "
        "folder, or write beside them with --overwrite\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    result = invoke("tune", str(file), "-o", str(file))
    assert result.exit_code == 2
    assert result.stderr.endswith("a.csv is not a folder\n")
