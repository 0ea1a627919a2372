"""Scores of rows: macro F1 and Matthews by their definitions, and parts that add up."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mentorgrad.domain.run import Score, criterion, preference
from mentorgrad.domain.spec import Criterion
from mentorgrad.errors import PreconditionFailed
from trainer_service.objectives.results import RowResults

rows = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)


def results(pairs: list[tuple[int, int]]) -> RowResults:
    labels, predicted = (torch.tensor(side) for side in zip(*pairs, strict=True))
    return RowResults(torch.arange(float(len(pairs)))[None], predicted[None], labels)


def f1(pairs: list[tuple[int, int]], label: int) -> float:
    hits = sum(a == b == label for a, b in pairs)
    named = sum(a == label for a, _ in pairs) + sum(b == label for _, b in pairs)
    return 2 * hits / named


def matthews(pairs: list[tuple[int, int]]) -> float:
    """As the correlation of one-hot labels with one-hot predictions."""
    classes, rows = range(4), len(pairs)

    def covariance(x: int, y: int) -> float:
        total = 0.0
        for k in classes:
            a = [float(pair[x] == k) for pair in pairs]
            b = [float(pair[y] == k) for pair in pairs]
            total += sum(
                (i - sum(a) / rows) * (j - sum(b) / rows) for i, j in zip(a, b, strict=True)
            )
        return total

    spread = covariance(0, 0) * covariance(1, 1)
    return covariance(0, 1) / math.sqrt(spread) if spread > 1e-12 else 0.0


@pytest.mark.slow
@given(pairs=rows)
def test_every_figure_is_what_its_definition_says(pairs: list[tuple[int, int]]) -> None:
    (score,) = results(pairs).scores()
    assert score.rows == len(pairs)
    assert score.accuracy == pytest.approx(sum(a == b for a, b in pairs) / len(pairs))
    if len({label for label, _ in pairs}) < 2:
        assert score.macro_f1 is score.matthews is None
        return
    named = {label for pair in pairs for label in pair}
    assert score.macro_f1 == pytest.approx(sum(f1(pairs, k) for k in named) / len(named))
    assert score.matthews == pytest.approx(matthews(pairs), abs=1e-6)


@given(first=rows, second=rows)
def test_parts_add_up_to_the_whole(
    first: list[tuple[int, int]], second: list[tuple[int, int]]
) -> None:
    whole = results(first + second)
    parts = results(first).joined(results(second))
    assert whole.predicted is not None
    assert parts.predicted is not None
    assert torch.equal(whole.predicted, parts.predicted)
    (score,), (other,) = whole.scores(), parts.scores()
    assert score.matthews == other.matthews
    assert score.macro_f1 == other.macro_f1


def test_several_parameters_are_scored_apart() -> None:
    labels = torch.tensor([0, 1, 2, 2])
    predicted = torch.tensor([[0, 1, 2, 2], [2, 2, 2, 2], [1, 0, 2, 1]])
    found = RowResults(torch.zeros(3, 4), predicted, labels)
    scores = found.scores()
    assert [score.accuracy for score in scores] == [1.0, 0.5, 0.25]
    assert (scores[0].macro_f1, scores[0].matthews) == (1.0, 1.0)
    assert scores[1].matthews == 0.0, "all predictions are equal"
    assert found.at([2, 0]).scores() == [scores[2], scores[0]]


def test_without_classes_there_is_a_loss_alone() -> None:
    (score,) = RowResults(torch.tensor([[2.0, 4.0]])).scores()
    assert score == Score(loss=3.0, rows=2)


def test_a_criterion_is_lower_for_the_better() -> None:
    good = Score(1.0, 0.9, 10, macro_f1=0.8, matthews=0.7)
    bad = Score(0.5, 0.4, 10, macro_f1=0.3, matthews=-0.2)
    assert criterion(bad, Criterion.LOSS) < criterion(good, Criterion.LOSS)
    for by in (Criterion.ACCURACY, Criterion.MACRO_F1, Criterion.MATTHEWS):
        assert criterion(good, by) < criterion(bad, by)
        assert preference(good, by) < preference(bad, by)


def test_of_equals_the_lower_loss_is_preferred_and_what_diverged_comes_last() -> None:
    low, high = Score(0.5, 0.8), Score(0.7, 0.8)
    assert preference(low, Criterion.ACCURACY) < preference(high, Criterion.ACCURACY)
    assert preference(Score(math.nan, 1.0), Criterion.ACCURACY) > preference(
        high, Criterion.ACCURACY
    )


def test_an_undefined_criterion_is_named() -> None:
    with pytest.raises(PreconditionFailed, match="matthews is undefined on the 7") as caught:
        criterion(Score(1.0, 1.0, 7), Criterion.MATTHEWS)
    assert caught.value.reason == "CRITERION_UNDEFINED"
