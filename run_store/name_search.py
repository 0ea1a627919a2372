"""Search for names by a regular expression, with bounded work.

The automaton of a pattern is made deterministic as far as the names need it, so that a character
costs one look-up once its state is known, and never more than the size of the program. Names and
patterns of callers reach no engine that may take longer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mentorgrad.domain.name_pattern import Edge, Fork, NamePattern, OneOf

MAX_NAMES = 10_000
"""Maximum names that are looked at for a page."""

MAX_WORK = 1_000_000
"""Maximum instructions that are looked at for a page, to make states: about .3 s."""

_MAX_STATES = 1_000
"""States that are kept; with more, all are forgotten, which bounds memory."""


@dataclass
class _State:
    """Where the automaton may be."""

    places: frozenset[int]
    """Instructions that wait for a character or for the end."""
    is_match: bool
    """Whether the name matches, whatever follows."""
    is_match_at_end: bool
    """Whether it matches if it ends here."""
    after: dict[str, _State] = field(default_factory=dict)
    """Character → next state, as far as known."""


class NameMatcher:
    """Matches names. For one thread.

    Args:
        pattern: The pattern.
    """

    def __init__(self, pattern: NamePattern) -> None:
        self.work = 0
        """Instructions that were looked at so far."""
        self._program = pattern.program
        self._states: dict[frozenset[int], _State] = {}
        # A later beginning of the match: ^ does not hold there.
        self._anew = self._reached([0], is_begin=False)
        self._first = self._state(self._reached([0], is_begin=True), is_begin=True)

    def matches(self, name: str) -> bool:
        """Whether the pattern matches anywhere in a case-folded name."""
        state = self._first
        for character in name:
            if state.is_match:
                return True
            following = state.after.get(character)
            state = self._after(state, character) if following is None else following
        return state.is_match or state.is_match_at_end

    def _after(self, state: _State, character: str) -> _State:
        starts = [at + 1 for at in state.places if self._takes(at, character)]
        self.work += 1 + len(state.places)
        places = self._anew | self._reached(starts, is_begin=False)
        found = self._states.get(places)
        if found is None:
            if len(self._states) >= _MAX_STATES:
                self._states.clear()
                self._first.after.clear()
            found = self._states[places] = self._state(places, is_begin=False)
        state.after[character] = found
        return found

    def _takes(self, at: int, character: str) -> bool:
        instruction = self._program[at] if at < len(self._program) else None
        return isinstance(instruction, OneOf) and character in instruction

    def _state(self, places: frozenset[int], is_begin: bool) -> _State:
        end = len(self._program)
        at_end = end in places or end in self._reached(places, is_begin=is_begin, is_end=True)
        return _State(places, end in places, at_end)

    def _reached(
        self, starts: Iterable[int], *, is_begin: bool, is_end: bool = False
    ) -> frozenset[int]:
        """The instructions that are reached without a character."""
        seen, todo = set(starts), list(starts)
        while todo:
            at = todo.pop()
            for other in self._followers(at, is_begin, is_end):
                if other not in seen:
                    seen.add(other)
                    todo.append(other)
        self.work += len(seen)
        return frozenset(at for at in seen if self._waits(at))

    def _followers(self, at: int, is_begin: bool, is_end: bool) -> Iterator[int]:
        match self._program[at] if at < len(self._program) else None:
            case Fork(ways):
                yield from (at + way for way in ways)
            case Edge(at_end) if is_end if at_end else is_begin:
                yield at + 1

    def _waits(self, at: int) -> bool:
        instruction = self._program[at] if at < len(self._program) else None
        is_begin = isinstance(instruction, Edge) and not instruction.is_end
        return not isinstance(instruction, Fork) and not is_begin


@dataclass(frozen=True)
class NamesFound:
    """What a search has found."""

    runs: tuple[tuple[float, str], ...]
    """Key and run_id of the runs whose names match, at most as many as were asked for."""
    stopped_at: tuple[float, str] | None
    """Key and run_id of the run that was looked at last, if the search stopped at its bounds."""


def search(pattern: NamePattern, rows: Iterable[Iterable[Any]], most: int) -> NamesFound:
    """Looks at names until enough have matched, or a bound is reached.

    Args:
        pattern: The pattern.
        rows: Key, run_id and case-folded name of runs; read only as far as needed.
        most: Maximum runs to find.
    """
    matcher = NameMatcher(pattern)
    found: list[tuple[float, str]] = []
    last = None
    for looked, (key, run_id, name) in enumerate(rows):
        if looked == MAX_NAMES or matcher.work > MAX_WORK:
            return NamesFound(tuple(found), last)
        last = key, run_id
        if matcher.matches(name):
            found.append(last)
            if len(found) == most:
                break
    return NamesFound(tuple(found), None)
