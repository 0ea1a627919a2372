"""What the objectives with a language model of their own share: its scores of inputs in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import NamedTuple

import torch
from torch import Tensor

from mentorgrad.domain.objective import Calibration
from mentorgrad.domain.spec import LongTexts
from trainer_service.encoding.causal_model import CausalModel
from trainer_service.encoding.dtypes import other_dtype
from trainer_service.objectives.calibrated_problem import CONTENT_FREE, CalibratedProblem
from trainer_service.objectives.calibration import calibrated, prior_of
from trainer_service.objectives.causal_prompt import pass_limits
from trainer_service.objectives.causal_prompt.inputs import Inputs
from trainer_service.objectives.causal_prompt.pass_limits import PassLimits
from trainer_service.objectives.causal_prompt.scorer import CausalScorer
from trainer_service.objectives.length_batches import similar_batches
from trainer_service.objectives.long_texts import fitted_task
from trainer_service.tasks.data import Row, Split, TaskData

Render = Callable[[Row], str]
"""A row as a whole input in words, without the opening and the label."""


class InWords(NamedTuple):
    """What the model makes of a split's rows as whole inputs in words."""

    hidden: Tensor
    """Hidden states at the answer's position, float32 [rows, width]."""
    scores: Tensor
    """Scores of the labels, float32 [rows, classes]."""


class LanguageModelProblem(CalibratedProblem):
    """Label scores of a frozen causal language model. A subclass implements `logits`, `batches` and
    `content_free_logits`.

    Args:
        task: The rows, without demonstrations.
        model: The frozen model; parameters are kept on its device.
        inputs: Template and labels as tokens.
        calibration: How the scores are calibrated.
        check: Called between batches; may raise to abort.
        long_texts: What happens to texts that are too long.

    Raises:
        InvalidInput: A text does not fit the model, and that is an error.
    """

    task: TaskData

    def __init__(
        self,
        task: TaskData,
        model: CausalModel,
        inputs: Inputs,
        calibration: Calibration,
        check: Callable[[], None],
        long_texts: LongTexts,
    ) -> None:
        super().__init__(task, calibration, model.device)
        self.start_remedy = (
            f"the model's logits are not finite in {model.dtype}: "
            f"{other_dtype(model.dtype, f'{inputs.path}.dtype')}"
        )
        self._inputs, self._check = inputs, check
        self._scorer = CausalScorer(model, inputs.tree)
        self._limits = PassLimits(model, inputs.tree)
        fitted, self.cut_texts = fitted_task(task, inputs.room(long_texts))
        self._rows = {split: fitted.rows(split) for split in Split}
        self._ids = {split: [inputs.own_ids(row) for row in self._rows[split]] for split in Split}
        self._single: tuple[Tensor, dict[Split, Tensor]] | None = None
        self._unprompted = cache(partial(self._in_words, inputs.template.unprompted))

    def scored_logits(self, points: Tensor, split: Split, rows: Tensor) -> Tensor:
        """`logits`, interrupted by a request to stop."""
        self._check()
        return self.logits(points, split, rows)

    def batched_logits(self, points: Tensor, split: Split, rows: Tensor) -> Tensor:
        """See `ClassificationProblem`. The latest single parameter's on whole splits are kept: at
        the end of a run its score, its prior and its files need the same."""
        whole = torch.arange(self.size(split), device=rows.device)
        if len(points) > 1 or not torch.equal(rows, whole):
            return super().batched_logits(points, split, rows)
        if self._single is None or not torch.equal(self._single[0], points):
            self._single = (points.detach().clone(), {})
        known = self._single[1]
        if split not in known:
            known[split] = super().batched_logits(points, split, rows)
        return known[split].clone()

    # -- inputs in words ----------------------------------------------------------------------

    def untuned_logits(self, split: Split) -> Tensor:
        """Calibrated log-probabilities of the labels without a prompt; see `Problem`."""
        return self._text_logits(self._inputs.template.unprompted, self._unprompted, split)

    def features(self, split: Split) -> Tensor:
        """Hidden states at the answer's position without a prompt; see `Problem`."""
        return self._unprompted(split).hidden

    @torch.no_grad()
    def _text_logits(
        self, render: Render, found: Callable[[Split], InWords], split: Split
    ) -> Tensor:
        """Calibrated log-probabilities of the labels behind inputs in words, [rows, classes].

        Args:
            render: The inputs.
            found: What the model makes of them.
            split: The split.
        """
        log_probs = found(split).scores.log_softmax(-1)
        prior = self._text_prior(render, found)
        return log_probs if prior is None else calibrated(log_probs, prior)

    @torch.no_grad()
    def _text_prior(self, render: Render, found: Callable[[Split], InWords]) -> Tensor | None:
        """The prior [classes] of inputs in words; None without calibration."""
        if self.calibration is Calibration.NONE:
            return None
        if self.calibration is Calibration.CONTENT_FREE:
            rows = [self._inputs.whole_ids(render(row)) for row in CONTENT_FREE]
            known = self._scorer.scores(self._plain_hidden(rows))
            return prior_of(known.log_softmax(-1))
        splits = Split.TRAIN, Split.SELECTION
        known = torch.cat([found(other).scores for other in splits])
        return prior_of(known.log_softmax(-1), self.matched_labels(splits))

    def _whole(self, render: Render, split: Split) -> list[list[int]]:
        """Token ids of a split's inputs in words."""
        return [self._inputs.whole_ids(render(row)) for row in self._rows[split]]

    @torch.no_grad()
    def _in_words(self, render: Render, split: Split) -> InWords:
        whole = self._whole(render, split)
        found: dict[int, tuple[Tensor, Tensor]] = {}
        sizes, nodes = [len(ids) for ids in whole], len(self._inputs.tree.tokens)
        for batch in similar_batches(sizes, pass_limits.MOST_TOKENS, nodes, self._limits.inputs(1)):
            self._check()
            made = self._whole_hidden(whole, split, batch)
            first = made[:, 0].float().clone()  # no view of the states at the labels' tokens
            pairs = zip(first, self._scorer.scores(made), strict=True)
            found |= dict(zip(batch, pairs, strict=True))
        hidden, scores = zip(*(found[row] for row in range(len(whole))), strict=True)
        return InWords(torch.stack(hidden), torch.stack(scores))

    def _whole_hidden(
        self, whole: Sequence[list[int]], split: Split, batch: Sequence[int]
    ) -> Tensor:
        """Hidden states of some of a split's inputs in words; see `CausalScorer.hidden`."""
        return self._plain_hidden([whole[row] for row in batch])

    def _plain_hidden(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """Hidden states of whole inputs, which stand behind the opening."""
        return self._scorer.hidden(self._scorer.tokens(rows))
