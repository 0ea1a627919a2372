"""The path of a run's parameters, projected and ready to be drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mentorgrad.domain.run import Snapshot, Trajectory
from mentorgrad.parameter_paths import principal_components
from mentorgrad.reports.path_view import PathView, path_view


def _view(losses: list[float], rows: np.ndarray | None = None, note: str = "") -> PathView:
    snapshots = tuple(
        Snapshot(step=step, train_loss=loss, text=f"word {step}")
        for step, loss in enumerate(losses, start=1)
    )
    stages = tuple(n // 2 for n in range(len(losses)))
    if rows is None:
        rows = np.arange(len(losses), dtype=np.float32)[:, None] * np.ones(3, np.float32)
    return path_view(Trajectory("r", snapshots, stages, rows), {1}, note)


def test_a_path_has_words_losses_and_the_jump_to_a_proposal() -> None:
    view = _view([1.0, 0.5, 0.9, 0.5, 0.75, 0.7])
    assert [point.step for point in view.points] == [1, 2, 3, 4, 5, 6]
    assert [point.is_restart for point in view.points] == [False, False, True, False, False, False]
    assert [point.shade for point in view.points][:5] == [1.0, 0.0, pytest.approx(0.8), 0.0, 0.5]
    assert (view.lowest, view.highest, view.is_log) == (0.5, 1.0, False)
    assert view.points[0].words == "word 1"
    assert view.shares == (pytest.approx(1.0), pytest.approx(0.0))
    assert {point.y for point in view.points} == {0.0}  # not errors of rounding
    distances = np.diff([point.x for point in view.points])
    np.testing.assert_allclose(np.abs(distances), math.sqrt(3), rtol=1e-4)


def test_losses_over_decades_are_shaded_by_their_logarithm() -> None:
    view = _view([1.0, 0.1, 0.01])
    assert view.is_log
    assert [point.shade for point in view.points] == [1.0, pytest.approx(0.5), 0.0]
    assert {point.shade for point in _view([0.5, 0.5]).points} == {0.0}


def test_what_is_not_finite_is_left_out_and_said() -> None:
    view = _view([0.5, math.nan, math.inf], note="3 snapshots, evenly spaced")
    assert [(point.loss, point.shade) for point in view.points] == [(0.5, 0.0)] + 2 * [(None, None)]
    rows = np.array([[0.0], [math.nan], [1.0]], np.float32)
    view = _view([1.0, 0.5, 0.2], rows, "3 snapshots, evenly spaced")
    assert [point.step for point in view.points] == [1, 3]
    assert view.note == (
        "3 snapshots, evenly spaced; 1 of them left out, with parameters that are not finite"
    )


@pytest.mark.parametrize("rows", [None, np.full((2, 3), math.nan, np.float32)])
def test_a_path_that_cannot_be_drawn_says_why(rows: np.ndarray | None) -> None:
    snapshots = (Snapshot(step=1), Snapshot(step=2))
    view = path_view(Trajectory("r", snapshots, (0, 0), rows))
    assert view.points == ()
    assert "capture.content = text_and_parameters" in view.note


def test_a_long_path_is_projected_as_a_short_one() -> None:
    """More than 256 snapshots of more than 256 numbers take another way to the same points."""
    steps = np.random.default_rng(0).normal(size=(260, 257))
    rows = np.cumsum(steps, axis=0)
    points, shares = principal_components(rows)
    left, scale, _ = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    exact = left[:, :2] * scale[:2]
    np.testing.assert_allclose(points * np.sign((points * exact).sum(axis=0)), exact, atol=1e-6)
    np.testing.assert_allclose(shares, scale[:2] ** 2 / (scale**2).sum())
