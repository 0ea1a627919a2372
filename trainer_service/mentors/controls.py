"""Controls: sources of proposals that use no LLM; they implement the `Mentor` protocol.

Randomness comes from the request's seed alone, so the same request gets the same answer.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, ClassVar

import torch
from torch import Tensor

from mentorgrad.domain.advice import (
    Answer,
    AnswerRecord,
    AnswerStatus,
    Batch,
    Outcomes,
    Proposal,
    ProposalKind,
    ProposalRequest,
    ProposalStatus,
    TaskCard,
    TokenHint,
    Wants,
)
from mentorgrad.domain.spec import RANDOM_SETTINGS
from mentorgrad.settings_space import Setting
from trainer_service.mentors.options import (
    Base,
    EditOptions,
    HintTokensOptions,
    PerturbOptions,
    RandomTokensOptions,
    RecombineOptions,
    read_options,
)
from trainer_service.protocols import Language, ProposalRejected, Scored
from trainer_service.tasks.wordings import wordings
from trainer_service.training_settings import space_of


@dataclass(frozen=True)
class Draw:
    """Inputs of drawing the proposals of a request, or one of them."""

    generator: torch.Generator
    """Seeded by the request; shared by its proposals."""
    base: Scored
    """Candidate that the proposal edits."""
    pool: Sequence[Scored]
    """The candidates so far."""
    request: ProposalRequest
    """The request."""
    index: int = 0
    """Index of the proposal, from 0."""


_NO_CARD = TaskCard()


class Control:
    """Base class of the controls; stateless between requests.

    Args:
        language: Draws random proposals and parameters.
        options: Options from the spec.
        card: The task, as a mentor would be shown it.

    Raises:
        InvalidInput: An option is invalid.
    """

    name: ClassVar[str]
    """Name in specs."""
    wants: ClassVar[Wants] = Wants(words=False)

    def __init__(
        self,
        language: Language,
        options: dict[str, Any] | None = None,
        card: TaskCard = _NO_CARD,
    ) -> None:
        self._language = language
        self._card = card
        self._options = read_options(self.name, options or {})

    def wait_open(self, timeout: float) -> bool:
        """Returns True: a control needs no session."""
        return True

    def observe(self, batch: Batch) -> None:
        """Does nothing: the request contains the pool."""

    def report(self, outcomes: Outcomes) -> None:
        """Does nothing."""

    def cancel(self) -> None:
        """Does nothing: `propose` answers at once."""

    def close(self) -> None:
        """Does nothing."""

    def propose(
        self, request: ProposalRequest, incumbent: Scored, pool: Sequence[Scored]
    ) -> Answer:
        """Draws the requested number of proposals, as edits of the base that the options name; the
        answer is unusable if there is nothing to draw."""
        began = time.monotonic()
        generator = torch.Generator().manual_seed(request.seed)
        options = self._options if isinstance(self._options, EditOptions) else EditOptions()
        base = incumbent
        if options.base is Base.BEST:
            base = min((incumbent, *pool), key=lambda scored: scored.candidate.score.loss)
        base_id = "" if base is incumbent else base.candidate.candidate_id
        try:
            drawn = list(self._all(Draw(generator, base, pool, request)))
        except ProposalRejected as rejected:
            return self._nothing(request, AnswerStatus.UNUSABLE, rejected.detail)
        proposals = tuple(
            replace(
                proposal,
                proposal_id=f"s{request.stage}/p{i + 1}",
                base_id=base_id,
                weight=_cycled(options.weight, i),
            )
            for i, proposal in enumerate(drawn)
        )
        duration = timedelta(seconds=time.monotonic() - began)
        record = AnswerRecord(mentor=self.name, seed=request.seed, duration=duration)
        return Answer(request.request_id, AnswerStatus.USABLE, proposals, (record,))

    def _all(self, draw: Draw) -> Iterable[Proposal]:
        """The proposals of a request, at most as many as it asks for."""
        return (self._draw(replace(draw, index=i)) for i in range(draw.request.count))

    def _draw(self, draw: Draw) -> Proposal:
        raise NotImplementedError

    def _nothing(self, request: ProposalRequest, status: AnswerStatus, detail: str) -> Answer:
        """An answer without proposals."""
        record = AnswerRecord(mentor=self.name, seed=request.seed)
        return Answer(request.request_id, status, (), (record,), detail)


def _cycled(values: Sequence[float], index: int) -> float:
    return values[index % len(values)]


class NoMentor(Control):
    """Proposes nothing; a run with it is plain training and sends it no requests."""

    name = "none"

    def propose(
        self, request: ProposalRequest, incumbent: Scored, pool: Sequence[Scored]
    ) -> Answer:
        """Refuses, so the run continues with the incumbent."""
        return self._nothing(request, AnswerStatus.REFUSED, "`none` proposes nothing")


class RandomTokens(Control):
    """Random whole words; a uniform random point for numeric objectives."""

    name = "random_tokens"

    def _draw(self, draw: Draw) -> Proposal:
        options: RandomTokensOptions = self._options
        return self._language.random_proposal(draw.generator, options.words)


class RandomInit(Control):
    """Random parameters that are not token embeddings."""

    name = "random_init"

    def _draw(self, draw: Draw) -> Proposal:
        drawn = self._language.random_parameters(draw.generator, draw.base.parameters)
        return Proposal(parameters=drawn.detach().cpu().numpy())


class Perturb(Control):
    """The base plus Gaussian noise; a text with some words replaced."""

    name = "perturb"

    def _draw(self, draw: Draw) -> Proposal:
        options: PerturbOptions = self._options
        point = draw.base.parameters.detach().cpu()
        scale = _cycled(options.scale, draw.index)
        moved = self._language.perturbed(point, scale, draw.generator)
        return Proposal(parameters=moved.cpu().numpy(), parents=(draw.base.candidate.candidate_id,))


class Recombine(Control):
    """Mixes the words (or numbers) of two of the best candidates, position by position; adapters
    section by section.

    With fewer than two different candidates, the second parent is a random proposal.
    """

    name = "recombine"

    def _draw(self, draw: Draw) -> Proposal:
        options: RecombineOptions = self._options
        generator = draw.generator
        parents = _best_by_text(draw.pool or (draw.base,), options.parents)
        chosen = [parents[i] for i in torch.randperm(len(parents), generator=generator)[:2]]
        ids = tuple(parent.candidate.candidate_id for parent in chosen)
        if self._language.sections:
            return Proposal(parameters=self._spliced(draw, chosen).numpy(), parents=ids)
        if self._language.constraints.kind is ProposalKind.NUMBERS:
            return Proposal(values=self._mixed_numbers(generator, chosen), parents=ids)
        words = [parent.candidate.text.split() for parent in chosen]
        if len(chosen) < 2:
            words.append(self._language.random_proposal(generator).text.split())
        # A space at the start, which counts in some languages, comes from the first parent.
        lead = " " if chosen[0].candidate.text.startswith(" ") else ""
        return Proposal(text=lead + " ".join(_mix(words[0], words[1], generator)), parents=ids)

    def _spliced(self, draw: Draw, chosen: Sequence[Scored]) -> Tensor:
        points = [parent.parameters.detach().cpu() for parent in chosen]
        if len(points) < 2:
            points.append(self._language.random_parameters(draw.generator, points[0]))
        sizes = torch.tensor(self._language.sections)
        first = _coins(len(sizes), draw.generator).repeat_interleave(sizes)
        return torch.where(first.view_as(points[0]), points[0], points[1])

    def _mixed_numbers(
        self, generator: torch.Generator, chosen: Sequence[Scored]
    ) -> tuple[float, ...]:
        points = [parent.parameters.detach().cpu().flatten() for parent in chosen]
        if len(points) < 2:
            drawn = self._language.random_proposal(generator)
            points.append(torch.tensor(drawn.values, dtype=torch.float32))
        first = _coins(points[0].numel(), generator)
        constraints = self._language.constraints
        mixed = torch.where(first, points[0], points[1])
        return tuple(mixed.clamp(constraints.lower, constraints.upper).tolist())


class HintTokens(Control):
    """Tokens that the gradient at the incumbent favours, drawn per position."""

    name = "hint_tokens"
    wants = Wants(words=False, hints=True)

    def propose(
        self, request: ProposalRequest, incumbent: Scored, pool: Sequence[Scored]
    ) -> Answer:
        """See `Control`; the answer is unusable if the request has no hints."""
        if request.hints:
            return super().propose(request, incumbent, pool)
        why = "no gradient hints: no step was left to compute them, or the gradient is not finite"
        return self._nothing(request, AnswerStatus.UNUSABLE, why)

    def _draw(self, draw: Draw) -> Proposal:
        words = [self._word(hint.tokens, draw.generator) for hint in draw.request.hints]
        return Proposal(text=self._language.word_lead + " ".join(words))

    def _word(self, tokens: Sequence[TokenHint], generator: torch.Generator) -> str:
        options: HintTokensOptions = self._options
        scores = torch.tensor([token.score for token in tokens], dtype=torch.float64)
        spread = float(scores.std(correction=0))
        if options.temperature is None or spread == 0.0:
            chances = torch.ones_like(scores)
        else:
            chances = torch.softmax(-scores / (options.temperature * spread), dim=0)
        return tokens[int(torch.multinomial(chances, 1, generator=generator))].token


class Description(Control):
    """The task's description and labels, in fixed wordings that a person would write.

    The same wordings for every request, from rich to short, those that do not fit the prompt last:
    they are refused when they are scored. If more proposals are asked for than there are wordings,
    there are no others.
    """

    name = "description"

    def propose(
        self, request: ProposalRequest, incumbent: Scored, pool: Sequence[Scored]
    ) -> Answer:
        """See `Control`; refuses if there is no description, or if proposals are numbers."""
        if self._language.constraints.kind is not ProposalKind.TEXT:
            why = "`description` proposes words, and this objective has none"
            return self._nothing(request, AnswerStatus.REFUSED, why)
        if not self._wordings:
            why = "the task has no description, no labels, or `mentor.hide_card` withholds them"
            return self._nothing(request, AnswerStatus.REFUSED, why)
        return super().propose(request, incumbent, pool)

    @property
    def _wordings(self) -> tuple[str, ...]:
        return wordings(self._card.description, self._card.labels)

    def _all(self, draw: Draw) -> Iterable[Proposal]:
        proposals = [Proposal(text=text) for text in self._wordings]
        return sorted(proposals, key=lambda p: not self._fits(p, draw.base))[: draw.request.count]

    def _fits(self, proposal: Proposal, base: Scored) -> bool:
        try:
            self._language.embed(proposal, base.parameters)
        except ProposalRejected:
            return False
        return True


class RandomSettings(Control):
    """Random settings of the gradient steps, within the schema: each value is drawn uniformly. They
    differ from each other and from those in effect, as long as there are others."""

    name = RANDOM_SETTINGS

    def propose(
        self, request: ProposalRequest, incumbent: Scored, pool: Sequence[Scored]
    ) -> Answer:
        """See `Control`; refuses if the objective has no settings."""
        if self._language.constraints.kind is ProposalKind.SETTINGS:
            return super().propose(request, incumbent, pool)
        why = f"`{self.name}` proposes settings, and this objective has none"
        return self._nothing(request, AnswerStatus.REFUSED, why)

    def _all(self, draw: Draw) -> Iterable[Proposal]:
        space = space_of(self._language.constraints)
        found: list[dict[str, Any]] = []
        for _ in range(_DRAWS * draw.request.count):
            drawn = {s.name: _drawn_value(s, draw.generator) for s in space.settings}
            if drawn not in found and drawn != draw.base.candidate.settings:
                found.append(drawn)
        if not found:
            raise ProposalRejected(ProposalStatus.DUPLICATE, "there are no other settings")
        return (Proposal(settings=settings) for settings in found[: draw.request.count])


_DRAWS = 16
"""Draws of settings per proposal; some repeat others."""


def _drawn_value(setting: Setting, generator: torch.Generator) -> Any:
    order = torch.randperm(len(setting.values), generator=generator).tolist()
    if setting.count is None:
        return setting.values[order[0]]
    return [setting.values[index] for index in sorted(order[: setting.count])]


def _best_by_text(pool: Sequence[Scored], count: int) -> list[Scored]:
    """The best candidates with different words, best first."""
    best: dict[str, Scored] = {}
    for scored in sorted(pool, key=lambda s: s.candidate.score.loss):
        if scored.candidate.text and len(best) < count:
            best.setdefault(scored.candidate.text, scored)
    return list(best.values())


def _coins(count: int, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator) < 0.5


def _mix(first: Sequence[str], second: Sequence[str], generator: torch.Generator) -> list[str]:
    """Picks each position from a random parent; skips it if that parent is too short."""
    length = max(len(first), len(second))
    mixed = []
    for i, from_first in enumerate(_coins(length, generator).tolist()):
        source = first if from_first else second
        if i < len(source):
            mixed.append(source[i])
    return mixed or list(first)


_CONTROLS: dict[str, type[Control]] = {
    cls.name: cls
    for cls in (
        *(NoMentor, RandomTokens, RandomInit, Perturb, Recombine, HintTokens, Description),
        RandomSettings,
    )
}


def build_control(
    name: str,
    language: Language,
    options: dict[str, Any] | None = None,
    card: TaskCard = _NO_CARD,
) -> Control:
    """Builds a control by name; `mentorgrad.domain.spec.CONTROLS` lists the names."""
    return _CONTROLS[name](language, options, card)
