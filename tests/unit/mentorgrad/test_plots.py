from __future__ import annotations

import itertools
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


NAMES = (r"$\frac{$", "_hidden", "two\nlines \x1b[31m")
WORST = (np.nan, np.inf, -np.inf)


@pytest.mark.slow
def test_what_is_not_finite_and_any_name_are_drawn(tmp_path: Path) -> None:
    steps = np.arange(1.0, 7.0)
    some = [np.array([1.0, 0.5, 0.2, 0.1, 0.1, worst]) for worst in WORST]
    every = [np.full(6, worst) for worst in WORST]
    for title, drawn in (("_hidden", (*some, *every)), (r"$\frac{$", every)):
        curves = [
            plots.Curve(name, steps, losses, steps, losses, (2,))
            for name, losses in zip(itertools.cycle(NAMES), drawn, strict=False)
        ]
        assert plots.loss_curves(curves, tmp_path / "loss.png", title).is_file()
    panels = [plots.Panel(name, {name: 0.4}, {name: 0.3}) for name in NAMES]
    assert plots.final_losses(panels, tmp_path / "losses.png", r"$\frac{$").is_file()


@pytest.mark.slow
def test_a_path_leaves_out_what_is_not_finite(tmp_path: Path) -> None:
    steps = np.arange(1.0, 7.0)
    snapshots = tuple(Snapshot(step=step) for step in range(1, 7))
    parameters = np.stack([np.array([1.0, 0.5, 0.2, *WORST]), steps], axis=1)
    path = Trajectory(r"$\frac{$", snapshots, (0, 0, 1, 1, 2, 2), parameters)
    assert plots.parameter_path(path, tmp_path / "path.png").is_file()
    for worst in WORST:
        nothing = replace(path, parameters=np.full((6, 1), worst))
        with pytest.raises(PreconditionFailed, match="finite raw parameters"):
            plots.parameter_path(nothing, tmp_path / "none.png")


def test_smoothing_begins_anew_after_a_race() -> None:
    values = np.array([4.0, 4.0, np.nan, 1.0, 1.0])
    np.testing.assert_allclose(plots._smooth(values), values)


@pytest.mark.slow
def test_test_losses_are_drawn_beside_those_of_baselines(tmp_path: Path) -> None:
    some, *others = (
        plots.Panel("words", {"mentor": 0.4, "none": loss}, {"zero_shot": loss, "probe": 0.3})
        for loss in (0.5, np.nan, np.inf)
    )
    for panels in ([some], others):
        drawn = plots.final_losses(panels, tmp_path / "regimes.png")
        assert drawn.read_bytes().startswith(b"\x89PNG")
