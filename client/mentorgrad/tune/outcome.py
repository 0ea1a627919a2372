"""What came of a tune: every method's figures, the choice between them, and the errors that remain.

The choice is made by figures on selection. Those on test are reported and decide nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mentorgrad.domain.experiment import Estimate
from mentorgrad.domain.run import Score, preference
from mentorgrad.domain.spec import Criterion
from mentorgrad.tune.figures import Labels, confusion, difference, estimates, mean_estimate
from mentorgrad.tune.plan import METRIC_NAMES
from mentorgrad.tune.predictions import RowPredictions

REPORTED = (Criterion.ACCURACY, Criterion.MACRO_F1)
ERRORS = 10
"""Errors that are shown."""


@dataclass(frozen=True)
class MethodFigures:
    """How well one method does."""

    name: str
    """``majority``, ``zero_shot``, ``probe``, ``words`` or ``prompt``; those that `--use` takes
    are what a result can predict with."""
    title: str
    """For people."""
    selection: Score | None
    """On selection; None: it was not scored there, and cannot be chosen."""
    test: Score
    """On test."""
    intervals: Mapping[Criterion, Estimate] = field(default_factory=dict)
    """Figures on test with their intervals."""


@dataclass(frozen=True)
class ConfidentError:
    """A test row whose label was not predicted."""

    text: str
    """The text; of a pair, both."""
    label: str
    """Its label."""
    predicted: str
    """What was predicted."""
    share: float
    """The probability of that."""


@dataclass(frozen=True)
class TuneOutcome:
    """The methods, the choice, and what the choice does on test."""

    methods: tuple[MethodFigures, ...]
    """In the order of the table."""
    choice: str
    """Name of the chosen method."""
    metric: Criterion
    """What it was chosen by."""
    advice: str
    """Which method to use, and why, in one sentence or two."""
    labels: tuple[str, ...]
    """Label words."""
    confusion: tuple[tuple[int, ...], ...]
    """Test rows by label and prediction of the choice."""
    errors: tuple[ConfidentError, ...]
    """The most confident errors of the choice on test."""


@dataclass(frozen=True, eq=False)
class ScoredRows:
    """Test rows with what each method predicts."""

    texts: Sequence[str]
    """The texts."""
    labels: Labels
    """Their class indices."""
    methods: Mapping[str, RowPredictions]
    """By the method's name."""


def score_of(labels: Labels, rows: RowPredictions) -> Score:
    """The score of predictions, as a run computes it."""
    predicted = rows.predicted
    found = estimates(
        labels, predicted, (Criterion.ACCURACY, Criterion.MACRO_F1, Criterion.MATTHEWS)
    )
    several = len(set(labels.tolist())) > 1
    return Score(
        loss=float(rows.losses.mean()),
        accuracy=found[Criterion.ACCURACY].mean,
        rows=len(labels),
        macro_f1=found[Criterion.MACRO_F1].mean if several else None,
        matthews=found[Criterion.MATTHEWS].mean if several else None,
    )


def method_on(
    rows: ScoredRows, name: str, title: str, selection: Score | None = None
) -> MethodFigures:
    """The figures of a method whose predictions are known."""
    made = rows.methods[name]
    found = estimates(rows.labels, made.predicted, REPORTED)
    found[Criterion.LOSS] = mean_estimate(made.losses)
    return MethodFigures(name, title, selection, score_of(rows.labels, made), found)


def outcome(
    methods: Sequence[MethodFigures], rows: ScoredRows, words: Sequence[str], metric: Criterion
) -> TuneOutcome:
    """Chooses by selection, and says what the choice does on test.

    Args:
        methods: In the order of the table; at least one was scored on selection.
        rows: The test rows, with the predictions of each method that can be chosen.
        words: The label words.
        metric: What the choice is made by; in case of a tie, the lower loss.
    """
    scored = [
        (preference(one.selection, metric), one) for one in methods if one.selection is not None
    ]
    ranked = [one for _, one in sorted(scored, key=lambda pair: pair[0])]
    best = ranked[0]
    chosen = rows.methods[best.name]
    table = confusion(rows.labels, chosen.predicted, len(words))
    return TuneOutcome(
        tuple(methods),
        best.name,
        metric,
        _advice(ranked, rows, metric),
        tuple(words),
        tuple(tuple(row) for row in table.tolist()),
        _errors(rows, chosen, words),
    )


def _advice(ranked: Sequence[MethodFigures], rows: ScoredRows, metric: Criterion) -> str:
    best, others = ranked[0], ranked[1:]
    name = METRIC_NAMES[metric]
    said = f"Use {best.title}: on selection its {name} is {_figure(best, metric):.3f}"
    if not others:
        return f"{said}."
    second = others[0]
    said += f", that of {second.title} {_figure(second, metric):.3f}."
    measured = Criterion.ACCURACY if metric is Criterion.LOSS else metric
    gain = difference(
        rows.labels,
        rows.methods[best.name].predicted,
        rows.methods[second.name].predicted,
        measured,
    )
    said += (
        f" On test the difference of {METRIC_NAMES[measured]} is {gain.mean:+.3f} "
        f"({gain.low:+.3f} to {gain.high:+.3f})"
    ).replace("-", "−")
    if gain.low <= 0 <= gain.high:
        return f"{said}: {len(rows.labels):,} rows do not show which of the two is better."
    return f"{said}." if gain.low > 0 else f"{said}: there the order is the other way."


def _figure(method: MethodFigures, metric: Criterion) -> float:
    value: float | None = getattr(method.selection, metric.value, None)
    return float("nan") if value is None else value


def _errors(
    rows: ScoredRows, chosen: RowPredictions, words: Sequence[str]
) -> tuple[ConfidentError, ...]:
    predicted, shares = chosen.predicted, chosen.probabilities
    wrong = np.flatnonzero(predicted != rows.labels)
    return tuple(
        ConfidentError(
            rows.texts[row], words[rows.labels[row]], words[predicted[row]], float(shares[row])
        )
        for row in wrong[np.argsort(-shares[wrong], kind="stable")][:ERRORS].tolist()
    )
