"""Converts soft prompts to words and back; shared by the objectives that tune prompts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mentorgrad.domain.advice import (
    Constraints,
    PositionHints,
    Proposal,
    ProposalKind,
    ProposalStatus,
    TokenHint,
)
from mentorgrad.domain.objective import Placement, Projection
from mentorgrad.errors import InvalidInput
from trainer_service.encoding.projection import Projections, Vocabulary, WordProjector
from trainer_service.encoding.token_table import TokenTable
from trainer_service.objectives.initial_text import EMPTY
from trainer_service.protocols import ProposalRejected

_PADDING = "a"
"""Filler of the positions that a proposal leaves empty after it, for placement `PADDED`."""


class PromptVocabulary:
    """Converts between words, token ids and vectors of a soft prompt.

    Args:
        tokens: The model's tokens and their vectors.
        n_tokens: Length of the prompt.
        projection: Settings of the projection to words.
    """

    def __init__(self, tokens: TokenTable, n_tokens: int, projection: Projection) -> None:
        self._tokens = tokens
        self._n_tokens = n_tokens
        self._placement = projection.placement
        self._vocabulary = Vocabulary.of(tokens, whole_words=True)
        in_full = (projection.first_id, projection.last_id) == (0, None)
        searched = (
            self._vocabulary
            if projection.whole_words and in_full
            else Vocabulary.of(
                tokens,
                whole_words=projection.whole_words,
                first_id=projection.first_id,
                last_id=projection.last_id,
            )
        )
        self._projector = WordProjector(
            tokens, searched, projection.metric, apart=projection.pieces_apart
        )
        self.constraints = Constraints(
            kind=ProposalKind.TEXT,
            n_tokens=n_tokens,
            # Rare words take several tokens, so the limit on words is below the tokens.
            max_words=max(1, n_tokens * 3 // 4),
        )
        """Constraints that a proposal must satisfy."""

    def ids(self, text: str) -> list[int]:
        """Token ids of words for one prompt.

        Raises:
            ProposalRejected: The text is empty, too long or contains a special token.
        """
        ids = self._read(text)
        self.require_room(ids)
        return ids

    def proposed_ids(self, text: str) -> list[int]:
        """Token ids of a proposal's words, arranged by the projection's `placement`.

        Raises:
            ProposalRejected: The text is empty, contains a special token, or is too long and the
                placement does not truncate.
        """
        size = self._n_tokens
        if self._placement is Placement.PADDED:
            kept = [self._tokens.start_id, *self._read(text)][:size]
            return kept + self._tokens.token_ids(_PADDING)[:1] * (size - len(kept))
        ids = self.ids(text)
        if self._placement is Placement.LAST:
            return [self._tokens.filler_id] * (size - len(ids)) + ids
        if self._placement is Placement.REPEATED:
            return (ids * size)[-size:]
        return ids

    def _read(self, text: str) -> list[int]:
        ids = self._tokens.token_ids(text) if text.strip() else []
        if not ids:
            raise ProposalRejected(ProposalStatus.EMPTY, "it contains no words")
        if self._tokens.special_ids.intersection(ids):
            raise ProposalRejected(
                ProposalStatus.MALFORMED, "it contains unknown characters or special tokens"
            )
        return ids

    def initial_ids(self, text: str, field: str) -> list[int]:
        """Token ids of the spec's `initial_text`: fillers for ``empty``, none without text.

        Raises:
            InvalidInput: The text is invalid or too long; the violation names `field`.
        """
        if text == EMPTY:
            return [self._tokens.filler_id] * self._n_tokens
        try:
            return self.proposed_ids(text) if text else []
        except ProposalRejected as rejected:
            raise InvalidInput.field(field, rejected.detail) from None

    def require_room(self, ids: Sequence[int]) -> None:
        """Checks that the ids fit the prompt.

        Raises:
            ProposalRejected: There are more ids than positions.
        """
        if len(ids) > self._n_tokens:
            raise ProposalRejected(
                ProposalStatus.TOO_LONG,
                f"got {len(ids)} tokens, at most {self._n_tokens} are allowed",
            )

    def vectors(self, ids: Sequence[int] | Tensor) -> Tensor:
        """Word embeddings [ids, width] of token ids."""
        index = torch.as_tensor(ids, dtype=torch.int64)
        return self._tokens.vectors[index.to(self._tokens.vectors.device)]

    def random_ids(self, generator: torch.Generator, count: int) -> Tensor:
        """Samples whole words uniformly, int64 [count]."""
        words = self._vocabulary.ids
        return words[torch.randint(len(words), (count,), generator=generator)]

    def random_proposal(self, generator: torch.Generator) -> Proposal:
        """Random whole words for every position."""
        return Proposal(text=self.text(self.random_ids(generator, self._n_tokens).tolist()))

    def random_vectors(self, generator: torch.Generator, shape: Sequence[int]) -> Tensor:
        """Samples [*shape], width last: normal, with the per-coordinate mean and deviation of the
        whole words."""
        spread, mean = torch.std_mean(self.vectors(self._vocabulary.ids), dim=0)
        noise = torch.randn(tuple(shape), generator=generator).to(spread.device)
        return noise * spread + mean

    def hints(self, vectors: Tensor, gradient: Tensor, count: int) -> tuple[PositionHints, ...]:
        """Whole words that the gradient favours, by position; see `Language.hints`.

        Args:
            vectors: float32 [prompts, positions, width]: the current prompts.
            gradient: Gradient of the loss, same shape.
            count: Words per position.

        Returns:
            Hints with scores summed over the prompts; empty if the gradient is not finite.
        """
        if not bool(torch.isfinite(gradient).all()):
            return ()
        table = self.vectors(self._vocabulary.ids)
        here = (gradient * vectors).sum((0, -1))  # contribution of the current vectors
        scores = gradient.sum(0) @ table.T - here.unsqueeze(-1)
        best = torch.topk(scores, min(count, len(table)), largest=False)
        chosen = self._vocabulary.ids.to(best.indices.device)[best.indices].tolist()
        (current,) = self.nearest(vectors.mean(0, keepdim=True)).ids
        return tuple(
            PositionHints(
                position=position,
                current=self.text([current[position]]).strip(),
                tokens=tuple(
                    TokenHint(self.text([token]).strip(), score)
                    for token, score in zip(tokens, scored, strict=True)
                ),
            )
            for position, (tokens, scored) in enumerate(
                zip(chosen, best.values.tolist(), strict=True)
            )
        )

    def nearest(self, vectors: Tensor) -> Projections:
        """Nearest tokens of [k, positions, width]; fast for consecutive snapshots."""
        return self._projector.nearest(vectors)

    def toward(self, start: Tensor, vectors: Tensor) -> list[list[int]]:
        """Tokens nearest to the displacements of [k, positions, width] from `start`."""
        return self._projector.toward(start, vectors)

    def text(self, ids: Sequence[int]) -> str:
        """Text of token ids; text of whole words is tokenised to the same ids."""
        return self._projector.text(ids)
