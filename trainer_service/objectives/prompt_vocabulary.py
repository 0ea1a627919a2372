"""The words of soft prompts under one encoder: what every objective with a prompt has in common."""

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
from mentorgrad.domain.spec import Placement, Projection
from mentorgrad.errors import InvalidInput
from trainer_service.encoding.encoders import TextEncoder
from trainer_service.encoding.projection import Projections, Vocabulary, WordProjector
from trainer_service.protocols import ProposalRejected

_PADDING, _NEUTRAL = "a", "."
"""What fills the positions that a proposal leaves, behind it where it is padded and in front of it
where it stands last."""


class PromptVocabulary:
    """Words ↔ vectors of one soft prompt.

    Args:
        encoder: Whose tokens and word embeddings.
        n_tokens: Length of the prompt.
        projection: How vectors are written as words.
    """

    def __init__(self, encoder: TextEncoder, n_tokens: int, projection: Projection) -> None:
        self._encoder = encoder
        self._n_tokens = n_tokens
        self._placement = projection.placement
        self._vocabulary = Vocabulary.of(encoder, whole_words=True)
        in_full = (projection.first_id, projection.last_id) == (0, None)
        searched = (
            self._vocabulary
            if projection.whole_words and in_full
            else Vocabulary.of(
                encoder,
                whole_words=projection.whole_words,
                first_id=projection.first_id,
                last_id=projection.last_id,
            )
        )
        self._projector = WordProjector(
            encoder.word_embeddings,
            searched,
            projection.metric,
            encoder.text_of,
            apart=projection.pieces_apart,
        )
        self.constraints = Constraints(
            kind=ProposalKind.TEXT,
            n_tokens=n_tokens,
            # Rare words are several tokens long, so fewer words than tokens are asked for.
            max_words=max(1, n_tokens * 3 // 4),
        )
        """What a proposal must satisfy."""

    def ids(self, text: str) -> list[int]:
        """Token ids of words for one prompt.

        Raises:
            ProposalRejected: Empty, too long, or with a token that is no word.
        """
        ids = self._read(text)
        self.require_room(ids)
        return ids

    def proposed_ids(self, text: str) -> list[int]:
        """Token ids of a proposal's words, as the projection's `placement` puts them.

        Raises:
            ProposalRejected: Empty, with a token that is no word, or too long where that is not
                cut.
        """
        size = self._n_tokens
        if self._placement is Placement.PADDED:
            kept = [self._encoder.start_id, *self._read(text)][:size]
            return kept + self._encoder.token_ids(_PADDING)[:1] * (size - len(kept))
        ids = self.ids(text)
        if self._placement is Placement.LAST:
            return self._encoder.token_ids(_NEUTRAL)[:1] * (size - len(ids)) + ids
        if self._placement is Placement.REPEATED:
            return (ids * size)[-size:]
        return ids

    def _read(self, text: str) -> list[int]:
        ids = self._encoder.token_ids(text)
        if not ids:
            raise ProposalRejected(ProposalStatus.EMPTY, "no words")
        if self._encoder.special_ids.intersection(ids):
            raise ProposalRejected(
                ProposalStatus.MALFORMED, "holds characters or marks that are no words"
            )
        return ids

    def initial_ids(self, text: str, field: str) -> list[int]:
        """Token ids of the spec's `initial_text`, which stands at `field`; none for no text.

        Raises:
            InvalidInput: They are no words, or too many.
        """
        try:
            return self.ids(text) if text else []
        except ProposalRejected as rejected:
            raise InvalidInput.field(field, rejected.detail) from None

    def require_room(self, ids: Sequence[int]) -> None:
        """Checks that there are no more ids than positions.

        Raises:
            ProposalRejected: There are.
        """
        if len(ids) > self._n_tokens:
            raise ProposalRejected(
                ProposalStatus.TOO_LONG,
                f"has {len(ids)} tokens; at most {self._n_tokens} (n_tokens) are allowed",
            )

    def vectors(self, ids: Sequence[int] | Tensor) -> Tensor:
        """Token ids → word embeddings [ids, width]."""
        index = torch.as_tensor(ids, dtype=torch.int64)
        return self._encoder.word_embeddings[index.to(self._encoder.device)]

    def random_ids(self, generator: torch.Generator, count: int) -> Tensor:
        """int64 [count]: whole words, drawn alike."""
        words = self._vocabulary.ids
        return words[torch.randint(len(words), (count,), generator=generator)]

    def random_proposal(self, generator: torch.Generator) -> Proposal:
        """Random whole words for every position."""
        return Proposal(text=self.text(self.random_ids(generator, self._n_tokens).tolist()))

    def random_vectors(self, generator: torch.Generator, shape: Sequence[int]) -> Tensor:
        """[*shape], width last: normal, with the mean and spread that each coordinate has over the
        whole words."""
        spread, mean = torch.std_mean(self.vectors(self._vocabulary.ids), dim=0)
        noise = torch.randn(tuple(shape), generator=generator).to(self._encoder.device)
        return noise * spread + mean

    def hints(self, vectors: Tensor, gradient: Tensor, count: int) -> tuple[PositionHints, ...]:
        """The whole words that a gradient speaks for, by position; see `Objective.hints`.

        Args:
            vectors: float32 [prompts, positions, width]: the present ones.
            gradient: Of the loss, the same shape.
            count: Words a position.

        Returns:
            Scores summed over the prompts; none where the gradient is not finite.
        """
        if not bool(torch.isfinite(gradient).all()):
            return ()
        table = self.vectors(self._vocabulary.ids)
        here = (gradient * vectors).sum((0, -1))  # what the present vectors contribute
        scores = gradient.sum(0) @ table.T - here.unsqueeze(-1)
        best = torch.topk(scores, min(count, len(table)), largest=False)
        chosen = self._vocabulary.ids.to(best.indices.device)[best.indices].tolist()
        (current,) = self.nearest(vectors.mean(0, keepdim=True)).ids
        return tuple(
            PositionHints(
                position=position,
                current=self.text([current[position]]),
                tokens=tuple(
                    TokenHint(self.text([token]), score)
                    for token, score in zip(tokens, scored, strict=True)
                ),
            )
            for position, (tokens, scored) in enumerate(
                zip(chosen, best.values.tolist(), strict=True)
            )
        )

    def nearest(self, vectors: Tensor) -> Projections:
        """[k, positions, width] → the nearest tokens; cheap for consecutive snapshots."""
        return self._projector.nearest(vectors)

    def toward(self, start: Tensor, vectors: Tensor) -> list[list[int]]:
        """[positions, width], [k, positions, width] → tokens nearest to the displacements."""
        return self._projector.toward(start, vectors)

    def text(self, ids: Sequence[int]) -> str:
        """The text of tokens; whole words come back as the same tokens."""
        return self._projector.text(ids)
