"""Figures with intervals, and the choice between methods."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from mentorgrad.domain.run import Score
from mentorgrad.domain.spec import Criterion
from mentorgrad.tune.figures import confusion, difference, estimates, mean_estimate
from mentorgrad.tune.outcome import (
    ScoredRows,
    TuneOutcome,
    method_on,
    outcome,
    score_of,
)
from mentorgrad.tune.predictions import RowPredictions
from mentorgrad.tune.report import confusion_table, method_table, outcome_facts, shown_tables
from trainer_service.objectives.results import RowResults

METRICS = (Criterion.ACCURACY, Criterion.MACRO_F1, Criterion.MATTHEWS)


def shares_of(seed: int, rows: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    source = np.random.default_rng(seed)
    return source.integers(0, classes, rows), source.dirichlet(np.ones(classes), rows)


@pytest.mark.parametrize(("rows", "classes"), [(40, 2), (60, 5)])
def test_a_score_is_that_of_a_run(rows: int, classes: int) -> None:
    labels, shares = shares_of(rows, rows, classes)
    mine = score_of(labels, RowPredictions.of_shares(labels, shares))
    (theirs,) = RowResults.of_logits(
        torch.from_numpy(shares).log()[None], torch.from_numpy(labels)
    ).scores()
    for name in ("loss", "accuracy", "macro_f1", "matthews"):
        assert getattr(mine, name) == pytest.approx(getattr(theirs, name), abs=1e-6), name


def test_intervals_are_those_of_resampled_rows() -> None:
    labels, shares = shares_of(3, 80, 3)
    predicted = np.where(np.arange(80) % 4 > 0, labels, shares.argmax(-1))
    found = estimates(labels, predicted, METRICS)
    source = np.random.default_rng(1)
    drawn = [source.integers(0, 80, 80) for _ in range(2_000)]
    right = [np.mean(labels[rows] == predicted[rows]) for rows in drawn]
    low, high = np.percentile(right, [2.5, 97.5])
    accuracy = found[Criterion.ACCURACY]
    assert accuracy.mean == np.mean(labels == predicted)
    assert accuracy.low == pytest.approx(low, abs=0.02)
    assert accuracy.high == pytest.approx(high, abs=0.02)
    for metric in METRICS:
        assert found[metric].low < found[metric].mean < found[metric].high
    as_numbers = mean_estimate((labels == predicted).astype(float))
    assert as_numbers.mean == accuracy.mean
    assert as_numbers.low == pytest.approx(accuracy.low, abs=0.02)
    assert as_numbers.high == pytest.approx(accuracy.high, abs=0.02)


def test_a_difference_is_paired_by_row() -> None:
    labels, shares = shares_of(5, 50, 2)
    predicted = shares.argmax(-1)
    same = difference(labels, predicted, predicted, Criterion.ACCURACY)
    assert (same.mean, same.low, same.high) == (0.0, 0.0, 0.0)
    better = difference(labels, labels, predicted, Criterion.MACRO_F1)
    assert better.low > 0


def made(
    probe: float, prompt: float, metric: Criterion = Criterion.ACCURACY, rows: int = 40
) -> TuneOutcome:
    """An outcome of methods with these accuracies on selection; on test, the prompt is right."""
    labels = np.arange(rows) % 2
    right = np.where(np.eye(2)[labels] > 0, 0.9, 0.1)
    half = np.where((np.arange(rows) % 4 < 2)[:, None], right, right[:, ::-1])
    even = np.full((rows, 2), 0.5)
    scored = ScoredRows(
        [f"text {n}" for n in range(rows)],
        labels,
        {
            name: RowPredictions.of_shares(labels, shares)
            for name, shares in (("zero_shot", even), ("probe", half), ("prompt", right))
        },
    )

    def on_selection(accuracy: float) -> Score:
        return Score(loss=1 - accuracy, accuracy=accuracy, macro_f1=accuracy, rows=20)

    methods = [
        method_on(scored, "zero_shot", "zero-shot"),
        method_on(scored, "probe", "the probe", on_selection(probe)),
        method_on(scored, "prompt", "the prompt", on_selection(prompt)),
    ]
    return outcome(methods, scored, ("no", "yes"), metric)


def test_the_choice_is_made_on_selection_whatever_test_says() -> None:
    found = made(probe=0.9, prompt=0.8)
    assert found.choice == "probe"
    assert found.advice.startswith(
        "Use the probe: on selection its accuracy is 0.900, that of the prompt 0.800. On test the "
        "difference of accuracy is −0.500 ("
    )
    assert found.advice.endswith("): there the order is the other way.")
    assert found.confusion == ((10, 10), (10, 10))
    assert len(found.errors) == 10
    assert found.errors[0].label != found.errors[0].predicted


def test_a_difference_whose_interval_contains_zero_is_not_called_equality() -> None:
    assert made(probe=0.8, prompt=0.9, rows=4).advice.endswith(
        ": 4 rows do not show which of the two is better."
    )


def test_of_equal_methods_the_one_with_the_lower_loss_is_taken() -> None:
    found = made(probe=0.9, prompt=0.9, metric=Criterion.MACRO_F1)
    assert found.choice == "probe"  # the first of equal ones
    assert made(probe=0.8, prompt=0.9).choice == "prompt"
    assert made(probe=0.8, prompt=0.9).errors == ()


def test_tables_and_facts_have_every_method() -> None:
    found = made(probe=0.9, prompt=0.8)
    rows = method_table(found).rows
    assert [row[0] for row in rows] == ["zero-shot", "the probe", "the prompt"]
    assert rows[0][1] == "–"
    for row in rows:
        assert all(re.fullmatch(r"\S+ \(\S+ to \S+\)", cell) for cell in row[2:]), row
    assert rows[2][2] == "1.000 (1.000 to 1.000)"
    assert confusion_table(found).rows == (("no", "10", "10"), ("yes", "10", "10"))
    assert len(shown_tables(found)) == 3
    facts = outcome_facts(found)
    assert facts["choice"] == "probe"
    assert facts["methods"][0]["selection"] is None
    assert facts["methods"][2]["intervals"]["accuracy"] == [1.0, 1.0]


def test_of_many_labels_the_most_frequent_confusions_are_told() -> None:
    labels = np.array([0, 0, 0, 1, 2])
    shares = np.eye(100)[[1, 1, 2, 1, 2]]
    scored = ScoredRows([""] * 5, labels, {"prompt": RowPredictions.of_shares(labels, shares)})
    methods = [method_on(scored, "prompt", "the prompt", Score(loss=1.0, accuracy=0.5, rows=5))]
    words = tuple(f"label {number}" for number in range(100))
    found = outcome(methods, scored, words, Criterion.ACCURACY)
    assert confusion_table(found).rows == (
        ("label 0", "label 1", "2"),
        ("label 0", "label 2", "1"),
    )
    assert outcome_facts(found)["confusion"] is None
    assert outcome_facts(found)["confusions"][0] == ["label 0", "label 1", 2]
    assert found.advice == "Use the prompt: on selection its accuracy is 0.500."


def test_confusion_counts_rows() -> None:
    table = confusion(np.array([0, 0, 2]), np.array([0, 1, 2]), 3)
    assert table.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]
