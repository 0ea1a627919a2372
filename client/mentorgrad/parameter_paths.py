"""The path of a run's parameters in two dimensions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mentorgrad.domain.run import Trajectory
from mentorgrad.errors import PreconditionFailed

_CAPTURE = "(capture.content = text_and_parameters)"

_EXACT = 256
"""Up to so many snapshots, or numbers of one, all directions are computed."""
_DIRECTIONS, _ITERATIONS = 32, 8
"""Of more, these: the third direction then disturbs the first two by less than a picture shows."""


@dataclass(frozen=True)
class ParameterPath:
    """Snapshots in the two directions in which the parameters vary most."""

    points: np.ndarray
    """float64 [n, 2]: the snapshots, in the unit of the parameters, with their mean at the
    origin."""
    shares: np.ndarray
    """float64 [2]: share of the variance of each direction."""
    kept: np.ndarray
    """int [n]: their places in the trajectory; snapshots that are not finite are left out."""


def parameter_path(trajectory: Trajectory) -> ParameterPath:
    """Projects a trajectory with raw parameters.

    Raises:
        PreconditionFailed: There are no raw parameters, or fewer than two snapshots whose
            parameters are finite; others are left out.
    """
    rows = trajectory.parameters if trajectory.parameters is not None else np.empty((0, 1))
    finite = np.isfinite(rows).all(axis=tuple(range(1, rows.ndim)))
    if finite.sum() < 2:
        raise PreconditionFailed(
            "no path to plot: it requires two snapshots with finite raw parameters " + _CAPTURE,
            reason="NO_PARAMETERS",
        )
    points, shares = principal_components(rows[finite])
    return ParameterPath(points, shares, np.flatnonzero(finite))


def principal_components(parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Projects parameters onto the two directions of greatest variance.

    Args:
        parameters: float [n, *shape].

    Returns:
        float64 [n, 2]: the points; float64 [2]: the share of the variance of each direction.
    """
    flat = np.asarray(parameters, dtype=np.float64).reshape(len(parameters), -1)
    centred = flat - flat.mean(axis=0)
    if min(centred.shape) > _EXACT:
        basis = _principal_range(centred)
        left, scale, _ = np.linalg.svd(basis.T @ centred, full_matrices=False)
        left = basis @ left
    else:
        left, scale, _ = np.linalg.svd(centred, full_matrices=False)
    points = np.zeros((len(flat), 2))
    shares = np.zeros(2)
    kept = min(2, len(scale))
    points[:, :kept] = left[:, :kept] * scale[:kept]
    total = float((centred**2).sum())
    if total > 0:
        shares[:kept] = scale[:kept] ** 2 / total
    return points, shares


def _principal_range(rows: np.ndarray) -> np.ndarray:
    """An orthonormal basis, [n, 32], of a space in which the rows vary most, by subspace iteration
    (Halko, Martinsson and Tropp, arXiv 0909.4061, algorithm 4.4): of thousands of snapshots, a
    whole decomposition takes half a minute, and all but two of its directions are thrown away."""
    start = np.random.default_rng(0).normal(size=(rows.shape[1], _DIRECTIONS))
    basis = np.linalg.qr(rows @ start)[0]
    for _ in range(_ITERATIONS):
        basis = np.linalg.qr(rows @ np.linalg.qr(rows.T @ basis)[0])[0]
    return basis
