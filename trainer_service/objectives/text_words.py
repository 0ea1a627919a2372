"""Random prompts of words that occur in given texts."""

from __future__ import annotations

import bisect
import re
from collections.abc import Sequence

import torch

from mentorgrad.domain.advice import ProposalStatus
from trainer_service.encoding.token_table import TokenTable
from trainer_service.protocols import ProposalRejected

_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
"""Letters, with apostrophes and hyphens inside."""


class TextWords:
    """The distinct words of some texts, as they are spelled there.

    Words that take more tokens than a prompt has, or that the model does not know, are left out.

    Args:
        texts: The texts.
        tokens: The tokens of the tuned model.
        n_tokens: Length of a prompt.
    """

    def __init__(self, texts: Sequence[str], tokens: TokenTable, n_tokens: int) -> None:
        words = list(dict.fromkeys(word for text in texts for word in _WORD.findall(text)))
        # Where a space at the start of a text counts, all words get one: they then take as many
        # tokens at the start as elsewhere.
        self._lead = tokens.word_lead
        fitting = [
            (len(ids), word)
            for word, ids in zip(
                words, tokens.many_token_ids([self._lead + word for word in words]), strict=True
            )
            if len(ids) <= n_tokens and not tokens.special_ids.intersection(ids)
        ]
        fitting.sort(key=lambda pair: pair[0])
        self._lengths = [length for length, _ in fitting]
        self._words = [word for _, word in fitting]
        self._n_tokens = n_tokens

    def draw(self, generator: torch.Generator) -> str:
        """Draws words until no word fits the remaining tokens. Each is drawn uniformly from the
        words that fit at its place, whatever their frequency.

        Raises:
            ProposalRejected: No word of the texts fits a prompt.
        """
        drawn: list[str] = []
        room = self._n_tokens
        while fitting := bisect.bisect_right(self._lengths, room):
            index = int(torch.randint(fitting, (1,), generator=generator))
            drawn.append(self._words[index])
            room -= self._lengths[index]
        if not drawn:
            raise ProposalRejected(
                ProposalStatus.EMPTY,
                f"the train texts have no word of at most {self._n_tokens} tokens",
            )
        return self._lead + " ".join(drawn)
