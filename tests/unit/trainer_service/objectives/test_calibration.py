"""Priors of labels, and log-probabilities without them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trainer_service.objectives.calibration import Reference, calibrated, matched_prior, prior_of
from trainer_service.objectives.results import RowResults

POINTS = torch.arange(3.0)[:, None]


def drawn(rows: int, seed: int, parameters: int = 3, classes: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(parameters, rows, classes, generator=generator)


def reference(
    train: Tensor, labels: Tensor | None = None, *, with_scored: bool
) -> tuple[Reference, list[list[float]]]:
    """One whose inputs have the given logits, and the parameters that it was asked about."""
    asked: list[list[float]] = []

    def compute(points: Tensor) -> Tensor:
        asked.append(points.flatten().tolist())
        return train[points.flatten().long()].log_softmax(-1)

    return Reference(POINTS, compute, labels, with_scored), asked


def test_calibration_divides_by_the_prior() -> None:
    logits = drawn(7, 1)
    probabilities = logits.softmax(-1)
    prior = probabilities.mean(1)
    shares = probabilities / prior[:, None]
    expected = shares / shares.sum(-1, keepdim=True)
    found = calibrated(logits.log_softmax(-1), prior)
    torch.testing.assert_close(found.exp(), expected)


def test_an_even_prior_changes_nothing_and_an_impossible_label_stays_finite() -> None:
    log_probs = drawn(5, 2).log_softmax(-1)
    torch.testing.assert_close(calibrated(log_probs, torch.full((3, 4), 0.25)), log_probs)
    assert torch.isfinite(calibrated(log_probs, torch.tensor([[1.0, 0.0, 0.0, 0.0]] * 3))).all()


def loss(log_probs: Tensor, prior: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy under a prior, [parameters]."""
    return -calibrated(log_probs, prior)[:, torch.arange(len(labels)), labels].mean(-1)


SURE = st.floats(0.1, 30.0)
"""Standard deviations of logits: of a hesitating model, and of one that is sure of everything."""


@pytest.mark.slow
@given(rows=st.integers(1, 40), seed=st.integers(0, 99), scale=SURE, preferred=st.floats(0, 20))
@settings(max_examples=10)
def test_a_matched_prior_gives_the_frequencies_of_the_labels_and_the_lowest_loss(
    rows: int, seed: int, scale: float, preferred: float
) -> None:
    labels = torch.cat([torch.arange(4), torch.arange(rows) % 3])
    logits = drawn(len(labels), seed) * scale + torch.tensor([preferred, 0.0, 0.0, 0.0])
    log_probs = logits.log_softmax(-1)
    prior = matched_prior(log_probs, labels)
    lowest = loss(log_probs, prior, labels)
    mean = prior_of(log_probs)
    for other in (mean, torch.full_like(mean, 0.25)):
        assert (lowest <= loss(log_probs, other, labels) * (1 + 1e-5) + 1e-6).all()
    if scale <= 3.0:  # with few rows of a model that is sure of each, it takes many steps
        shares = torch.bincount(labels) / len(labels)
        found = calibrated(log_probs, prior).exp().mean(1)
        torch.testing.assert_close(found, shares.expand(3, -1), rtol=0.0, atol=1e-3)
    alone = matched_prior(log_probs[1], labels)
    torch.testing.assert_close(alone, prior[1], rtol=1e-3, atol=1e-6)


def test_a_matched_prior_is_finite_where_a_label_is_impossible_or_does_not_occur() -> None:
    log_probs = torch.tensor([[0.0, -torch.inf, -9.0], [-1.0, -torch.inf, -0.5]])
    for labels in (torch.tensor([0, 1]), torch.tensor([0, 0])):
        prior = matched_prior(
            torch.stack([log_probs, drawn(2, 1, 1, 3)[0].log_softmax(-1)]), labels
        )
        assert torch.isfinite(prior).all()
        torch.testing.assert_close(prior.sum(-1), torch.ones(2))


def test_one_mean_of_probabilities_leaves_a_preference_that_a_matched_prior_removes() -> None:
    """Of a model that is sure of nearly every answer."""
    labels = torch.arange(2).repeat(20)
    logits = 3.0 * (2.0 * torch.nn.functional.one_hot(labels, 2).float() - 1.0) + drawn(40, 3, 1, 2)
    log_probs = (logits + torch.tensor([12.0, 0.0])).log_softmax(-1)
    shares = [
        calibrated(log_probs, prior_of(log_probs, given)).exp().mean(1)[0, 0]
        for given in (None, labels)
    ]
    assert shares[0] > 0.7
    assert float(shares[1]) == pytest.approx(0.5, abs=1e-3)


@pytest.mark.slow
def test_a_preference_for_a_label_is_removed() -> None:
    """With it, all rows get the first class."""
    labels = torch.arange(4).repeat(5)
    logits = 2.0 * torch.nn.functional.one_hot(labels, 4).float()[None] + drawn(20, 3, 1) * 0.01
    biased = logits + torch.tensor([9.0, 0.0, 0.0, 0.0])
    whole = Reference(POINTS[:1], lambda points: torch.zeros(1, 0, 4), None, True)
    (score,) = RowResults.of_logits(biased, labels, whole).scores()
    assert (score.accuracy, score.raw_accuracy) == (1.0, 0.25)
    assert score.raw_loss is not None
    assert score.loss < score.raw_loss
    assert score.prior[0] > 0.9
    (plain,) = RowResults.of_logits(biased, labels).scores()
    assert (plain.loss, plain.accuracy) == (score.raw_loss, score.raw_accuracy)
    assert (plain.raw_loss, plain.raw_accuracy, plain.prior) == (None, None, ())


@given(
    first=st.integers(1, 9),
    second=st.integers(1, 9),
    with_scored=st.booleans(),
    is_matched=st.booleans(),
)
def test_joined_results_have_the_prior_of_the_whole(
    first: int, second: int, with_scored: bool, is_matched: bool
) -> None:
    """As in a screening, in which some parameters are left out between two rounds."""
    train, logits = drawn(6, 1), drawn(first + second, 2)
    labels = torch.arange(first + second) % 4
    known = torch.arange(6) % 4 if is_matched else None
    one, asked = reference(train, known, with_scored=with_scored)
    other, asked_of_all = reference(train, known, with_scored=with_scored)
    begun = RowResults.of_logits(logits[:, :first], labels[:first], one)
    begun.scores()
    further, _ = reference(train, known, with_scored=with_scored)
    rest = RowResults.of_logits(logits[[2, 0]][:, first:], labels[first:], further.at([2, 0]))
    joined = begun.at([2, 0]).joined(rest).scores()
    whole = RowResults.of_logits(logits, labels, other).scores()
    for found, expected in zip(joined, [whole[2], whole[0]], strict=True):
        assert found.prior == pytest.approx(expected.prior, rel=1e-5)
        assert found.loss == pytest.approx(expected.loss, rel=1e-5)
        assert found.rows == first + second
    assert asked == asked_of_all == [[0.0, 1.0, 2.0]], "the inputs are passed once"


def test_a_part_of_the_parameters_asks_for_these_alone() -> None:
    train = drawn(6, 1)
    made, asked = reference(train, with_scored=False)
    nothing, none = torch.empty(2, 0, 4), torch.empty(0, dtype=torch.int64)
    prior = made.at([2, 1]).prior(nothing, none)
    assert asked == [[2.0, 1.0]]
    torch.testing.assert_close(prior, train[[2, 1]].softmax(-1).mean(1))
    torch.testing.assert_close(made.at([2, 1]).at([1]).prior(nothing[:1], none), prior[1:])
