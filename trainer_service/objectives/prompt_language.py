"""The language of the objectives that tune soft prompts: parameters as words, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from mentorgrad.domain.advice import PositionHints, Proposal, ProposalStatus
from mentorgrad.domain.objective import CausalPrompt, LabelPrompt, Placement, PromptTuning
from trainer_service.encoding.token_table import TokenTable
from trainer_service.objectives.initial_text import initial_text
from trainer_service.objectives.prompt_vocabulary import PromptVocabulary
from trainer_service.objectives.text_words import TextWords
from trainer_service.protocols import Embedded, Projected, ProposalRejected, RandomWords
from trainer_service.tasks.data import TaskData

CLASS_SEPARATOR = " | "
"""Separator between the classes' words if each class has its own prompt."""

Fill = Callable[[Tensor, torch.Generator], None]
"""Draws the part of a new parameter [*shape] that is no prompt, in place."""


class PromptLanguage:
    """Words of one soft prompt, or of one per class; see `trainer_service.protocols.Language`.

    A parameter of shape [rows, width] holds one prompt in its first rows; what else it holds (a
    classifier) is never changed by words. One of shape [classes, rows, width] holds a prompt per
    class.

    Args:
        spec: Length of the prompt, projection and initial text.
        tokens: The tokens of the tuned model.
        shape: Shape of a parameter.
        encode: Texts → embeddings of norm 1, float32 [texts, width].
        path: Path of the objective's fields in the request, for violations.
        task: The rows: initial texts and random words are made of them.
        fill: Draws the remaining part of an initial parameter.
        random_words: What random proposals are drawn from by default.
        default_start: What an empty `initial_text` stands for; empty: random words.
        start: Vectors that an initial prompt begins with (with the placement ``last``, ends with),
            [tokens, width], or one prompt per class; None: words.

    Raises:
        InvalidInput: `initial_text` is invalid, or the projection leaves no tokens.
    """

    has_words = True
    has_hints = True
    can_blend = True
    sections: tuple[int, ...] = ()

    def __init__(
        self,
        spec: LabelPrompt | PromptTuning | CausalPrompt,
        tokens: TokenTable,
        shape: tuple[int, ...],
        encode: Callable[[Sequence[str]], Tensor],
        path: str,
        task: TaskData,
        fill: Fill = lambda parameters, generator: None,
        random_words: RandomWords = RandomWords.VOCABULARY,
        default_start: str = "",
        start: Tensor | None = None,
    ) -> None:
        self._start, self._at_end = start, spec.projection.placement is Placement.LAST
        self._shape = shape
        self._size, self._width = spec.n_tokens, tokens.width
        self._prompts = shape[0] if len(shape) > 2 else 1
        self._encode = encode
        self._fill = fill
        self.word_lead = tokens.word_lead
        self._tokens, self._task = tokens, task
        self._random_words = random_words
        self._device = tokens.vectors.device
        self._words = PromptVocabulary(tokens, spec.n_tokens, spec.projection)

        def count(text: str) -> int:
            return len(tokens.token_ids(text))

        text = initial_text(spec, task, count, path, default_start)
        self._initial_ids = self._words.initial_ids(text, f"{path}.initial_text")
        self.constraints = self._words.constraints

    def _prompt(self, parameters: Tensor) -> Tensor:
        """A view [..., prompts, n_tokens, width] of parameters [..., *shape]."""
        prompt = parameters[..., : self._size, : self._width]
        return prompt if len(self._shape) > 2 else prompt.unsqueeze(-3)

    @property
    def _positions(self) -> int:
        return self._prompts * self._size

    # -- words of a parameter -----------------------------------------------------------------

    def project(self, parameters: Tensor) -> list[Projected]:
        """Projects [k, *shape] to words; fast for consecutive snapshots (`encoding.projection`)."""
        found = self._words.nearest(self._prompt(parameters).flatten(1, 2))
        return [
            Projected(text=self._text(ids), ids=tuple(ids), distance=distance)
            for ids, distance in zip(found.ids, found.distances, strict=True)
        ]

    def toward(self, start: Tensor, parameters: Tensor) -> list[str]:
        """Words nearest, by cosine, to the displacements of [k, *shape] from `start`."""
        begin, end = self._prompt(start).flatten(0, 1), self._prompt(parameters).flatten(1, 2)
        return [self._text(ids) for ids in self._words.toward(begin, end)]

    def _text(self, ids: Sequence[int]) -> str:
        parts = [ids[begin : begin + self._size] for begin in range(0, len(ids), self._size)]
        return CLASS_SEPARATOR.join(self._words.text(part) for part in parts)

    def hints(self, parameters: Tensor, gradient: Tensor, count: int) -> tuple[PositionHints, ...]:
        """See `Language`; hints cover the prompt alone."""
        return self._words.hints(self._prompt(parameters.detach()), self._prompt(gradient), count)

    def meanings(self, texts: Sequence[str], parameters: Tensor) -> Tensor:
        """The encoder's embeddings of the texts."""
        return self._encode(texts)

    # -- parameters ---------------------------------------------------------------------------

    def initial(self, generator: torch.Generator) -> Tensor:
        """Embeds `initial_text`; random whole words fill the remaining positions."""
        start = torch.zeros(self._shape, device=self._device)
        ids = self._words.random_ids(generator, self._positions)
        self._prompt(start).copy_(self._words.vectors(ids).view(-1, self._size, self._width))
        self._fill(start, generator)
        if self._start is not None:
            size, prompt = self._start.shape[-2], self._prompt(start)
            begin = self._size - size if self._at_end else 0
            prompt[:, :begin] = self._words.vectors([self._tokens.filler_id])
            prompt[:, begin : begin + size] = self._start.to(self._device)
        return self.embed_ids(self._initial_ids, start) if self._initial_ids else start

    def random_proposal(
        self, generator: torch.Generator, words: RandomWords | None = None
    ) -> Proposal:
        """Random whole words, the same for all classes: of the vocabulary, one for every position;
        of the train texts, as many as fit."""
        if (words or self._random_words) is RandomWords.TRAIN_TEXTS:
            return Proposal(text=self._text_words.draw(generator))
        return self._words.random_proposal(generator)

    @cached_property
    def _text_words(self) -> TextWords:  # made when first asked for: all texts are tokenised
        return TextWords(self._task.train_texts, self._tokens, self._size)

    def random_parameters(self, generator: torch.Generator, incumbent: Tensor) -> Tensor:
        """Samples normal noise with the per-coordinate mean and deviation of the whole words; keeps
        everything but the prompt."""
        drawn = incumbent.detach().clone()
        prompt = self._prompt(drawn)
        prompt.copy_(self._words.random_vectors(generator, prompt.shape))
        return drawn

    def perturbed(self, point: Tensor, scale: float, generator: torch.Generator) -> Tensor:
        """Adds noise relative to the standard deviation of the whole parameter."""
        noise = torch.randn(point.shape, generator=generator)
        return point + scale * float(point.std(correction=0)) * noise

    def embed_ids(self, ids: Sequence[int], incumbent: Tensor) -> Tensor:
        """Embeds ids at the first positions (of every prompt), or at all positions of all prompts.

        Raises:
            ProposalRejected: There are more ids than positions.
        """
        parts = [list(ids)]
        if len(ids) == self._positions:
            parts = [parts[0][i : i + self._size] for i in range(0, len(ids), self._size)]
        return self._place(parts, incumbent).parameters

    def embed(self, proposal: Proposal, incumbent: Tensor) -> Embedded:
        """Embeds words in the prompt, or raw parameters of the whole shape.

        With one prompt per class, ``words | words | ...`` sets each class's prompt, and words
        without a separator set all of them.

        Raises:
            ProposalRejected: The proposal is empty, too long or malformed.
        """
        if proposal.parameters is not None:
            return Embedded(self._raw(proposal), tuple(range(self._positions)))
        parts = [proposal.text]
        if self._prompts > 1 and CLASS_SEPARATOR.strip() in proposal.text:
            parts = proposal.text.split(CLASS_SEPARATOR.strip())
            if len(parts) != self._prompts:
                raise ProposalRejected(
                    ProposalStatus.MALFORMED,
                    f"got {len(parts)} parts for {self._prompts} classes",
                )
        return self._place([self._words.proposed_ids(part) for part in parts], incumbent)

    def _raw(self, proposal: Proposal) -> Tensor:
        raw = torch.from_numpy(np.array(proposal.parameters, dtype=np.float32))
        if tuple(raw.shape) != self._shape or not bool(torch.isfinite(raw).all()):
            raise ProposalRejected(
                ProposalStatus.MALFORMED,
                f"raw parameters must be finite and have shape {list(self._shape)}",
            )
        return raw.to(self._device)

    def _place(self, parts: Sequence[Sequence[int]], incumbent: Tensor) -> Embedded:
        """Writes token vectors into a copy of the incumbent: one part for all prompts, or one per
        prompt."""
        self._words.require_room(max(parts, key=len))
        placed = incumbent.detach().clone()
        prompt = self._prompt(placed)
        filled: list[int] = []
        for index, part in enumerate(parts if len(parts) > 1 else [*parts] * self._prompts):
            prompt[index, : len(part)] = self._words.vectors(part)
            filled.extend(range(index * self._size, index * self._size + len(part)))
        return Embedded(parameters=placed, filled=tuple(filled))
