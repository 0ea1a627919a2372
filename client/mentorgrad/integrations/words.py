"""Conversion between soft prompts and words of a model's vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mentorgrad.domain.advice import ProposalStatus

__all__ = ["Rejected", "Words"]


class Rejected(Exception):
    """A proposal cannot be embedded. `status` is the proposal's outcome."""

    def __init__(self, status: ProposalStatus, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class Words:
    """The whole words of a model's vocabulary. Writes soft prompts as words and embeds words.

    Args:
        table: float [tokens, width]: the model's input embeddings; not modified.
        tokenizer: The model's tokenizer, with the interface of Hugging Face.
    """

    def __init__(self, table: Tensor, tokenizer: Any) -> None:
        self._table = table.detach()
        self._tokenizer = tokenizer
        spaced, bare = (self._encode([text])[0] for text in (" word", "word"))
        # Byte-level vocabularies have different tokens for a word after a space and at the start.
        self._lead = "" if spaced == bare else " "
        ids, self._words = self._whole_words()
        self._unit = functional.normalize(self._table[ids].float(), dim=-1)

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        found: list[list[int]] = self._tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return found

    def _whole_words(self) -> tuple[list[int], list[str]]:
        """Token ids and texts of the words: two or more letters, and a single token by itself."""
        special = set(self._tokenizer.all_special_ids)
        known = range(len(self._table))
        ids = sorted(set(self._tokenizer.get_vocab().values()) - special)
        ids = [token for token in ids if token in known]
        texts = [text.strip() for text in self._tokenizer.batch_decode([[i] for i in ids])]
        likely = [(i, t) for i, t in zip(ids, texts, strict=True) if len(t) > 1 and t.isalpha()]
        again = self._encode([self._lead + text for _, text in likely])
        kept = [pair for pair, back in zip(likely, again, strict=True) if back == [pair[0]]]
        return [token for token, _ in kept], [text for _, text in kept]

    def project(self, vectors: Tensor) -> str:
        """Returns the nearest words by cosine similarity, joined with spaces.

        Args:
            vectors: [positions, width].
        """
        directions = functional.normalize(vectors.detach().float(), dim=-1)
        nearest = (directions @ self._unit.T).argmax(-1)
        return " ".join(self._words[index] for index in nearest.tolist())

    def toward(self, start: Tensor, vectors: Tensor) -> str:
        """Returns the words nearest to the direction of movement, joined with spaces.

        Args:
            start: [positions, width], before the movement.
            vectors: [positions, width], after it. A position that did not move gives the word
                nearest to its vector.
        """
        moves = vectors.detach() - start.detach()
        still = (moves == 0).all(-1, keepdim=True)
        return self.project(torch.where(still, vectors.detach(), moves))

    def embed(self, text: str, around: Tensor) -> Tensor:
        """Embeds a text as a soft prompt.

        Args:
            text: Words.
            around: [positions, width]; positions that the text does not fill keep these vectors.

        Returns:
            [positions, width].

        Raises:
            Rejected: The text is empty or has more tokens than there are positions.
        """
        ids = self._encode([self._lead + text.strip()])[0] if text.strip() else []
        if not ids:
            raise Rejected(ProposalStatus.EMPTY, "it contains no words")
        if len(ids) > len(around):
            detail = f"it has {len(ids)} tokens; the prompt has {len(around)}"
            raise Rejected(ProposalStatus.TOO_LONG, detail)
        vectors = around.detach().clone()
        vectors[: len(ids)] = self._table[ids].to(vectors)
        return vectors
