"""Questions of strategies, before they are adapted to the profile and the context length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mentor_service.grammars import Slot
from mentor_service.parsing import Check, ParsedProposal
from mentor_service.prompts import LineKind, Message, QuestionFacts
from mentorgrad.domain.run import Candidate

TOKENS_A_WORD = 4
"""Tokens reserved per word; generous, since rare words take several tokens."""

Write = Callable[[QuestionFacts], Message]
"""Writes the prompt of a question."""

WriteLine = Callable[[QuestionFacts, LineKind], Message]
"""Writes a text that ends where the next line of a kind begins, and the instruction of a chat that
stands in for it. The facts' `count` is the number of example tasks."""


def _no_objection(found: ParsedProposal) -> str:
    return ""


@dataclass(frozen=True)
class Draft:
    """A question of a strategy, before it is adapted to the profile and the context length."""

    write: Write
    """Writes the prompt; a pure function, called again with fewer candidates if it was too long."""
    shown: tuple[Candidate, ...] = ()
    """Candidates to show, worst first. The first ones are dropped if the question is too long;
    content that must not be dropped belongs in `write` itself."""
    parents: tuple[str, ...] | None = None
    """Ids of the proposals' parent candidates; None: the candidates shown."""
    base_id: str = ""
    """Candidate that the proposals are edits of; empty: the incumbent. The option ``base``
    overrides it."""
    patterns: tuple[tuple[Slot, ...], ...] = ()
    """Patterns of a line, for profiles with grammars; empty: any words."""
    check: Check = _no_objection
    """Additional check of proposals that satisfy the constraints."""
    heat: float = 0.0
    """Added to the temperature."""
    samples: int = 1
    """Minimum number of replies; the option ``samples`` overrides it."""
    next_line: WriteLine | None = None
    """Writes the text to continue instead, where `Conversation.continues`; each reply is then one
    proposal. None: the strategy always asks by `write`."""


@dataclass
class Size:
    """Size of a question; reduced while the question is too long."""

    shown: int
    lines: int  # per reply; of a text to continue, its example tasks
    extras: bool = True

    def of(self, shown: Sequence[Candidate]) -> Sequence[Candidate]:
        """The candidates to show, of those given worst first."""
        return shown[len(shown) - self.shown :]

    def shrink(self) -> bool:
        """Reduces the size; False if it is already minimal."""
        if self.shown:
            self.shown //= 2
        elif self.extras:
            self.extras = False
        elif self.lines > 1:
            self.lines //= 2
        else:
            return False
        return True
