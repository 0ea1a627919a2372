from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mentorgrad import plots
from mentorgrad.domain.run import Snapshot, Trajectory
from mentorgrad.errors import PreconditionFailed


@given(st.integers(0, 10_000), st.integers(2, 30), st.integers(3, 12))
@settings(max_examples=25)
def test_points_of_a_plane_keep_their_distances(seed: int, count: int, dimensions: int) -> None:
    random = np.random.default_rng(seed)
    plane = np.linalg.qr(random.normal(size=(dimensions, 2)))[0].T
    flat = random.normal(size=(count, 2))
    points, shares = plots.principal_components((flat @ plane).reshape(count, 1, dimensions))
    np.testing.assert_allclose(
        np.linalg.norm(points[:, None] - points[None], axis=-1),
        np.linalg.norm(flat[:, None] - flat[None], axis=-1),
        atol=1e-8,
    )
    assert shares[0] >= shares[1]
    assert shares.sum() == pytest.approx(1.0)


@pytest.mark.slow
def test_one_dimension_and_no_movement_are_drawn_too(tmp_path: Path) -> None:
    for parameters in (np.arange(4.0)[:, None], np.zeros((4, 3))):
        snapshots = tuple(Snapshot(step=step) for step in range(1, 5))
        path = Trajectory("a-run", snapshots, (0, 0, 1, 1), parameters)
        drawn = plots.parameter_path(path, tmp_path / "deep" / "path.png")
        assert drawn.read_bytes().startswith(b"\x89PNG")


def test_nothing_to_draw_is_said(tmp_path: Path) -> None:
    with pytest.raises(PreconditionFailed, match="no step is recorded"):
        plots.loss_curves([], tmp_path / "loss.png")
    with pytest.raises(PreconditionFailed, match="text_and_parameters"):
        plots.parameter_path(Trajectory("a-run", (), (), None), tmp_path / "path.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("label", "worst"),
    [(r"$\frac{$", np.nan), ("_hidden", np.inf), ("two\nlines \x1b[31m", -np.inf)],
)
def test_what_is_not_finite_and_any_name_are_drawn(
    tmp_path: Path, label: str, worst: float
) -> None:
    steps = np.arange(1.0, 6.0)
    some, every = np.array([1.0, 0.5, 0.2, 0.1, worst]), np.full(5, worst)
    for losses in (some, every):
        item = plots.Curve(label, steps, losses, steps, losses, (2,))
        assert plots.loss_curves([item], tmp_path / "loss.png", label).is_file()
    snapshots = tuple(Snapshot(step=step) for step in range(1, 6))
    path = Trajectory(label, snapshots, (0, 0, 0, 1, 2), np.stack([some, steps], axis=1))
    assert plots.parameter_path(path, tmp_path / "path.png").is_file()
    panel = plots.Panel(label, {label: 0.4}, {label: 0.3})
    assert plots.final_losses([panel], tmp_path / "losses.png", label).is_file()
    with pytest.raises(PreconditionFailed, match="finite raw parameters"):
        plots.parameter_path(replace(path, parameters=every[:, None]), tmp_path / "none.png")


def test_smoothing_begins_anew_after_a_race() -> None:
    values = np.array([4.0, 4.0, np.nan, 1.0, 1.0])
    np.testing.assert_allclose(plots._smooth(values), values)


@pytest.mark.slow
@pytest.mark.parametrize("loss", [0.5, np.nan, np.inf])
def test_test_losses_are_drawn_beside_those_of_baselines(tmp_path: Path, loss: float) -> None:
    panel = plots.Panel("words", {"mentor": 0.4, "none": loss}, {"zero_shot": loss, "probe": 0.3})
    for panels in ([panel], [panel, panel]):
        drawn = plots.final_losses(panels, tmp_path / "regimes.png")
        assert drawn.read_bytes().startswith(b"\x89PNG")
