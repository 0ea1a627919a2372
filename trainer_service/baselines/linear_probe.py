"""A linear classifier on the frozen model's features (Alain and Bengio, ICLR workshop 2017)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

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

_Fitted = tuple[np.ndarray, np.ndarray]
"""Weights [classes, width] and biases [classes]."""


@dataclass(frozen=True, eq=False)
class LinearProbe:
    """A fitted classifier of features."""

    weight: np.ndarray
    """[classes, width], for standardised features."""
    bias: np.ndarray
    """[classes]."""
    mean: np.ndarray
    """float32 [width]: subtracted from the features."""
    scale: np.ndarray
    """float32 [width]: what the features are then divided by."""

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray]) -> LinearProbe:
        """The inverse of `arrays`; raises KeyError if one is missing."""
        return cls(*(arrays[name] for name in ("weight", "bias", "mean", "scale")))

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Its numbers by name."""
        return {
            "weight": self.weight,
            "bias": self.bias,
            "mean": self.mean,
            "scale": self.scale,
        }

    def standardised(self, features: np.ndarray) -> np.ndarray:
        """Features [rows, width] as the weights take them."""
        made: np.ndarray = (features - self.mean) / self.scale
        return made

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Features [rows, width] → logits [rows, classes]."""
        with one_thread():
            made: np.ndarray = self.standardised(features) @ self.weight.T + self.bias
        return made


def linear_probe(frozen: FrozenModel, check: Callable[[], None]) -> Predicted | None:
    """Multinomial logistic regression on standardised features.

    C is the value with the lowest mean held-out loss; the search ends where this loss rises. Each
    fit starts from that of the C before, which keeps thousands of rows a matter of seconds. With
    that C, a second classifier is fitted on train alone, whose scores on selection compare with
    those of a prompt.

    Returns:
        None for an objective without features.
    """
    seen, labels = frozen.features, frozen.labels
    if seen is None:
        return None
    with one_thread():
        return _probed(seen, labels, frozen.train_rows, check)


def _probed(seen: Seen, labels: np.ndarray, train: int, check: Callable[[], None]) -> Predicted:
    parts = list(folds(labels))
    rows = _standards(seen.labelled)[0]
    strengths, how = _DEFAULTS, "default: a class has one row"
    if parts:
        paths = [_path(rows[fitted], labels[fitted]) for fitted, _ in parts]
        strengths = _chosen(paths, [(rows[held], labels[held]) for _, held in parts], check)
        how = f"{len(parts)}-fold cross-validation"
    check()
    probe = _fitted(seen.labelled, labels, strengths)
    held_out = None
    if train < len(labels) and set(labels[:train]) == set(labels):
        check()
        of_train = _fitted(seen.labelled[:train], labels[:train], strengths)
        held_out = of_train.logits(seen.labelled[train:])
    detail = f"C = {strengths[-1]:g} ({how})"
    return Predicted(probe.logits(seen.test), detail, len(labels), probe.arrays, held_out)


def _standards(features: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features standardised, and the mean and the scale of that."""
    mean, deviation = features.mean(0), features.std(0)
    scale = np.where(deviation > 0, deviation, 1.0).astype(np.float32)  # for constant features
    return (features - mean) / scale, mean, scale


def _fitted(features: np.ndarray, labels: np.ndarray, strengths: Sequence[float]) -> LinearProbe:
    rows, mean, scale = _standards(features)
    *_, (weight, bias) = _path(rows, labels, strengths)
    return LinearProbe(weight, bias, mean, scale)


def _chosen(
    paths: Sequence[Iterator[_Fitted]],
    held: Sequence[tuple[np.ndarray, np.ndarray]],
    check: Callable[[], None],
) -> tuple[float, ...]:
    """The values of C up to the last before the mean held-out loss of the folds rises."""
    kept: tuple[float, ...] = ()
    least = np.inf
    for strength, *found in zip(_STRENGTHS, *paths, strict=True):
        check()
        loss = np.mean(
            [
                mean_loss(rows @ weight.T + bias, labels)
                for (weight, bias), (rows, labels) in zip(found, held, strict=True)
            ]
        )
        if kept and not loss < least:
            break
        kept, least = (*kept, strength), float(loss)
    return kept


def _path(
    rows: np.ndarray,
    labels: np.ndarray,
    strengths: Sequence[float] = _STRENGTHS,
) -> Iterator[_Fitted]:
    """For each C, weights and biases of the classifier that is fitted on `rows`."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=_ITERATIONS, warm_start=True)
    for strength in strengths:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # stopping early is valid too
            model.set_params(C=strength).fit(rows, labels)
        weight, bias = model.coef_, model.intercept_
        if len(weight) == 1:  # with two classes there is the margin of the second alone
            weight, bias = (np.concatenate([np.zeros_like(part), part]) for part in (weight, bias))
        yield weight.copy(), bias.copy()
