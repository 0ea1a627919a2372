"""A soft prompt for a frozen causal language model, which answers with a label word.

A row's input is the template with its text, the prompt and the beginning of the answer; a label's
score is the log-probability of its tokens behind it. With the prompt behind the text, the keys and
values of a text depend on no parameter: they are computed once, and a step costs the tokens of the
prompt and of the answer's beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache, lru_cache, partial

import torch
from torch import Tensor

from mentorgrad.domain.objective import CausalPrompt
from mentorgrad.domain.run import Score
from mentorgrad.domain.spec import LongTexts
from trainer_service.costs import RowCosts
from trainer_service.encoding.causal_model import CausalModel
from trainer_service.encoding.memory import memory_for
from trainer_service.objectives.calibrated_problem import CONTENT_FREE
from trainer_service.objectives.causal_prompt import PATH
from trainer_service.objectives.causal_prompt.inputs import Inputs
from trainer_service.objectives.causal_prompt.language_model_problem import (
    InWords,
    LanguageModelProblem,
    Render,
)
from trainer_service.objectives.causal_prompt.row_states import Known, RowStates
from trainer_service.objectives.causal_prompt.scorer import joined
from trainer_service.objectives.causal_prompt.text_states import Context
from trainer_service.objectives.kept_results import KeptResults
from trainer_service.objectives.length_batches import similar_batches
from trainer_service.objectives.results import RowResults
from trainer_service.tasks.data import Row, Split, TaskData

_MOST_CONTEXT = 256 * 1024 * 1024
"""Maximum bytes of keys and values in front of the inputs of a pass without gradients."""


class CausalPromptProblem(LanguageModelProblem):
    """Losses of a soft prompt of shape [tokens, width].

    Args:
        spec: Length of the prompt, and calibration.
        task: The rows, without demonstrations.
        model: The frozen model; the prompt is kept on its device.
        inputs: Template and labels as tokens.
        costs: Forward rows of a pass.
        state_bytes: Maximum bytes of texts' keys and values that are kept; None: every row is
            scored once, so a text passes together with its prompt.
        check: Called between batches; may raise to abort.
        known: What the worker's earlier runs have computed; None: nothing.
        long_texts: What happens to texts that are too long.

    Raises:
        InvalidInput: A text does not fit the model, and that is an error.
    """

    feature = "the hidden state at the answer's position, without a prompt"

    def __init__(
        self,
        spec: CausalPrompt,
        task: TaskData,
        model: CausalModel,
        inputs: Inputs,
        costs: RowCosts,
        state_bytes: int | None,
        check: Callable[[], None] = lambda: None,
        known: KeptResults | None = None,
        long_texts: LongTexts = LongTexts.TRUNCATE,
    ) -> None:
        super().__init__(task, model, inputs, spec.calibration, check, long_texts)
        self.shape = (spec.n_tokens, model.tokens.width)
        self.unit = float(model.tokens.vectors.square().mean().sqrt())
        self.costs = costs
        # All that decides the bits of a pass over tokens, besides what it is asked with.
        pass_key = (model.digest, model.dtype, str(model.device), torch.get_num_threads())
        results = known or KeptResults()
        self._known: Known = lambda key, compute: results.get((pass_key, *key), compute)
        self._is_apart = inputs.is_after and state_bytes is not None
        most_bytes = (state_bytes or 0) if self._is_apart else 0
        with memory_for(
            "compute the keys and values of the texts",
            f"set {PATH}.max_length, or start the trainer with a lower --state-cache-mib",
        ):
            self._states = RowStates(
                *(inputs, self._ids, self._scorer, spec.n_tokens, most_bytes),
                known=self._known,
                check=check,
            )
        self._unprompted = cache(self._shared_unprompted)
        # A prompt's score and its prior need the same.
        self._worded = lru_cache(maxsize=1)(self._prompted_by)

    @property
    def kept_rows(self) -> dict[Split, int]:
        """Number of rows whose texts' keys and values are kept; the others' are computed anew."""
        return self._states.kept_rows

    # -- losses -------------------------------------------------------------------------------

    def logits(self, points: Tensor, split: Split, rows: Tensor) -> Tensor:
        """Log-probabilities of the labels [k, rows, classes]; see `ClassificationProblem`."""
        chosen = rows.tolist()
        ids = [self._ids[split][row] for row in chosen]
        return self._prompted(points, ids, partial(self._states.context, split, chosen))

    def _prompted(
        self, points: Tensor, ids: Sequence[Sequence[int]], before: Callable[[], Context]
    ) -> Tensor:
        """Scores of the labels [k, rows, classes] behind prompts [k, tokens, width] and rows;
        `before` is what stands in front of the prompt."""
        count, rows = len(points), len(ids)
        prompts = self._scorer.prompts(points, rows)
        tail = self._scorer.repeated(self._scorer.tokens([self._inputs.tail]), count * rows)
        context: Context | None
        if self._is_apart:
            context = before().repeated(count)
            block = joined([prompts, tail])
        else:
            context = self._states.opening(count * rows)
            texts = self._scorer.repeated(self._scorer.tokens(ids), count)
            is_after = self._inputs.is_after
            block = joined([texts, prompts, tail] if is_after else [prompts, texts])
        return self._scorer.scores(self._scorer.hidden(block, context)).view(count, rows, -1)

    def scored_logits(self, points: Tensor, split: Split, rows: Tensor) -> Tensor:
        """`logits`, interrupted by a request to stop. Words at the end of a prompt pass alone: what
        fills the positions in front of them does not depend on them either."""
        self._check()
        leading = self._leading_fillers(points) if self._states.can_fill(split) else []
        if not any(leading):
            return self.logits(points, split, rows)
        chosen = rows.tolist()
        ids = [self._ids[split][row] for row in chosen]
        made = points.new_empty(len(points), len(chosen), len(self._inputs.tree.labels))
        for count in sorted(set(leading)):
            places = [place for place, found in enumerate(leading) if found == count]
            before = partial(self._states.context, split, chosen, count)
            made[places] = self._prompted(points[places][:, count:], ids, before)
        return made

    def _leading_fillers(self, points: Tensor) -> list[int]:
        """Number of fillers at the beginning of each prompt; one position is left."""
        filler = self._inputs.tokens.vectors[self._inputs.tokens.filler_id]
        same = (points[:, :-1] == filler).all(-1)
        found: list[int] = same.long().cumprod(1).sum(1).tolist()
        return found

    def batches(self, split: Split, rows: Tensor) -> Iterator[tuple[Tensor, int]]:
        """Rows of similar length, as many as memory allows."""
        sizes = [len(self._ids[split][row]) for row in rows.tolist()]
        behind, opening = self._own_tokens, len(self._inputs.opening)
        if not self._is_apart:
            for where, at_once in self._limits.batches(sizes, behind):
                yield torch.tensor(where, device=rows.device), at_once
            return
        most, token_bytes = self._limits.inputs(behind), self._states.token_bytes
        for where in similar_batches(sizes, _MOST_CONTEXT // token_bytes, opening, most):
            held = len(where) * (opening + sizes[where[-1]]) * token_bytes
            at_once = min(most // len(where), _MOST_CONTEXT // max(held, 1))
            yield torch.tensor(where, device=rows.device), max(1, at_once)

    @property
    def _own_tokens(self) -> int:
        """Tokens that every input passes, whatever its row: the prompt, what follows it, and the
        inner nodes of the labels."""
        return self.shape[0] + len(self._inputs.tail) + len(self._inputs.tree.tokens)

    def points_at_once(self, rows: Tensor) -> int:
        """See `Problem`."""
        longest = max(len(self._ids[Split.TRAIN][row]) for row in rows.tolist())
        if not self._inputs.is_after:
            return self._limits.differentiated(len(rows), self._own_tokens + longest)
        before = (len(self._inputs.opening) + longest) * self._states.token_bytes
        return self._limits.differentiated(len(rows), self._own_tokens, before)

    # -- calibration --------------------------------------------------------------------------

    def content_free_logits(self, points: Tensor) -> Tensor:
        """See `CalibratedProblem`."""
        ids = [self._inputs.own_ids(row) for row in CONTENT_FREE]
        before = self._states.content_free_context
        return torch.cat([self._prompted(point[None], ids, before) for point in points])

    # -- inputs in words ----------------------------------------------------------------------

    def words_score(self, text: str, split: Split) -> Score:
        """Score of a prompt in words, tokenised in one string with the template."""
        logits = self.words_logits(text, split)
        return RowResults.of_logits(logits.unsqueeze(0), self.labels[split]).scores()[0]

    def words_logits(self, text: str, split: Split) -> Tensor:
        """See `ClassificationProblem`; calibrated."""
        return self._text_logits(*self._worded(text), split)

    def words_log_probs(self, text: str, split: Split) -> Tensor:
        """Log-probabilities of the labels behind a prompt in words, without calibration,
        [rows, classes]."""
        _, found = self._worded(text)
        return found(split).scores.log_softmax(-1)

    def words_prior(self, text: str) -> Tensor | None:
        """The prior [classes] by which predictions under a prompt in words are calibrated; None
        without calibration."""
        return self._text_prior(*self._worded(text))

    def _prompted_by(self, text: str) -> tuple[Render, Callable[[Split], InWords]]:
        """Inputs with a prompt in words, and what the model makes of them."""

        def prompted(row: Row) -> str:
            return self._inputs.template.prompted(row, text)

        return prompted, cache(partial(self._in_words, prompted))

    def _shared_unprompted(self, split: Split) -> InWords:
        """Of the inputs without a prompt, as this or an earlier run computed it."""
        render = self._inputs.template.unprompted
        whole, own = self._whole(render, split), self._ids[split]
        # Keys and values that are not kept are computed in other batches, hence rounded otherwise.
        kept = len(self._states.store(split)) if self._goes_on(whole, split) else None
        key = (self._inputs.opening, self._inputs.tree.labels, whole, own, kept)
        return InWords(*self._known(key, lambda: self._in_words(render, split)))

    def _goes_on(self, whole: Sequence[list[int]], split: Split) -> bool:
        """Whether all whole inputs go on from the tokens of the row's own part, which then are not
        passed again."""
        return self._inputs.is_after and all(
            len(ids) > len(part) and ids[: len(part)] == part
            for ids, part in zip(whole, self._ids[split], strict=True)
        )

    def _whole_hidden(
        self, whole: Sequence[list[int]], split: Split, batch: Sequence[int]
    ) -> Tensor:
        """See `LanguageModelProblem`."""
        if not self._goes_on(whole, split):
            return super()._whole_hidden(whole, split, batch)
        own = self._ids[split]
        rest = [whole[row][len(own[row]) :] for row in batch]
        return self._scorer.hidden(self._scorer.tokens(rest), self._states.context(split, batch))

    def _plain_hidden(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """See `LanguageModelProblem`."""
        return self._scorer.hidden(self._scorer.tokens(rows), self._states.opening(len(rows)))
