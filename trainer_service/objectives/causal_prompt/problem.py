"""A soft prompt for a frozen causal language model, which answers with a label word.

A row's input is the template with its text, the prompt and the beginning of the answer; a label's
score is the log-probability of its tokens behind it. With the prompt behind the text, the keys and
values of a text depend on no parameter: they are computed once, and a step costs the tokens of the
prompt and of the answer's beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache, cached_property, lru_cache, partial

import structlog
import torch
from torch import Tensor

from mentorgrad.domain.objective import CausalPrompt
from mentorgrad.domain.run import Score
from mentorgrad.domain.spec import LongTexts
from trainer_service.costs import RowCosts
from trainer_service.encoding.causal_model import CausalModel
from trainer_service.encoding.memory import memory_for
from trainer_service.objectives.calibrated_problem import CONTENT_FREE
from trainer_service.objectives.causal_prompt import PATH, pass_limits
from trainer_service.objectives.causal_prompt.inputs import Inputs
from trainer_service.objectives.causal_prompt.language_model_problem import (
    InWords,
    LanguageModelProblem,
    Render,
)
from trainer_service.objectives.causal_prompt.scorer import joined
from trainer_service.objectives.causal_prompt.text_states import (
    Context,
    States,
    StateStore,
    alike,
    batched,
)
from trainer_service.objectives.kept_results import KeptResults
from trainer_service.objectives.length_batches import similar_batches
from trainer_service.objectives.results import RowResults
from trainer_service.tasks.data import Row, Split, TaskData

log = structlog.get_logger(__name__)

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
        self._known = known or KeptResults()
        # All that decides the bits of a pass over tokens, besides these.
        self._pass_key = (model.digest, model.dtype, str(model.device), torch.get_num_threads())
        self._is_apart = inputs.is_after and state_bytes is not None
        limit = state_bytes or 0
        self._left = limit if self._is_apart else 0
        with memory_for(
            "compute the keys and values of the texts",
            f"set {PATH}.max_length, or start the trainer with a lower --state-cache-mib",
        ):
            self._opening: States | None = None
            if inputs.opening:
                (self._opening,) = self._shared_states([inputs.opening], 1)
            self._stores = {split: self._store(split) for split in (Split.TRAIN, Split.SELECTION)}
        self._can_fill = {split: self._reserve_fillers(split) for split in self._stores}
        if inputs.is_after and task.train:
            log.info(
                "text_states_kept",
                train_rows=self.kept_rows[Split.TRAIN],
                selection_rows=self.kept_rows[Split.SELECTION],
                all_rows=sum(map(self.size, self._stores)),
                bytes=limit - self._left,
                limit=limit,
            )
        self._filled: dict[Split, Sequence[States]] = {}
        self._unprompted = cache(self._shared_unprompted)
        # A prompt's score and its prior need the same.
        self._worded = lru_cache(maxsize=1)(self._prompted_by)

    @property
    def kept_rows(self) -> dict[Split, int]:
        """Number of rows whose texts' keys and values are kept; the others' are computed anew."""
        return {split: len(store) for split, store in self._stores.items()}

    # -- texts in front of the prompt ---------------------------------------------------------

    def _store(self, split: Split) -> StateStore:
        store = StateStore(
            self._ids[split],
            self._text_states,
            self._left,
            pass_limits.MOST_TOKENS,
            self._state_bytes if self._inputs.is_after else 0,
            self._shared_states,
        )
        self._left -= store.bytes
        return store

    def _shared_states(self, rows: Sequence[Sequence[int]], count: int) -> tuple[States, ...]:
        """Keys and values of the first rows of a batch, as this or an earlier run computed them.

        Rounding depends on a batch's rows, so they are known by all of them.
        """
        opening = None if self._opening is None else self._inputs.opening
        key = (self._pass_key, opening, rows, count)
        return self._known.get(key, lambda: self._text_states(rows)[:count])

    def _text_states(self, rows: Sequence[Sequence[int]]) -> list[States]:
        self._check()
        return self._scorer.states(rows, self._behind_opening(len(rows)))

    def _behind_opening(self, rows: int) -> Context | None:
        return None if self._opening is None else alike(self._opening, rows)

    def _states(self, split: Split, rows: Sequence[int]) -> list[States]:
        """Keys and values of rows' texts, for a prompt behind them."""
        return self._store_of(split).get(rows)

    def _store_of(self, split: Split) -> StateStore:
        if split not in self._stores:  # test rows, at the end of the run
            self._stores[split] = self._store(split)
            self._can_fill[split] = self._reserve_fillers(split)
        return self._stores[split]

    def _reserve_fillers(self, split: Split) -> bool:
        """Whether there is memory for fillers behind each text; for all rows of a split, or none.

        Decided before any is needed: what else is kept must not depend on when that is.
        """
        rows = self.size(split)
        if not self._inputs.is_after or len(self._stores[split]) < rows:
            return False
        needed = rows * self.shape[0] * self._state_bytes
        if needed > self._left:
            return False
        self._left -= needed
        return True

    @cached_property
    def _content_free(self) -> tuple[list[list[int]], Sequence[States]]:
        ids = [self._inputs.own_ids(row) for row in CONTENT_FREE]
        return ids, self._shared_states(ids, len(ids)) if self._inputs.is_after else ()

    # -- losses -------------------------------------------------------------------------------

    def logits(self, points: Tensor, split: Split, rows: Tensor) -> Tensor:
        """Log-probabilities of the labels [k, rows, classes]; see `ClassificationProblem`."""
        chosen = rows.tolist()
        ids = [self._ids[split][row] for row in chosen]
        return self._prompted(points, ids, partial(self._states, split, chosen))

    def _prompted(
        self,
        points: Tensor,
        ids: Sequence[Sequence[int]],
        states: Callable[[], Sequence[States]],
        fillers: Sequence[States] = (),
    ) -> Tensor:
        """Scores of the labels [k, rows, classes] behind prompts [k, tokens, width], rows, and
        fillers of each row."""
        count, rows = len(points), len(ids)
        prompts = self._scorer.prompts(points, rows)
        tail = self._scorer.repeated(self._scorer.tokens([self._inputs.tail]), count * rows)
        context: Context | None
        if self._is_apart:
            before = batched(states(), self._opening)
            context = (before.filled(fillers) if fillers else before).repeated(count)
            block = joined([prompts, tail])
        else:
            context = self._behind_opening(count * rows)
            texts = self._scorer.repeated(self._scorer.tokens(ids), count)
            is_after = self._inputs.is_after
            block = joined([texts, prompts, tail] if is_after else [prompts, texts])
        return self._scorer.scores(self._scorer.hidden(block, context)).view(count, rows, -1)

    def scored_logits(self, points: Tensor, split: Split, rows: Tensor) -> Tensor:
        """`logits`, interrupted by a request to stop. Words at the end of a prompt pass alone: what
        fills the positions in front of them does not depend on them either."""
        self._check()
        leading = self._leading_fillers(points)
        known = self._fillers(split) if any(leading) else ()
        if not known:
            return self.logits(points, split, rows)
        chosen = rows.tolist()
        ids = [self._ids[split][row] for row in chosen]
        states = partial(self._states, split, chosen)
        made = points.new_empty(len(points), len(chosen), len(self._inputs.tree.labels))
        for count in sorted(set(leading)):
            places = [place for place, found in enumerate(leading) if found == count]
            fillers = [known[row][..., :count, :] for row in chosen] if count else ()
            made[places] = self._prompted(points[places][:, count:], ids, states, fillers)
        return made

    def _leading_fillers(self, points: Tensor) -> list[int]:
        """Number of fillers at the beginning of each prompt; one position is left."""
        if not self._inputs.is_after:
            return [0] * len(points)
        filler = self._inputs.tokens.vectors[self._inputs.tokens.filler_id]
        same = (points[:, :-1] == filler).all(-1)
        found: list[int] = same.long().cumprod(1).sum(1).tolist()
        return found

    def _fillers(self, split: Split) -> Sequence[States]:
        """Keys and values of a whole prompt of fillers behind each row's text; empty if there is no
        memory for them."""
        if split not in self._filled:
            self._store_of(split)
            size, rows = self.shape[0], self._ids[split]
            made: dict[int, States] = {}
            if self._can_fill[split]:
                ids = [self._inputs.tokens.filler_id] * size
                for batch in similar_batches(
                    [len(row) for row in rows], pass_limits.MOST_TOKENS, size
                ):
                    made |= zip(batch, self._filled_states(split, batch, ids), strict=True)
            self._filled[split] = [made[row] for row in range(len(made))]
        return self._filled[split]

    def _filled_states(
        self, split: Split, rows: Sequence[int], ids: list[int]
    ) -> tuple[States, ...]:
        opening = None if self._opening is None else self._inputs.opening
        key = (self._pass_key, opening, [self._ids[split][row] for row in rows], ids)

        def compute() -> list[States]:
            self._check()
            context = batched(self._states(split, rows), self._opening)
            return self._scorer.states([ids] * len(rows), context)

        return self._known.get(key, compute)

    def batches(self, split: Split, rows: Tensor) -> Iterator[tuple[Tensor, int]]:
        """Rows of similar length, as many as memory allows."""
        sizes = [len(self._ids[split][row]) for row in rows.tolist()]
        behind, opening = self._own_tokens, len(self._inputs.opening)
        if not self._is_apart:
            for where, at_once in self._limits.batches(sizes, behind):
                yield torch.tensor(where, device=rows.device), at_once
            return
        most = self._limits.inputs(behind)
        for where in similar_batches(sizes, _MOST_CONTEXT // self._state_bytes, opening, most):
            held = len(where) * (opening + sizes[where[-1]]) * self._state_bytes
            at_once = min(most // len(where), _MOST_CONTEXT // max(held, 1))
            yield torch.tensor(where, device=rows.device), max(1, at_once)

    @property
    def _own_tokens(self) -> int:
        """Tokens that every input passes, whatever its row: the prompt, what follows it, and the
        inner nodes of the labels."""
        return self.shape[0] + len(self._inputs.tail) + len(self._inputs.tree.tokens)

    @cached_property
    def _state_bytes(self) -> int:
        """Bytes of one token's keys and values."""
        made: States = self._scorer.states([self._inputs.tokens.plain_ids("\n")[:1]])[0]
        return int(made.nbytes)

    def points_at_once(self, rows: Tensor) -> int:
        """See `Problem`."""
        longest = max(len(self._ids[Split.TRAIN][row]) for row in rows.tolist())
        if not self._inputs.is_after:
            return self._limits.differentiated(len(rows), self._own_tokens + longest)
        behind = len(self._inputs.opening) + longest
        return self._limits.differentiated(len(rows), self._own_tokens, behind * self._state_bytes)

    # -- calibration --------------------------------------------------------------------------

    def content_free_logits(self, points: Tensor) -> Tensor:
        """See `CalibratedProblem`."""
        ids, states = self._content_free
        return torch.cat([self._prompted(point[None], ids, lambda: states) for point in points])

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
        kept = len(self._store_of(split)) if self._goes_on(whole, split) else None
        key = (self._pass_key, self._inputs.opening, self._inputs.tree.labels, whole, own, kept)
        return InWords(*self._known.get(key, lambda: self._in_words(render, split)))

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
        context = batched(self._states(split, batch), self._opening)
        return self._scorer.hidden(self._scorer.tokens(rest), context)

    def _plain_hidden(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """See `LanguageModelProblem`."""
        return self._scorer.hidden(self._scorer.tokens(rows), self._behind_opening(len(rows)))
