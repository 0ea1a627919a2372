"""The language of adapters, which have no words: restarts are other parameters or settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
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
from mentorgrad.errors import InvalidInput
from mentorgrad.settings_space import SettingsSpace
from trainer_service.objectives.adapters.layout import HEAD, FlatLayout
from trainer_service.protocols import Embedded, Projected, ProposalRejected, RandomWords
from trainer_service.training_settings import TrainingSettings

MAX_SHOWN = 32
"""Maximum sections in a summary."""


class AdapterLanguage:
    """Adapters as summaries, and proposals of parameters, or of settings of the steps from an
    adapter on; see `trainer_service.protocols.Language`.

    A summary is the Euclidean norm of each tensor, section by section, for people who read the
    trajectory. Nothing can be read back from it.

    Args:
        layout: The tensors of a parameter.
        draw: Draws a random parameter [1, N], on the CPU.
        start: Puts what the spec starts from into a drawn parameter, in place.
        device: Device of the parameters.
        space: The settings that may be proposed.
    """

    has_words = False
    has_hints = False
    can_blend = True
    word_lead = ""

    def __init__(
        self,
        layout: FlatLayout,
        draw: Callable[[torch.Generator], Tensor],
        start: Callable[[Tensor], None],
        device: torch.device,
        space: SettingsSpace,
    ) -> None:
        self._layout, self._draw, self._start, self._device = layout, draw, start, device
        self._space = space
        self.constraints = Constraints(kind=ProposalKind.SETTINGS, settings_schema=space.schema)
        sections = layout.sections
        self.sections = tuple(sum(part.size for part in parts) for parts in sections.values())
        self._names = _short(list(sections))
        self._size = -(-len(self._names) // MAX_SHOWN)  # sections that share an entry

    def initial(self, generator: torch.Generator) -> Tensor:
        """The spec's start, or a random one."""
        drawn = self._draw(generator)
        self._start(drawn)
        return drawn.to(self._device)

    def project(self, parameters: Tensor) -> list[Projected]:
        """Summaries of [k, 1, N]."""
        return [Projected(text, (), 0.0) for text in self._summaries(parameters.detach())]

    def toward(self, start: Tensor, parameters: Tensor) -> list[str]:
        """Summaries of the displacements of [k, 1, N] from `start`."""
        return self._summaries(parameters.detach() - start.detach())

    def _summaries(self, points: Tensor) -> list[str]:
        views = self._layout.views(points)
        norms = torch.stack([part.flatten(1).norm(dim=1) for part in views.values()], dim=1)
        return [self._summary(of_point) for of_point in norms.tolist()]

    def _summary(self, norms: Sequence[float]) -> str:
        left, sections = iter(norms), self._layout.sections.values()
        grouped = [[next(left) for _ in parts] for parts in sections]
        entries = []
        for begin in range(0, len(grouped), self._size):
            names = self._names[begin : begin + self._size]
            some = grouped[begin : begin + self._size]
            count = min(map(len, some))
            sums = (sum(of[i] ** 2 for of in some) ** 0.5 for i in range(count))
            name = names[0] if len(names) == 1 else f"{names[0]}..{names[-1]}"
            entries.append(f"{name}={'/'.join(f'{norm:.3g}' for norm in sums)}")
        return " ".join(entries)

    # -- parameters ---------------------------------------------------------------------------

    def embed_ids(self, ids: Sequence[int], incumbent: Tensor) -> Tensor:
        """Returns a copy of the incumbent: there are no tokens.

        Raises:
            ProposalRejected: `ids` is not empty.
        """
        if ids:
            raise ProposalRejected(ProposalStatus.MALFORMED, "an adapter has no tokens")
        return incumbent.detach().clone()

    def embed(self, proposal: Proposal, incumbent: Tensor) -> Embedded:
        """Takes raw parameters, or settings.

        Raises:
            ProposalRejected: There are neither, or both; the parameters are not of this layout, or
                not finite; the settings are outside the schema.
        """
        if proposal.settings is not None:
            return Embedded(incumbent, (), self._checked(proposal, proposal.settings))
        if proposal.parameters is None:
            is_empty = not proposal.text.strip() and not proposal.values
            status = ProposalStatus.EMPTY if is_empty else ProposalStatus.MALFORMED
            raise ProposalRejected(status, "an adapter has neither words nor numbers to write")
        raw = torch.from_numpy(np.array(proposal.parameters, dtype=np.float32))
        if tuple(raw.shape) != self._layout.shape or not bool(torch.isfinite(raw).all()):
            raise ProposalRejected(
                ProposalStatus.MALFORMED,
                f"raw parameters must be finite and have shape {list(self._layout.shape)}",
            )
        return Embedded(raw.to(self._device), tuple(range(len(self.sections))))

    def _checked(self, proposal: Proposal, settings: TrainingSettings) -> TrainingSettings:
        if proposal.text or proposal.values or proposal.parameters is not None:
            raise ProposalRejected(
                ProposalStatus.MALFORMED, "settings come without words, numbers or parameters"
            )
        try:
            return self._space.checked(settings)
        except InvalidInput as error:
            raise ProposalRejected(ProposalStatus.OUT_OF_BOUNDS, error.message) from None

    def random_proposal(
        self, generator: torch.Generator, words: RandomWords | None = None
    ) -> Proposal:
        """Raises ProposalRejected: there are no words to draw."""
        raise ProposalRejected(ProposalStatus.MALFORMED, "an adapter has no words")

    def random_parameters(self, generator: torch.Generator, incumbent: Tensor) -> Tensor:
        """Draws an adapter as the initial one; what that begins with at 0 is drawn with the
        incumbent's size, so that the adapter differs from none as soon as the incumbent does. The
        classifier is the incumbent's."""
        drawn, old = self._draw(generator), incumbent.detach().cpu()
        olds = self._layout.views(old)
        for name, part in self._layout.views(drawn).items():
            if name.startswith(f"{HEAD}."):
                part.copy_(olds[name])
            elif not bool(part.any()):
                noise = torch.randn(part.shape, generator=generator)
                part.copy_(noise * olds[name].square().mean().sqrt())
        return drawn.to(incumbent.device)

    def perturbed(self, point: Tensor, scale: float, generator: torch.Generator) -> Tensor:
        """Adds noise relative to the standard deviation of each tensor."""
        moved = point.clone()
        for part in self._layout.views(moved).values():
            noise = torch.randn(part.shape, generator=generator)
            part.add_(scale * float(part.std(correction=0)) * noise)
        return moved

    def hints(self, parameters: Tensor, gradient: Tensor, count: int) -> tuple[PositionHints, ...]:
        """Returns no hints: there are no tokens."""
        return ()

    def meanings(self, texts: Sequence[str], parameters: Tensor) -> Tensor:
        """The parameters, scaled to norm 1."""
        return functional.normalize(parameters.detach().flatten(1), dim=-1)


def _short(sections: Sequence[str]) -> list[str]:
    """Names of sections without what comes before the number of the layer."""
    made = []
    for section in sections:
        words = section.split(".")
        first = next((index for index, word in enumerate(words) if word.isdigit()), 0)
        made.append(".".join(words[first:]))
    return made
