from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mentorgrad import plots
from mentorgrad.domain.run import Snapshot, Trajectory
from mentorgrad.errors import PreconditionFailed


@given(st.integers(0, 10_000), st.integers(2, 30), st.integers(3, 12))
@settings(deadline=None, max_examples=25)
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


def test_smoothing_begins_anew_after_a_race() -> None:
    values = np.array([4.0, 4.0, np.nan, 1.0, 1.0])
    np.testing.assert_allclose(plots._smooth(values), values)
