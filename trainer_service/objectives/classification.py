"""The problem of the objectives that classify texts: from logits to losses and predictions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from mentorgrad.domain.run import Score
from mentorgrad.domain.spec import ClassWeight
from trainer_service.encoding.transfer import on_device
from trainer_service.objectives.calibration import Reference, calibrated
from trainer_service.objectives.problem import Problem
from trainer_service.objectives.results import RowResults, row_losses
from trainer_service.objectives.row_questions import QuestionKind, RowQuestion
from trainer_service.tasks.data import Row, Split, TaskData


def labels_of(rows: Sequence[Row], device: torch.device) -> Tensor:
    """Class indices of the rows, int64 [rows]."""
    return torch.tensor([row.label for row in rows], dtype=torch.int64, device=device)


class ClassificationProblem(Problem):
    """Mean cross-entropy over labelled rows. A subclass implements `logits` and `batches`.

    Args:
        task: The sampled rows.
        device: Device of the parameters.
    """

    def __init__(self, task: TaskData, device: torch.device) -> None:
        self.task: TaskData = task
        self.device = device
        self.labels = {split: labels_of(task.rows(split), device) for split in Split}
        """Class indices by split, int64 [rows]."""
        self._train_weights: Tensor | None = None

    @abstractmethod
    def logits(self, points: Tensor, split: Split, rows: Tensor) -> Tensor:
        """[k, *shape], int64 row indices [n] of a split → logits [k, n, classes];
        differentiable."""

    @abstractmethod
    def batches(self, split: Split, rows: Tensor) -> Iterator[tuple[Tensor, int]]:
        """Divides int64 row indices [n] of a split into batches for passes without gradients.

        Yields:
            int64 positions in `rows`, and the maximum number of parameters per pass over them.
        """

    def scored_logits(self, points: Tensor, split: Split, rows: Tensor) -> Tensor:
        """`logits` without gradients; may re-use those of recently scored parameters."""
        return self.logits(points, split, rows)

    def words_logits(self, text: str, split: Split) -> Tensor | None:
        """Log-probabilities [rows, classes] under a prompt in words, as predictions have them.

        None: they are those of the words' vectors.
        """
        return None

    def weight_classes(self, how: ClassWeight) -> None:
        """Weights the rows in `losses`; scores are never weighted.

        ``balanced``: each row by n / (k * n_c), for n train rows, n_c of its class, and k classes
        (King and Zeng, Political Analysis 9, 2001). The mean weight of all train rows is 1.
        """
        self._train_weights = None
        labels = self.labels[Split.TRAIN]
        if how is ClassWeight.BALANCED and len(labels):
            counts = torch.bincount(labels, minlength=len(self.task.labels)).clamp_min(1)
            weights = len(labels) / (len(counts) * counts.float())
            self._train_weights = weights[labels]

    def losses(self, points: Tensor, rows: Tensor) -> Tensor:
        """Mean cross-entropy, in nats, of the train rows [batch], weighted by `weight_classes`; see
        `Problem`."""
        logits = self.logits(points, Split.TRAIN, rows)
        rows = on_device(rows, self.device)
        losses = row_losses(logits, self.labels[Split.TRAIN][rows])
        if self._train_weights is not None:
            losses = losses * self._train_weights[rows]
        return losses.mean(1)

    def reference(self, points: Tensor, split: Split) -> Reference | None:
        """What the log-probabilities of these parameters on rows of a split are calibrated by; None
        without calibration."""
        return None

    @torch.no_grad()
    def results(self, points: Tensor, split: Split, rows: Tensor | None = None) -> RowResults:
        """Losses and predictions, in batches of rows and parameters; see `Problem`."""
        if rows is None:
            rows = torch.arange(self.size(split))
        logits = self.batched_logits(points, split, rows)
        return RowResults.of_logits(logits, self.labels[split][rows], self.reference(points, split))

    @torch.no_grad()
    def tested(self, point: Tensor, split: Split) -> tuple[Tensor, Score]:
        """[*shape] → calibrated log-probabilities of the labels of a split's rows, float32
        [rows, classes], and the score."""
        points, rows = point.unsqueeze(0), torch.arange(self.size(split))
        logits = self.batched_logits(points, split, rows)
        reference = self.reference(points, split)
        (score,) = RowResults.of_logits(logits, self.labels[split], reference).scores()
        log_probs = logits[0].log_softmax(-1)
        if score.prior:
            log_probs = calibrated(log_probs, log_probs.new_tensor(score.prior))
        return log_probs, score

    def batched_logits(self, points: Tensor, split: Split, rows: Tensor) -> Tensor:
        """`scored_logits` [k, rows, classes], by all processes of the run, in batches of rows and
        parameters."""
        (logits,) = self.answer(RowQuestion(QuestionKind.LOGITS, points, rows, split))
        return logits

    @torch.no_grad()
    def computed_logits(self, points: Tensor, split: Split, rows: Tensor) -> Tensor:
        """`batched_logits`, computed in this process."""
        logits = torch.empty(len(points), len(rows), len(self.task.labels), device=self.device)
        for where, at_once in self.batches(split, rows):
            parts = torch.split(points, at_once)
            logits[:, where] = torch.cat(
                [self.scored_logits(part, split, rows[where]) for part in parts]
            )
        return logits
