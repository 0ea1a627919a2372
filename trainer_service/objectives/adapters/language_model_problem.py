"""A frozen causal language model with an adapter, which answers with a label word.

A row's input is the template with its text, and the whole of it passes with every parameter: what
an adapter changes, no keys and values of a text can be kept of. A label's score is the
log-probability of its tokens behind the input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from mentorgrad.domain.objective import Calibration
from mentorgrad.domain.spec import LongTexts
from trainer_service.costs import RowCosts
from trainer_service.encoding.causal_model import CausalModel
from trainer_service.objectives.adapters.adapted_problem import AdaptedProblem
from trainer_service.objectives.adapters.adapter import Adapter
from trainer_service.objectives.calibrated_problem import CONTENT_FREE
from trainer_service.objectives.causal_prompt.inputs import Inputs
from trainer_service.objectives.causal_prompt.language_model_problem import LanguageModelProblem
from trainer_service.tasks.data import Split, TaskData


class LanguageModelAdapterProblem(AdaptedProblem, LanguageModelProblem):
    """Losses of an adapter.

    Args:
        adapter: The adapter.
        task: The sampled rows.
        model: The frozen model; the parameters are kept on its device.
        inputs: Template and labels as tokens.
        calibration: How the scores are calibrated.
        costs: Forward rows of a pass.
        check: Called between batches; may raise to abort.
        long_texts: What happens to texts that are too long.

    Raises:
        InvalidInput: A text is too long, and that is an error.
    """

    feature = "the hidden state at the answer's position, without an adapter"

    def __init__(
        self,
        adapter: Adapter,
        task: TaskData,
        model: CausalModel,
        inputs: Inputs,
        calibration: Calibration,
        costs: RowCosts,
        check: Callable[[], None] = lambda: None,
        long_texts: LongTexts = LongTexts.TRUNCATE,
    ) -> None:
        super().__init__(task, model, inputs, calibration, check, long_texts)
        self._adapt(adapter, {})
        self.costs = costs
        self._beside = adapter.beside + len(inputs.tree.tokens)
        self.train_lengths = [len(ids) for ids in self._ids[Split.TRAIN]]

    def logits(self, points: Tensor, split: Split, rows: Tensor) -> Tensor:
        """Log-probabilities of the labels [k, rows, classes]; see `ClassificationProblem`."""
        return self._label_scores(points, [self._ids[split][row] for row in rows.tolist()])

    def _label_scores(self, points: Tensor, ids: Sequence[Sequence[int]]) -> Tensor:
        """Scores of the labels [k, rows, classes] behind rows of token ids."""
        count, rows = len(points), len(ids)
        block = self._scorer.repeated(self._scorer.tokens(ids), count)

        def run(cache: Any) -> Tensor:
            return self._scorer.hidden_behind(block, cache, self._adapter.beside)

        hidden = self._adapter.hidden(self.layout.views(points), rows, run)
        return self._scorer.scores(hidden).view(count, rows, -1)

    def batches(self, split: Split, rows: Tensor) -> Iterator[tuple[Tensor, int]]:
        """Rows of similar length, as many as memory allows."""
        sizes = [len(self._ids[split][row]) for row in rows.tolist()]
        for where, at_once in self._limits.batches(sizes, self._beside):
            yield torch.tensor(where, device=rows.device), at_once

    def points_at_once(self, rows: Tensor) -> int:
        """See `Problem`."""
        longest = max(self.train_lengths[row] for row in rows.tolist())
        return self._limits.differentiated(len(rows), self._beside + longest)

    def content_free_logits(self, points: Tensor) -> Tensor:
        """See `CalibratedProblem`."""
        ids = [self._inputs.own_ids(row) for row in CONTENT_FREE]
        return torch.cat([self._label_scores(point[None], ids) for point in points])
