"""A frozen encoder with an adapter, and a linear head.

A parameter is the flat layout of the adapter's tensors and the head's (`layout`). Dropout is off,
so a loss depends on the parameters and the rows alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mentorgrad.domain.objective import Readout
from mentorgrad.domain.spec import LongTexts
from mentorgrad.schema import snake_case
from trainer_service.costs import RowCosts
from trainer_service.encoding.embedding_cache import EmbeddingCache
from trainer_service.encoding.encoders import TextEncoder
from trainer_service.objectives.adapters.adapted_problem import AdaptedProblem
from trainer_service.objectives.adapters.adapter import Adapter
from trainer_service.objectives.adapters.language_model_inputs import AdapterSpec
from trainer_service.objectives.adapters.layout import HEAD_BIAS, HEAD_WEIGHT
from trainer_service.objectives.classification import ClassificationProblem
from trainer_service.objectives.linear_head import random_head
from trainer_service.objectives.long_texts import encoder_room, fitted_task
from trainer_service.objectives.token_batches import (
    MOST_DIFFERENTIATED,
    TokenBatch,
    TokenRows,
    most_tokens,
)
from trainer_service.tasks.data import Split, TaskData


class AdapterProblem(AdaptedProblem, ClassificationProblem):
    """Losses of an adapter and a linear classifier.

    Args:
        spec: Readout, maximum input length, scale of the head.
        adapter: The adapter.
        task: The sampled rows.
        encoder: The frozen encoder; the parameters are kept on its device.
        costs: Forward rows of a pass.
        cache: Cache of text embeddings.
        check: Called between batches when scoring; may raise to abort.
        long_texts: What happens to texts that are too long.

    Raises:
        InvalidInput: A text is too long, and that is an error.
    """

    feature = "the embedding of the text without an adapter, of norm 1"
    start_remedy = "try another start or seed"

    def __init__(
        self,
        spec: AdapterSpec,
        adapter: Adapter,
        task: TaskData,
        encoder: TextEncoder,
        costs: RowCosts,
        cache: EmbeddingCache,
        check: Callable[[], None] = lambda: None,
        long_texts: LongTexts = LongTexts.TRUNCATE,
    ) -> None:
        super().__init__(task, encoder.device)
        self._spec, self._encoder, self.costs = spec, encoder, costs
        self._cache, self._check, self._long_texts = cache, check, long_texts
        head = {
            HEAD_WEIGHT: (len(task.labels), encoder.hidden_size),
            HEAD_BIAS: (len(task.labels),),
        }
        self._adapt(adapter, head)
        path = f"spec.objective.{snake_case(type(spec).__name__)}"
        self.start_remedy = encoder.start_remedy(f"{path}.dtype") or self.start_remedy
        room = min(spec.max_length, encoder.max_tokens) - adapter.beside
        fitted, self.cut_texts = fitted_task(
            task, encoder_room(encoder, long_texts, room, joined=False)
        )
        self._rows = {split: TokenRows(fitted.rows(split), encoder, room) for split in Split}
        self.train_lengths = self._rows[Split.TRAIN].sizes(torch.arange(len(task.train)))

    def batch_logits(self, points: Tensor, batch: TokenBatch) -> Tensor:
        """Logits [k, rows, classes] of parameters [k, 1, N]; differentiable."""
        parts, count = self.layout.views(points), len(points)
        mask, beside = batch.mask.repeat(count, 1), self._adapter.beside

        def run(cache: Any) -> Tensor:
            inputs = {"input_ids": batch.ids.repeat(count, 1)}
            if batch.segments is not None:
                inputs["token_type_ids"] = batch.segments.repeat(count, 1)
            if cache is None:
                return self._encoder.hidden(mask, **inputs)
            seen = functional.pad(mask, (beside, 0), value=1)
            return self._encoder.hidden(seen, past_key_values=cache, **inputs)

        read = self._read(self._adapter.hidden(parts, len(batch.ids), run), mask)
        weight, bias = (parts[name] * self._spec.head_scale for name in (HEAD_WEIGHT, HEAD_BIAS))
        rows = read.view(count, len(batch.ids), -1)
        return torch.baddbmm(bias.unsqueeze(1), rows, weight.mT)

    def _read(self, hidden: Tensor, mask: Tensor) -> Tensor:
        if self._spec.readout is not Readout.MEAN:
            return hidden[:, 0]
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * weights).sum(1) / weights.sum(1)

    def logits(self, points: Tensor, split: Split, rows: Tensor) -> Tensor:
        """Logits [k, rows, classes]; see `ClassificationProblem`."""
        return self.batch_logits(points, self._rows[split].take(rows))

    def scored_logits(self, points: Tensor, split: Split, rows: Tensor) -> Tensor:
        """`logits`, interrupted by a request to stop."""
        self._check()
        return self.logits(points, split, rows)

    def batches(self, split: Split, rows: Tensor) -> Iterator[tuple[Tensor, int]]:
        """Rows of similar length, as many as `most_tokens` allows."""
        spent, most = self._adapter.beside, most_tokens(self.device)
        for where, longest in self._rows[split].batches(rows, most, spent):
            yield where, max(1, most // (len(where) * (longest + spent)))

    def points_at_once(self, rows: Tensor) -> int:
        """See `Problem`."""
        longest = self._rows[Split.TRAIN].longest(rows) + self._adapter.beside
        return MOST_DIFFERENTIATED // (len(rows) * longest)

    def features(self, split: Split) -> Tensor:
        """The encoder's embeddings of the texts without an adapter, of norm 1."""
        most = self._encoder.max_text_tokens
        room = encoder_room(self._encoder, self._long_texts, most, joined=True)
        rows, _ = room.fitted(self.task.rows(split), split)
        return self._encoder.embed([row.joined for row in rows], self._cache)

    # -- parameters ---------------------------------------------------------------------------

    def draw(self, generator: torch.Generator) -> Tensor:
        """A random parameter [1, N] with a small head, on the CPU."""
        drawn = super().draw(generator)
        weight = self.layout.views(drawn)[HEAD_WEIGHT]
        classes, width = weight.shape
        weight.copy_(random_head(classes, width, self._spec.head_scale, generator))
        return drawn

    def named(self, point: Tensor) -> dict[str, Tensor]:
        """The tensors of a parameter [1, N] as the model has them: the head's with its scale."""
        parts = self.layout.views(point.detach())
        heads = {name: parts[name] * self._spec.head_scale for name in (HEAD_WEIGHT, HEAD_BIAS)}
        return parts | heads
