from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from campaigns.trackers import read_back
from mentorgrad.domain.event import Resumed, RunEvent, Segment, StateChanged
from mentorgrad.domain.run import RunState
from mentorgrad.errors import InvalidInput, Unsupported
from mentorgrad.integrations import tracking
from mentorgrad.integrations.tracking import Mirror, open_tracker
from tests.support.told_tracker import ToldTracker
from tests.support.toy_run import NOW, toy_log


def told(log: Sequence[RunEvent]) -> ToldTracker:
    tracker = ToldTracker()
    mirror = Mirror(tracker)
    for event in log:
        mirror.add(event)
    mirror.close()
    return tracker


def test_a_mirror_tells_metrics_by_gradient_step_restarts_spec_and_result() -> None:
    found = told(toy_log())
    assert found.opening is not None
    assert (found.opening.run_id, found.opening.name) == ("toy-run", "toy")
    assert found.opening.parameters["optimizer.learning_rate"] == 0.05
    assert found.opening.parameters["mentor.timeout"] == 60.0
    assert found.opening.parameters["objective"] == "label_prompt"
    # Four steps of the race lie between the stages.
    assert list(found.values["train/loss"]) == [1, 2, 3, 4, 5, 10, 11, 12, 13, 14]
    assert found.values["selection/best_loss"] == {5: 0.5, 14: 0.4}
    assert found.values["test/accuracy"] == {14: 0.8}
    assert found.values["baselines/linear_probe/loss"] == {14: 0.3}
    assert "baselines/prototypes/loss" not in found.values
    assert found.texts == [
        ("restart", 9, "stage 1: restart from s0/p0"),
        ("prompt", 14, "kind words"),
    ]
    assert (found.ended, found.closed) == (RunState.SUCCEEDED, 1)


def test_what_is_not_finite_is_left_out_and_a_cancelled_run_ends_too() -> None:
    log = toy_log()[:4]
    segment = log[3].payload
    assert isinstance(segment, Segment)
    bad = tuple(replace(item, train_loss=float("nan")) for item in segment.snapshots)
    log[3] = replace(log[3], payload=replace(segment, snapshots=bad))
    found = told([*log, RunEvent("toy-run", 5, 1, NOW, StateChanged(RunState.CANCELLED))])
    assert "train/loss" not in found.values
    assert len(found.values["train/learning_rate"]) == 5
    assert found.ended is RunState.CANCELLED


def test_a_resumed_run_counts_its_steps_from_the_checkpoint() -> None:
    log = toy_log()  # 8: the restart, 10: the segment behind it
    resumed = RunEvent("toy-run", 11, 2, NOW, Resumed(checkpoint_seq=5))
    again = replace(log[9], seq=12, attempt=2)
    found = told([*log[:10], resumed, again])
    assert list(found.values["train/loss"]) == [1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 6, 7, 8, 9]


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    for _ in range(2):  # the second one replaces the first
        mirror = Mirror(open_tracker("tensorboard", tmp_path))
        for event in toy_log():
            mirror.add(event)
        mirror.close()
        mirror.close()
    read_back.check("tensorboard", read_back.of_tensorboard(tmp_path))


@pytest.mark.parametrize("kind", tracking.TRACKERS)
def test_a_missing_package_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.delitem(sys.modules, f"mentorgrad.integrations.{kind}", raising=False)
    for name in [name for name in sys.modules if name.split(".")[0] == kind]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, kind, None)
    with pytest.raises(Unsupported, match=rf"{kind}.* is not installed; run: pip .*\[{kind}\]"):
        open_tracker(kind)
    with pytest.raises(InvalidInput, match="known: tensorboard, mlflow, wandb"):
        open_tracker("spreadsheet")
