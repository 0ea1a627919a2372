"""The language of the objective whose parameter is a text: its characters are the parameter."""

from __future__ import annotations

import unicodedata
import zlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from mentorgrad.domain.advice import (
    Constraints,
    PositionHints,
    Proposal,
    ProposalKind,
    ProposalStatus,
)
from trainer_service.protocols import Embedded, Projected, ProposalRejected, RandomWords

_CHARACTERS_A_WORD = 7
"""Average length of an English word, with a space and some room."""
_RANDOM_WORDS = 8
"""Words of a random text, if so many fit."""
_WIDTH, _GRAM = 256, 3
"""Width of the embeddings of texts, and length of the character sequences that they count."""


def to_parameter(text: str, size: int) -> Tensor:
    """The code points of a text, float32 [size], with zeros behind them. Exact: float32 holds every
    integer up to 2^24, and code points have 21 bits."""
    points = [ord(character) for character in text]
    return functional.pad(torch.tensor(points, dtype=torch.float32), (0, size - len(points)))


def to_text(parameter: Tensor) -> str:
    """The inverse of `to_parameter`."""
    return "".join(chr(int(point)) for point in parameter.tolist() if point)


class TextLanguage:
    """Texts of one line; see `trainer_service.protocols.Language`.

    A parameter holds the code points of a text, float32 [characters], with zeros behind them. White
    space is a single space between words.

    Args:
        characters: Maximum length of a text.
        initial_text: The initial text; empty: random words.
        words: Words to draw random texts from; if none fits, "text" is drawn.
        device: Device of the parameters.
        has_room: Text → whether the tuned model has room for it.
    """

    has_words = False
    has_hints = False
    can_blend = False
    sections: tuple[int, ...] = ()
    word_lead = ""

    def __init__(
        self,
        characters: int,
        initial_text: str,
        words: Sequence[str],
        device: torch.device,
        has_room: Callable[[str], bool] = lambda text: True,
    ) -> None:
        self._characters = characters
        self._initial_text = " ".join(initial_text.split())
        fitting = [word for word in dict.fromkeys(words) if 0 < len(word) <= characters]
        self._words = fitting or ["text"]
        self._device = device
        self._has_room = has_room
        most = max(1, characters // _CHARACTERS_A_WORD)
        self.constraints = Constraints(
            kind=ProposalKind.TEXT, n_tokens=min(characters, 4096), max_words=min(most, 4096)
        )

    def initial(self, generator: torch.Generator) -> Tensor:
        """The initial text; without one, random words."""
        return self._parameter(self._initial_text or self._random_text(generator))

    def project(self, parameters: Tensor) -> list[Projected]:
        """The texts of [k, characters]; at no distance."""
        return [Projected(to_text(parameter), (), 0.0) for parameter in parameters]

    def toward(self, start: Tensor, parameters: Tensor) -> list[str]:
        """The texts of [k, characters]."""
        return [to_text(parameter) for parameter in parameters]

    def embed_ids(self, ids: Sequence[int], incumbent: Tensor) -> Tensor:
        """Returns a copy of the incumbent: there are no tokens.

        Raises:
            ProposalRejected: `ids` is not empty.
        """
        if ids:
            raise ProposalRejected(ProposalStatus.MALFORMED, "texts have no tokens here")
        return incumbent.detach().clone()

    def embed(self, proposal: Proposal, incumbent: Tensor) -> Embedded:
        """Takes the text of a proposal, or the code points of raw parameters. Nothing of the
        incumbent is kept; the filled positions are those of the words.

        Raises:
            ProposalRejected: The text is empty, too long, or contains control characters.
        """
        text = proposal.text
        if proposal.parameters is not None:
            text = self._raw(torch.tensor(proposal.parameters, dtype=torch.float32))
        text = " ".join(text.split())
        if not text:
            raise ProposalRejected(ProposalStatus.EMPTY, "it contains no words")
        if len(text) > self._characters:
            raise ProposalRejected(
                ProposalStatus.TOO_LONG,
                f"got {len(text)} characters, at most {self._characters} are allowed",
            )
        if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
            raise ProposalRejected(ProposalStatus.MALFORMED, "it contains control characters")
        if not self._has_room(text):
            raise ProposalRejected(
                ProposalStatus.TOO_LONG, "it has too many tokens for the tuned model's context"
            )
        return Embedded(self._parameter(text), tuple(range(text.count(" ") + 1)))

    def _raw(self, raw: Tensor) -> str:
        whole = tuple(raw.shape) == (self._characters,) and bool(torch.isfinite(raw).all())
        if not whole or bool(((raw < 0) | (raw > 0x10FFFF) | (raw != raw.round())).any()):
            raise ProposalRejected(
                ProposalStatus.MALFORMED,
                f"raw parameters must be {self._characters} code points, zeros behind the text",
            )
        return to_text(raw)

    def random_proposal(
        self, generator: torch.Generator, words: RandomWords | None = None
    ) -> Proposal:
        """Random words of the train texts, whatever `words` says: a served model's vocabulary is
        not known."""
        return Proposal(text=self._random_text(generator))

    def random_parameters(self, generator: torch.Generator, incumbent: Tensor) -> Tensor:
        """Random words, as those of `random_proposal`."""
        return self._parameter(self._random_text(generator))

    def perturbed(self, point: Tensor, scale: float, generator: torch.Generator) -> Tensor:
        """Each word is replaced by a random one with probability `scale`, but at least one is."""
        words = to_text(point).split()
        chances = torch.rand(len(words), generator=generator)
        for index in range(len(words)):
            if chances[index] < scale or index == int(chances.argmin()):
                words[index] = self._random_word(generator)
        return self._parameter(self._fitting(words))

    def hints(self, parameters: Tensor, gradient: Tensor, count: int) -> tuple[PositionHints, ...]:
        """Returns no hints: there are no gradients."""
        return ()

    def meanings(self, texts: Sequence[str], parameters: Tensor) -> Tensor:
        """Counts of the texts' character sequences, hashed, as unit vectors [k, 256]."""
        counts = torch.zeros(len(texts), _WIDTH)
        for row, text in zip(counts, texts, strict=True):
            padded = f" {text.casefold()} "
            for begin in range(max(1, len(padded) - _GRAM + 1)):
                row[zlib.crc32(padded[begin : begin + _GRAM].encode()) % _WIDTH] += 1.0
        return functional.normalize(counts, dim=-1).to(self._device)

    def _parameter(self, text: str) -> Tensor:
        return to_parameter(text, self._characters).to(self._device)

    def _random_text(self, generator: torch.Generator) -> str:
        return self._fitting([self._random_word(generator) for _ in range(_RANDOM_WORDS)])

    def _random_word(self, generator: torch.Generator) -> str:
        return self._words[int(torch.randint(len(self._words), (1,), generator=generator))]

    def _fitting(self, words: Sequence[str]) -> str:
        """As many of the words, joined, as the length allows; at least the first."""
        text = words[0]
        for word in words[1:]:
            if len(text) + 1 + len(word) <= self._characters:
                text = f"{text} {word}"
        return text
