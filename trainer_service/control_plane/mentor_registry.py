"""The mentors that this trainer knows by name, and the validation of a spec's choice of one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping

from mentorgrad.domain.advice import MentorInfo, ProposalKind
from mentorgrad.domain.spec import CONTROLS, MentorChoice
from mentorgrad.errors import InvalidInput, MentorgradError, PreconditionFailed, Violation
from trainer_service.control_plane.spec_rules import choice_violations
from trainer_service.mentors.options import BAD_OPTIONS, read_options

MentorProbe = Callable[[str], Awaitable[MentorInfo]]
"""Target → the mentor's info; raises `MentorgradError` if the mentor does not answer."""


class MentorRegistry:
    """The mentors that this trainer knows by name.

    Args:
        targets: Name → ``HOST:PORT``.
        probe: Fetches a mentor's info.
    """

    def __init__(self, targets: Mapping[str, str], probe: MentorProbe) -> None:
        self._targets = dict(targets)
        self._probe = probe

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all mentors and controls."""
        return (*self._targets, *CONTROLS)

    def once(self) -> MentorRegistry:
        """A registry that caches each mentor's answer, for many checks in one call."""
        asked: dict[str, asyncio.Future[MentorInfo]] = {}

        async def ask(target: str) -> MentorInfo:
            if target not in asked:
                asked[target] = asyncio.ensure_future(self._probe(target))
            return await asked[target]

        return MentorRegistry(self._targets, ask)

    async def states(self) -> dict[str, MentorInfo | None]:
        """Name → the mentor's info, or None if it does not answer now."""
        answers = await asyncio.gather(*map(self._ask, self._targets.values()))
        return dict(zip(self._targets, answers, strict=True))

    async def _ask(self, target: str) -> MentorInfo | None:
        try:
            return await self._probe(target)
        except MentorgradError:
            return None

    async def check(
        self,
        choice: MentorChoice,
        path: str = "spec.mentor",
        proposed: Collection[ProposalKind] = (),
    ) -> list[str]:
        """Validates a spec's choice of a mentor; returns warnings.

        Args:
            choice: The choice.
            path: Its path in the request.
            proposed: What the objectives take.

        Raises:
            InvalidInput: Unknown mentor (reason UNKNOWN_MENTOR) or strategy (UNKNOWN_STRATEGY), a
                strategy that cannot propose what an objective takes (UNSUPPORTED_KIND), or
                invalid options (BAD_OPTIONS).
            PreconditionFailed: The mentor is required and does not answer (MENTOR_UNAVAILABLE).
        """
        if choice.is_control:
            read_options(choice.name, choice.options, f"{path}.options")
            return []
        if choice.name not in self._targets:
            raise InvalidInput.field(
                f"{path}.name",
                f"{choice.name!r} is not known here; known: {', '.join(self.names)}",
                reason="UNKNOWN_MENTOR",
            )
        try:
            info = await self._probe(self._targets[choice.name])
        except MentorgradError as error:
            absent = f"the mentor {choice.name!r} does not answer: {error.message}"
            if choice.required:
                raise PreconditionFailed(absent, reason="MENTOR_UNAVAILABLE") from None
            return [absent]
        found = tuple(choice_violations(choice, info, path))
        if found:
            raise InvalidInput(violations=found, reason=_reason(found[0], path))
        for kind in proposed:
            _check_kind(choice, info, kind, f"{path}.strategy")
        return []


def _check_kind(choice: MentorChoice, info: MentorInfo, proposed: ProposalKind, path: str) -> None:
    """Raises InvalidInput if the strategy cannot propose what the objective takes."""
    able = {strategy.name: strategy.kinds for strategy in info.strategies}
    if proposed in (able[choice.strategy] or ProposalKind):
        return
    others = ", ".join(name for name, kinds in able.items() if proposed in kinds)
    raise InvalidInput.field(
        path,
        f"{choice.strategy} cannot propose {proposed.value}, which the objective takes; "
        f"those that can: {others or 'none of this mentor'}",
        reason="UNSUPPORTED_KIND",
    )


def _reason(first: Violation, path: str) -> str | None:
    if first.field == f"{path}.strategy":
        return "UNKNOWN_STRATEGY"
    return BAD_OPTIONS if first.field.startswith(f"{path}.options.") else None
