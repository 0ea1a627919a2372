"""Figures of predictions on test rows, with intervals by bootstrap over the rows (Efron, The
Annals of Statistics 7, 1979).

Resampling rows is resampling cells of the confusion matrix (of two methods: pairs of predictions)
from a multinomial distribution, so that many rows cost no more than few.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mentorgrad.domain.experiment import Estimate
from mentorgrad.domain.spec import Criterion

RESAMPLES = 1_000
_MOST_NUMBERS = 4_000_000
"""Numbers in memory at most: fewer resamples are drawn if there are very many different cells."""

Labels = NDArray[np.int64]
"""Class indices [rows]."""
Values = NDArray[np.float64]
"""Figures [resamples], or rows [resamples, classes]."""


@dataclass(frozen=True, eq=False)
class _DistinctRows:
    """The different rows: their label and the predictions of each method, and how many there
    are."""

    values: NDArray[np.int64]
    """[cells, 1 + methods]; the first column is the label."""
    counts: NDArray[np.float64]
    """Rows per cell, [resamples, cells]; the first resample is the rows as they are."""
    classes: int

    @classmethod
    def of(cls, labels: Labels, *predicted: Labels) -> _DistinctRows:
        values, counts = np.unique(
            np.stack([labels, *predicted], axis=1), axis=0, return_counts=True
        )
        source = np.random.default_rng(0)
        resamples = min(RESAMPLES, max(100, _MOST_NUMBERS // len(counts)))
        drawn = source.multinomial(len(labels), counts / len(labels), size=resamples)
        classes = int(values.max()) + 1
        return cls(values, np.vstack([counts, drawn]).astype(np.float64), classes)

    def figure(self, metric: Criterion, method: int = 0) -> Values:
        """A metric of one method in each resample."""
        labels, predicted = self.values[:, 0], self.values[:, 1 + method]
        rows = self.counts.sum(1)
        right = labels == predicted
        if metric is Criterion.ACCURACY:
            share: Values = self.counts[:, right].sum(1) / rows
            return share
        actual, guessed, hits = (
            self._per_class(of, weight)
            for of, weight in ((labels, None), (predicted, None), (labels, right))
        )
        total = actual + guessed
        if metric is Criterion.MACRO_F1:
            f1: Values = (2.0 * hits / np.maximum(total, 1.0)).sum(1) / (total > 0).sum(1)
            return f1
        covariance = hits.sum(1) * rows - (guessed * actual).sum(1)
        spread = (rows**2 - (guessed**2).sum(1)) * (rows**2 - (actual**2).sum(1))
        found: Values = np.where(spread > 0, covariance / np.sqrt(np.maximum(spread, 1.0)), 0.0)
        return found

    def _per_class(self, classes: Labels, weight: NDArray[np.bool_] | None) -> Values:
        """Rows per class, [resamples, classes]."""
        one_hot = np.zeros((len(self.values), self.classes))
        one_hot[np.arange(len(classes)), classes] = 1.0 if weight is None else weight
        made: Values = self.counts @ one_hot
        return made


def estimates(
    labels: Labels, predicted: Labels, metrics: tuple[Criterion, ...]
) -> dict[Criterion, Estimate]:
    """Metrics of predictions, each with its 95% interval.

    Args:
        labels: Known classes; at least one row.
        predicted: Predicted classes.
        metrics: Of ``accuracy``, ``macro_f1`` and ``matthews``.
    """
    cells = _DistinctRows.of(labels, predicted)
    return {metric: _estimate(cells.figure(metric), len(labels)) for metric in metrics}


def mean_estimate(values: NDArray[np.float64]) -> Estimate:
    """The mean of numbers [rows] with its 95% interval."""
    source, rows = np.random.default_rng(0), len(values)
    drawn = [values[source.integers(0, rows, rows)].mean() for _ in range(RESAMPLES)]
    return _estimate(np.array([values.mean(), *drawn]), rows)


def difference(labels: Labels, one: Labels, other: Labels, metric: Criterion) -> Estimate:
    """How much higher a metric is for one method than for another on the same rows."""
    cells = _DistinctRows.of(labels, one, other)
    return _estimate(cells.figure(metric) - cells.figure(metric, 1), len(labels))


def _estimate(values: Values, rows: int) -> Estimate:
    low, high = np.percentile(values[1:], [2.5, 97.5])
    return Estimate(float(values[0]), float(low), float(high), rows)


def confusion(labels: Labels, predicted: Labels, classes: int) -> NDArray[np.int64]:
    """Rows by label and prediction, [classes, classes]."""
    made = np.zeros((classes, classes), np.int64)
    np.add.at(made, (labels, predicted), 1)
    return made
