"""Class prototypes in the feature space of the frozen model, after DecT."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np

from trainer_service.baselines.frozen_model import (
    FrozenModel,
    Predicted,
    Seen,
    folds,
    log_softmax,
    mean_loss,
    one_thread,
)

_WIDTH = 128
"""Maximum width of the projected features, as in the paper."""
_LEAST = 1e-9
"""Minimum variance of a component, as a share of the largest."""
_SHARPNESS = tuple(2.0**power for power in range(-2, 7))
"""Values of τ."""
_WEIGHTS = (0.0, 0.0625, 0.125, 0.25, 0.5, 1.0, 2.0)
"""Values of λ."""
_DEFAULTS = (8.0, 0.25)
"""τ and λ where there is no cross-validation."""


def prototypes(frozen: FrozenModel, check: Callable[[], None]) -> Predicted | None:
    """Nearest prototypes, combined with the untuned model's label scores.

    Decoder tuning (DecT; Cui et al., "Decoder Tuning: Efficient Language Understanding as
    Decoding", ACL 2023) asks the frozen model once per row and learns what its output means. A row
    with features h and untuned label log-probabilities s gets the logit of class y

        τ · cos(v, z_y) + λ · s_y,    v = W (h − m).

    The prototype z_y of a class is the mean of v / ‖v‖ over its labelled rows. In the paper z, a
    radius per prototype and W are trained with a contrastive loss, and λ is 1 / rows per class.
    Here nothing is trained: m and W are the mean and the principal components of the labelled rows'
    features, there is no radius, and τ and λ are those of the lowest mean held-out loss. Without
    untuned scores λ is 0.

    Returns:
        None for an objective without features.
    """
    seen, labels = frozen.features, frozen.labels
    if seen is None:
        return None
    scores, test_scores, weights = _untuned(frozen, len(seen.labelled), len(seen.test))
    with one_thread():
        rows, test = _projected(seen)
        settings = list(product(_SHARPNESS, weights))
        losses = []
        for fitted, held in folds(labels):
            near = _cosines(rows[fitted], labels[fitted], rows[held])
            found = [mean_loss(t * near + w * scores[held], labels[held]) for t, w in settings]
            losses.append(found)
        sharpness, weight = _DEFAULTS[0], min(_DEFAULTS[1], weights[-1])
        how = "default: a class has one row"
        if losses:
            sharpness, weight = settings[int(np.argmin(np.mean(losses, axis=0)))]
            how = f"{len(losses)}-fold cross-validation"
        logits = sharpness * _cosines(rows, labels, test) + weight * test_scores
    return Predicted(logits, f"τ = {sharpness:g}, λ = {weight:g} ({how})", len(labels))


def _untuned(
    frozen: FrozenModel, rows: int, test: int
) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    """Log-probabilities of the labelled and the test rows, and the values of λ."""
    seen = frozen.untuned
    if seen is None:
        return np.zeros((rows, frozen.classes)), np.zeros((test, frozen.classes)), (0.0,)
    return log_softmax(seen.labelled), log_softmax(seen.test), _WEIGHTS


def _projected(seen: Seen) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors on the principal components of the labelled rows."""
    mean = seen.labelled.mean(0, dtype=np.float64)
    rows, test = seen.labelled - mean, seen.test - mean
    is_wide = len(rows) < rows.shape[1]  # then the products of rows are the smaller matrix
    variances, axes = np.linalg.eigh(rows @ rows.T if is_wide else rows.T @ rows)
    axes = axes[:, variances > _LEAST * variances[-1]][:, -_WIDTH:]  # in ascending order
    if is_wide:
        axes = _unit((rows.T @ axes).T).T
    return _unit(rows @ axes), _unit(test @ axes)


def _cosines(rows: np.ndarray, labels: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Cosines [wanted rows, classes] of unit vectors and the prototypes of `rows`."""
    classes = range(int(labels.max()) + 1)
    centres = np.stack([rows[labels == label].mean(0) for label in classes])
    cosines: np.ndarray = wanted @ _unit(centres).T
    return cosines


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors of norm 1; a zero vector remains one."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: np.ndarray = vectors / np.where(norms > 0, norms, 1.0)
    return scaled
