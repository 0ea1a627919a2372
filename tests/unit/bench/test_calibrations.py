"""The comparison of calibrations on recorded log-probabilities."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.calibrations import (
    ARMS,
    CHOICES,
    WAYS,
    Scores,
    arm_figures,
    loss,
    read,
    with_few_rows,
    write,
)

LABELS = torch.arange(12) % 3


def drawn(seed: int, texts: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    logits = 4.0 * torch.randn(texts, 12, 3, generator=generator) + torch.tensor([9.0, 0.0, 0.0])
    return (logits + 5.0 * torch.nn.functional.one_hot(LABELS, 3)).log_softmax(-1)


SCORES = Scores(
    ["Answer:", "a", "b"],
    [list(ARMS), ["mentor"], ["mentor", "description"]],
    drawn(0),
    LABELS,
    drawn(1),
    LABELS,
    [(range(3), range(3, 12)), (range(3, 6), [0, 1, 2, *range(6, 12)])],
)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "scores.npz"
    lists = [([*train], [*selection]) for train, selection in SCORES.seeds]
    made = replace(SCORES, seeds=lists)
    write(path, {"one": made}, tuned_sha256="0")
    tasks, about = read(path)
    assert about["tuned_sha256"] == "0"
    torch.testing.assert_close(tasks["one"].known, SCORES.known)
    for choice in (CHOICES["batch"], CHOICES["matched, mean of the best 2"]):
        assert arm_figures(tasks["one"], "mentor", choice) == arm_figures(SCORES, "mentor", choice)


@pytest.mark.slow
def test_no_calibration_is_worse_than_none_on_the_rows_that_it_is_fitted_to() -> None:
    ways = ("temperature", "matched", "temperature, then matched")
    for name, log_probs in zip(ways, SCORES.known, strict=True):
        found = WAYS[name](log_probs, LABELS)(log_probs)
        assert loss(found, LABELS) <= loss(log_probs, LABELS) + 1e-6


def test_a_temperature_leaves_the_predictions() -> None:
    for log_probs in SCORES.known:
        one, other = (
            WAYS[name](log_probs, LABELS) for name in ("batch", "batch, then temperature")
        )
        assert one(log_probs).argmax(-1).equal(other(log_probs).argmax(-1))


def test_all_labels_are_among_few_rows() -> None:
    assert with_few_rows(SCORES, 1, "batch") > 0
