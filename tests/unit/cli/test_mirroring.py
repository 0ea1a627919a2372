from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from campaigns.trackers import read_back
from mentorgrad.cli.support import watching
from mentorgrad.cli.support.mirroring import opened_by_flag
from mentorgrad.cli.support.output import Output
from mentorgrad.domain.event import RunEvent
from mentorgrad.domain.run import RunState
from mentorgrad.errors import MentorgradError
from mentorgrad.integrations import tracking
from mentorgrad.integrations.tracking import Point
from tests.support.told_tracker import ToldTracker
from tests.support.toy_run import toy_log, toy_run


def test_the_command_exports_for_tensorboard(
    invoke: Callable[..., Any],
    store_url: str,
    tmp_path: Path,
) -> None:
    place = tmp_path / "board"
    words = ("runs", "export", "toy", "--to", "tensorboard", "-o", str(place))
    result = invoke(*words, "--store", store_url)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"12 events of toy-run written for tensorboard in {place}\n"
    read_back.check("tensorboard", read_back.of_tensorboard(place))

    (tmp_path / "file").touch()
    for kind, folder, code, message in (
        ("excel", place, 2, "--to: must be one of: jsonl, tensorboard, mlflow, wandb; not 'excel'"),
        ("tensorboard", tmp_path / "file", 2, "is not a folder"),
    ):
        words = ("runs", "export", "toy", "--to", kind, "-o", str(folder))
        result = invoke(*words, "--store", store_url)
        assert (result.exit_code, result.stdout) == (code, "")
        assert message in result.stderr


def test_a_watched_run_is_mirrored_from_its_first_event(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[ToldTracker] = []

    def opened(kind: str, folder: Path | None) -> ToldTracker:
        assert (kind, folder) == ("tensorboard", Path("a/b"))
        made.append(ToldTracker())
        return made[-1]

    class Service:
        target = "host:1234"

        def watch(self, run_id: str, after_seq: int = 0) -> Iterator[RunEvent]:
            return iter(toy_log()[after_seq:])

    monkeypatch.setattr(tracking, "open_tracker", opened)
    client: Any = Service()
    with opened_by_flag("tensorboard:a/b") as mirror:
        watching.watch_run(client, toy_run(), Output(), after_seq=10, mirror=mirror)
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert made[0].ended is RunState.SUCCEEDED
    assert made[0].closed == 1

    def broken(self: ToldTracker, points: Sequence[Point]) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ToldTracker, "points", broken)
    with (
        pytest.raises(MentorgradError, match=r"tensorboard: .*No space left"),
        opened_by_flag("tensorboard:a/b") as mirror,
    ):
        watching.watch_run(client, toy_run(), Output(), mirror=mirror)
    assert made[1].closed == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--mirror", "excel"),
            "--mirror: must be one of: tensorboard, mlflow, wandb; not 'excel'",
        ),
        (("--mirror", "tensorboard", "--detach"), "--mirror: cannot be given with --detach"),
        (("--mirror", "tensorboard:/dev/null"), "/dev/null is not a folder"),
    ],
)
def test_a_mirror_is_checked_before_a_run_is_created(
    invoke: Callable[..., Any], options: tuple[str, ...], message: str
) -> None:
    result = invoke("run", "--server", "127.0.0.1:1", *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
