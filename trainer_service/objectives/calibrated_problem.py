"""The problem of the objectives whose label scores come from a language model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from mentorgrad.domain.objective import Calibration
from trainer_service.objectives.calibration import Reference
from trainer_service.objectives.classification import ClassificationProblem
from trainer_service.objectives.torch_free import CONTENT_FREE_TEXTS
from trainer_service.tasks.data import Row, Split, TaskData

CONTENT_FREE = tuple(Row(text, 0, text) for text in CONTENT_FREE_TEXTS)
"""Rows without content."""


class CalibratedProblem(ClassificationProblem):
    """Mean cross-entropy of label scores, calibrated by a prior. A subclass implements `logits`,
    `batches` and `content_free_logits`.

    Args:
        task: The rows, without demonstrations.
        calibration: How the scores are calibrated.
        device: Device of the parameters.
    """

    def __init__(self, task: TaskData, calibration: Calibration, device: torch.device) -> None:
        super().__init__(task, device)
        self.calibration = calibration
        """How the scores are calibrated."""

    @abstractmethod
    def content_free_logits(self, points: Tensor) -> Tensor:
        """[k, *shape] → scores of the labels behind `CONTENT_FREE`, [k, inputs, classes]."""

    def reference(self, points: Tensor, split: Split) -> Reference | None:
        """See `ClassificationProblem`. Losses on train rows, which a mentor may be shown, are those
        that the optimizer sees: without calibration."""
        if self.calibration is Calibration.NONE or split is Split.TRAIN:
            return None
        if self.calibration is Calibration.CONTENT_FREE:
            return Reference(points, self._content_free_log_probs)
        known = (Split.TRAIN,) if split is Split.SELECTION else (Split.TRAIN, Split.SELECTION)
        return Reference(
            points,
            partial(self._log_probs, known),
            self.matched_labels(known),
            with_scored=split is Split.SELECTION,
        )

    def matched_labels(self, splits: Sequence[Split]) -> Tensor | None:
        """Classes of all rows of some splits, int64 [rows], if the prior matches their
        frequencies; None if it is a mean."""
        if self.calibration is not Calibration.MATCHED:
            return None
        return torch.cat([self.labels[split] for split in splits])

    def final_prior(self, point: Tensor) -> Tensor | None:
        """The prior [classes] by which predictions under a prompt [*shape] are calibrated; None
        without calibration."""
        reference = self.reference(point.unsqueeze(0), Split.TEST)
        if reference is None:
            return None
        none = self.labels[Split.TEST][:0]
        return reference.prior(point.new_empty(1, 0, len(self.task.labels)), none)[0]

    @torch.no_grad()
    def _content_free_log_probs(self, points: Tensor) -> Tensor:
        return self.content_free_logits(points).log_softmax(-1)

    @torch.no_grad()
    def _log_probs(self, splits: Sequence[Split], points: Tensor) -> Tensor:
        """Log-probabilities of the labels of all rows of some splits, [k, rows, classes]."""
        found = [
            self.batched_logits(points, split, torch.arange(self.size(split))) for split in splits
        ]
        return torch.cat(found, dim=1).log_softmax(-1)
