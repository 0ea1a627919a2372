"""Label scores of a language model with a line of text between the text and the answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from mentorgrad.domain.objective import ServedPrompt
from trainer_service.costs import RowCosts
from trainer_service.objectives.calibrated_problem import CONTENT_FREE, CalibratedProblem
from trainer_service.objectives.calibration import calibrated
from trainer_service.objectives.input_template import Template
from trainer_service.objectives.served_prompt.language import to_text
from trainer_service.objectives.served_prompt.scorer import LabelScorer, answered
from trainer_service.tasks.data import UNLABELLED, Row, Split, TaskData

_ALL = 1 << 30
"""Parameters per pass: the scorer divides the work itself."""


class ServedPromptProblem(CalibratedProblem):
    """Label scores of a language model with a prompt between text and answer.

    Args:
        spec: Length and calibration.
        task: The rows, without the demonstrations.
        template: Where text, prompt and label stand, behind its opening.
        scorer: Scores the labels; owned by the problem.
        costs: Forward rows of a pass.
        device: Device of the parameters.
    """

    has_gradients = False

    def __init__(
        self,
        spec: ServedPrompt,
        task: TaskData,
        template: Template,
        scorer: LabelScorer,
        costs: RowCosts,
        device: torch.device,
    ) -> None:
        super().__init__(task, spec.calibration, device)
        self.shape = (spec.max_characters,)
        self.costs = costs
        self.tuned_model = scorer.model
        self._template = template
        self._scorer = scorer

    def logits(self, points: Tensor, split: Split, rows: Tensor) -> Tensor:
        """Scores of the labels [k, n, classes]; see `ClassificationProblem`."""
        texts = [to_text(point) for point in points.cpu()]
        of_split, indices = self.task.rows(split), rows.tolist()
        scores = self._scored(texts, [of_split[index] for index in indices])
        # An answer that is no label is wrong, whatever the label is.
        classes = len(self.task.labels)
        for text, row in torch.isnan(scores).any(-1).nonzero().tolist():
            label = of_split[indices[row]].label
            wrong = answered((label + 1) % classes, classes)
            # Of a row to predict, it says nothing of any label.
            scores[text, row] = 0.0 if label == UNLABELLED else scores.new_tensor(wrong)
        return scores

    def batches(self, split: Split, rows: Tensor) -> Iterator[tuple[Tensor, int]]:
        """All rows and parameters at once."""
        yield torch.arange(len(rows), device=rows.device), _ALL

    def untuned_logits(self, split: Split) -> Tensor:
        """Scores without a prompt, calibrated as the spec says; see `Problem`."""
        nothing = torch.zeros(1, *self.shape, device=self.device)
        logits = self.batched_logits(nothing, split, torch.arange(self.size(split)))
        prior = self.final_prior(nothing[0])
        return logits[0] if prior is None else calibrated(logits, prior)[0]

    def take_tokens(self) -> int:
        """See `Problem`."""
        return self._scorer.take_tokens()

    def close(self) -> None:
        """See `Problem`."""
        self._scorer.close()

    def content_free_logits(self, points: Tensor) -> Tensor:
        """See `CalibratedProblem`."""
        return self._scored([to_text(point) for point in points.cpu()], CONTENT_FREE)

    def _scored(self, texts: Sequence[str], rows: Sequence[Row]) -> Tensor:
        heads = [self._template.opening + self._template.head(row) for row in rows]
        tails = [self._template.continuation(text) for text in texts]
        scores = self._scorer.scores(heads, tails)
        return torch.tensor(scores, dtype=torch.float32, device=self.device)
