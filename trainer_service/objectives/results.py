"""Losses and predictions per row, and the scores that are made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from mentorgrad.domain.run import Score
from trainer_service.objectives.calibration import Reference, calibrated


def row_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy in nats [k, rows] of logits [k, rows, classes] and labels [rows]."""
    wanted = labels.expand(len(logits), -1)
    losses = functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none")
    return losses.view_as(wanted)


@dataclass(frozen=True, eq=False)
class RowResults:
    """What some parameters achieve on some rows."""

    losses: Tensor
    """float32 [parameters, rows], in nats for classification; without calibration."""
    predicted: Tensor | None = None
    """int64 [parameters, rows]: predicted classes, without calibration; None for an objective
    without classes."""
    labels: Tensor | None = None
    """int64 [rows]: the rows' classes; None for an objective without classes."""
    log_probs: Tensor | None = None
    """float32 [parameters, rows, classes]: log-probabilities of the labels, to be calibrated; None
    without calibration."""
    reference: Reference | None = None
    """What they are calibrated by; None without calibration."""

    @classmethod
    def of_logits(
        cls, logits: Tensor, labels: Tensor, reference: Reference | None = None
    ) -> RowResults:
        """Results of logits [parameters, rows, classes] and labels [rows]."""
        kept = None if reference is None else logits.log_softmax(-1)
        return cls(row_losses(logits, labels), logits.argmax(-1), labels, kept, reference)

    def scores(self) -> list[Score]:
        """One score per parameter, over all rows."""
        if self.reference is not None and self.log_probs is not None and self.labels is not None:
            return self._calibrated(self.reference, self.log_probs, self.labels)
        rows = self.losses.shape[1]
        losses = self.losses.mean(1).tolist()
        if self.predicted is None or self.labels is None:
            return [Score(loss=loss, rows=rows) for loss in losses]
        found = _classification(self.predicted, self.labels)
        return [
            Score(loss=loss, accuracy=accuracy, rows=rows, macro_f1=f1, matthews=matthews)
            for loss, (accuracy, f1, matthews) in zip(losses, found, strict=True)
        ]

    def _calibrated(self, reference: Reference, log_probs: Tensor, labels: Tensor) -> list[Score]:
        prior = reference.prior(log_probs, labels)
        raw = RowResults(self.losses, self.predicted, labels).scores()
        scores = RowResults.of_logits(calibrated(log_probs, prior), labels).scores()
        return [
            replace(score, raw_loss=was.loss, raw_accuracy=was.accuracy, prior=tuple(shares))
            for score, was, shares in zip(scores, raw, prior.tolist(), strict=True)
        ]

    def at(self, parameters: Sequence[int]) -> RowResults:
        """The results of these parameters only."""
        chosen = list(parameters)
        return RowResults(
            self.losses[chosen],
            None if self.predicted is None else self.predicted[chosen],
            self.labels,
            None if self.log_probs is None else self.log_probs[chosen],
            None if self.reference is None else self.reference.at(chosen),
        )

    def joined(self, further: RowResults) -> RowResults:
        """The results of the same parameters on these rows and on further ones."""

        def both(mine: Tensor | None, theirs: Tensor | None, dim: int = -1) -> Tensor | None:
            return None if mine is None or theirs is None else torch.cat([mine, theirs], dim)

        return RowResults(
            torch.cat([self.losses, further.losses], dim=-1),
            both(self.predicted, further.predicted),
            both(self.labels, further.labels),
            both(self.log_probs, further.log_probs, -2),
            self.reference,
        )


def _classification(
    predicted: Tensor, labels: Tensor
) -> list[tuple[float, float | None, float | None]]:
    """(accuracy, macro F1, Matthews) of each parameter; the last two None with a single class.

    Macro F1 is averaged over the classes that occur among the labels or predictions. The Matthews
    coefficient is that of several classes (Gorodkin, Computational Biology and Chemistry 28, 2004);
    it is 0 if all predictions are equal.
    """
    hits = predicted == labels
    accuracy = hits.float().mean(1)
    count, rows = predicted.shape
    classes = int(torch.maximum(predicted.max(), labels.max())) + 1 if predicted.numel() else 1
    actual = torch.bincount(labels, minlength=classes).double()
    if int((actual > 0).sum()) < 2:
        return [(share, None, None) for share in accuracy.tolist()]
    offsets = torch.arange(count, device=labels.device).unsqueeze(1) * classes
    cells = count * classes
    guessed = torch.bincount((predicted + offsets).flatten(), minlength=cells)
    right = torch.bincount((predicted + offsets)[hits], minlength=cells)
    guessed, right = (part.view(count, classes).double() for part in (guessed, right))
    total = guessed + actual
    f1 = (2.0 * right / total.clamp_min(1.0)).sum(1) / (total > 0).sum(1)
    covariance = right.sum(1) * rows - guessed @ actual
    spread = (rows**2 - guessed.square().sum(1)) * (rows**2 - actual.square().sum())
    matthews = torch.where(spread > 0, covariance / spread.clamp_min(1.0).sqrt(), 0.0)
    return list(zip(accuracy.tolist(), f1.tolist(), matthews.tolist(), strict=True))
