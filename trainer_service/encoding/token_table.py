"""Tokens of a model: texts to token ids and back, and the vector of each token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor


class TokenTable:
    """The tokenizer and the word embeddings of a frozen model, whatever the model does with them.

    Args:
        tokenizer: A fast tokenizer of transformers.
        vectors: float32 [vocabulary, width]; frozen.
    """

    joint = " "
    """What stands between whole words, as `text_of` writes each, in a text."""
    word_lead = ""
    """What a text of whole words begins with, for the first to have the token that it has
    elsewhere."""

    def __init__(self, tokenizer: Any, vectors: Tensor) -> None:
        self._tokenizer = tokenizer
        self.vectors = vectors
        """float32 [vocabulary, width]; frozen."""
        self.start_id = _first(tokenizer, "cls", "bos", "eos")
        """Starts a text: CLS; in a causal language model BOS, or the end token without it."""
        self.end_id = _first(tokenizer, "sep", "eos")
        """Ends a text: SEP; in a causal language model the end token."""
        self.pad_id: int = tokenizer.pad_token_id or 0
        self.special_ids = frozenset(tokenizer.all_special_ids)
        self._plain = _plain_tokenizer(tokenizer)
        # Byte-level vocabularies have different tokens for a word after a space and at the start
        # of a text; a leading space gives every word of a prompt the same form.
        spaced, bare = (
            self._plain.encode(text, add_special_tokens=False).ids for text in (" word", "word")
        )
        self._lead = "" if spaced == bare else " "
        # CLIP's tokens mark the end of a word, which its decoder leaves as it is.
        self._word_end = getattr(self._plain.model, "end_of_word_suffix", None) or ""

    @property
    def width(self) -> int:
        """Length of a token's vector."""
        return self.vectors.shape[1]

    @property
    def filler_id(self) -> int:
        """Token for positions in front of a proposal's words that these do not fill: a full
        stop."""
        return self.token_ids(".")[0]

    def vocabulary(self) -> dict[str, int]:
        """Maps tokens, in the tokenizer's spelling, to ids; only those that have a vector."""
        known = self._tokenizer.get_vocab().items()
        return {token: index for token, index in known if index < len(self.vectors)}

    def token_ids(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens and without truncation."""
        return self.many_token_ids([text])[0]

    def many_token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """`token_ids` for many texts at once."""
        led = [self._lead + text.strip() for text in texts]
        encoded = self._plain.encode_batch(led, add_special_tokens=False)
        return [list(item.ids) for item in encoded]

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where the tokens of a text as it is begin and end, in characters."""
        return list(self._plain.encode(text, add_special_tokens=False).offsets)

    def input_size(self, text: str, pair: str = "") -> int:
        """Number of tokens of a whole input, with special tokens and without truncation."""
        return len(self._plain.encode(text, pair or None).ids)

    def shortened(self, text: str, count: int) -> str:
        """A text without its last `count` tokens; never ends within a character or with a space.
        What is left may tokenise to more tokens than it was part of."""
        starts = [begin for begin, _ in self.spans(text)]
        end = starts[-count] if count < len(starts) else 0
        return text[: min(end, len(text) - 1)].rstrip()

    def without_middle(self, text: str, count: int) -> str:
        """A text without `count` tokens in its middle, or more if it does not get shorter: half of
        the rest, or one more, stands in front, and half at the end. Where less than two are left,
        as `shortened`."""
        spans = self.spans(text)
        for left in range(len(spans) - count, 1, -1):
            begin, end = spans[(left + 1) // 2 - 1][1], spans[-(left // 2)][0]
            made = f"{text[:begin].rstrip()} {text[end:].lstrip()}"
            if begin <= end and len(made) < len(text):
                return made
        return self.shortened(text, count)

    def text_of(self, ids: Sequence[int]) -> str:
        """Decodes token ids."""
        return self.many_texts_of([ids])[0]

    def many_texts_of(self, many: Sequence[Sequence[int]]) -> list[str]:
        """`text_of` for many sequences at once."""
        texts = self._plain.decode_batch([list(ids) for ids in many], skip_special_tokens=False)
        if self._word_end:
            texts = [text.replace(self._word_end, " ") for text in texts]
        return [str(text).strip() for text in texts]


def _first(tokenizer: Any, *names: str) -> int:
    """Id of the first special token that the tokenizer has; 0 without any."""
    ids = (getattr(tokenizer, f"{name}_token_id") for name in names)
    return next((int(found) for found in ids if found is not None), 0)


def _plain_tokenizer(tokenizer: Any) -> Any:
    """A copy of the backend tokenizer without truncation and padding.

    It avoids the wrapper's overhead, because a vocabulary takes tens of thousands of calls.
    """
    from tokenizers import Tokenizer

    plain = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    plain.no_truncation()
    plain.no_padding()
    return plain
