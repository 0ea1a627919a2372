"""Tokens of a causal language model, whose prompts stand on a line of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from trainer_service.encoding.token_table import TokenTable

_SPACE_MARKS = ("Ġ", "▁")
"""How byte-level and SentencePiece vocabularies write the space in front of a word."""


class LineTokens(TokenTable):
    """Tokens of texts at the beginning of a line, as they stand in one string with the line.

    The first word of such a text has no space in front of it and the others have, so a space at the
    start of a text counts: the tokens of ``" good film"`` are ``" good"`` and ``" film"``. The
    filler is the line break.

    Args:
        tokenizer: A fast tokenizer of transformers.
        vectors: float32 [vocabulary, width]; frozen.
    """

    joint = ""
    word_lead = " "

    def __init__(self, tokenizer: Any, vectors: Tensor) -> None:
        super().__init__(tokenizer, vectors)
        self._line = self.plain_ids("\n")
        spaced = (
            index for name, index in self.vocabulary().items() if name.startswith(_SPACE_MARKS)
        )
        self._spaced = frozenset(spaced)

    @property
    def filler_id(self) -> int:
        """The line break."""
        return self._line[-1]

    def plain_ids(self, text: str) -> list[int]:
        """Token ids of a text as it is, without special tokens."""
        return list(self._plain.encode(text, add_special_tokens=False).ids)

    def continued_ids(self, beginning: str, text: str) -> list[int]:
        """Token ids of a text that continues another one, in one string with it.

        If the two are not divided between tokens, the text is tokenised alone.
        """
        whole, known = self.plain_ids(beginning + text), self.plain_ids(beginning)
        if whole[: len(known)] == known:
            return whole[len(known) :]
        return self.plain_ids(text)

    def many_token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of texts that each begin a line."""
        lines = [f"\n{text}" for text in texts]
        encoded = self._plain.encode_batch(lines, add_special_tokens=False)
        found = []
        for text, item in zip(texts, encoded, strict=True):
            ids = list(item.ids)
            is_apart = ids[: len(self._line)] == self._line
            found.append(ids[len(self._line) :] if is_apart else self.plain_ids(text))
        return found

    def many_texts_of(self, many: Sequence[Sequence[int]]) -> list[str]:
        """Decodes token ids; the filler at the start, which is no text, is left out."""
        bare = [self._without_filler(ids) for ids in many]
        texts = self._plain.decode_batch(bare, skip_special_tokens=False)
        return [self._led(ids, str(text)) for ids, text in zip(bare, texts, strict=True)]

    def _without_filler(self, ids: Sequence[int]) -> list[int]:
        begin = next((i for i, token in enumerate(ids) if token != self.filler_id), len(ids))
        return list(ids[begin:])

    def _led(self, ids: Sequence[int], text: str) -> str:
        """Some decoders drop the space in front of the first word."""
        is_spaced = bool(ids) and ids[0] in self._spaced
        return f" {text}" if is_spaced and not text.startswith(" ") else text
