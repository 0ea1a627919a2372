"""A linear classifier on the frozen model's features (Alain and Bengio, ICLR workshop 2017)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from trainer_service.baselines.frozen_model import (
    FrozenModel,
    Predicted,
    Seen,
    folds,
    mean_loss,
    one_thread,
)

_STRENGTHS = tuple(10.0**power for power in range(-5, 3))
"""Values of C, the inverse of the L2 penalty, in ascending order."""
_DEFAULTS = _STRENGTHS[:6]
"""The values up to C = 1, which is taken where there is no cross-validation."""
_ITERATIONS = 200
"""Maximum iterations of L-BFGS per value of C."""


def linear_probe(frozen: FrozenModel, check: Callable[[], None]) -> Predicted | None:
    """Multinomial logistic regression on standardised features.

    C is the value with the lowest mean held-out loss; the search ends where this loss rises. Each
    fit starts from that of the C before, which keeps thousands of rows a matter of seconds.

    Returns:
        None for an objective without features.
    """
    seen, labels = frozen.features, frozen.labels
    if seen is None:
        return None
    with one_thread():
        return _probed(seen, labels, check)


def _probed(seen: Seen, labels: np.ndarray, check: Callable[[], None]) -> Predicted:
    mean, deviation = seen.labelled.mean(0), seen.labelled.std(0)
    scale = np.where(deviation > 0, deviation, 1.0).astype(np.float32)  # for constant features
    rows, test = (seen.labelled - mean) / scale, (seen.test - mean) / scale
    parts = list(folds(labels))
    strengths, how = _DEFAULTS, "default: a class has one row"
    if parts:
        paths = [_path(rows[fitted], labels[fitted], rows[held]) for fitted, held in parts]
        strengths = _chosen(paths, [labels[held] for _, held in parts], check)
        how = f"{len(parts)}-fold cross-validation"
    *_, logits = _path(rows, labels, test, strengths)
    return Predicted(logits, f"C = {strengths[-1]:g} ({how})", len(labels))


def _chosen(
    paths: Sequence[Iterator[np.ndarray]],
    labels: Sequence[np.ndarray],
    check: Callable[[], None],
) -> tuple[float, ...]:
    """The values of C up to the last before the mean held-out loss of the folds rises."""
    kept: tuple[float, ...] = ()
    least = np.inf
    for strength, *found in zip(_STRENGTHS, *paths, strict=True):
        check()
        loss = np.mean([mean_loss(*part) for part in zip(found, labels, strict=True)])
        if kept and not loss < least:
            break
        kept, least = (*kept, strength), float(loss)
    return kept


def _path(
    rows: np.ndarray,
    labels: np.ndarray,
    wanted: np.ndarray,
    strengths: Sequence[float] = _STRENGTHS,
) -> Iterator[np.ndarray]:
    """For each C, the logits [wanted rows, classes] of the classifier that is fitted on `rows`."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=_ITERATIONS, warm_start=True)
    for strength in strengths:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # stopping early is valid too
            model.set_params(C=strength).fit(rows, labels)
        margins = model.decision_function(wanted)
        # With two classes there is the margin of the second alone.
        yield margins if margins.ndim > 1 else np.stack([np.zeros_like(margins), margins], axis=1)
