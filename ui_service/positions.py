"""How far a tab has read each of its runs: ``ID:SEQ`` for one, joined by commas for several."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from mentorgrad.errors import InvalidInput

Positions = Mapping[str, int]
"""Run ID → sequence number of the last event that the tab has."""

MAX_RUNS = 20
"""Maximum number of runs of a stream."""

_POSITION = re.compile(r"([A-Za-z0-9_-]{1,100}):(0|[1-9]\d{0,17})", re.ASCII)


def parse(items: Iterable[str], field: str = "run") -> Positions:
    """The positions that a request states.

    Args:
        items: One ``ID:SEQ`` each.
        field: What the request calls them.

    Raises:
        InvalidInput: One is malformed, a run is named twice, or there are none or too many.
    """
    found: dict[str, int] = {}
    for item in items:
        match = _POSITION.fullmatch(item)
        if match is None:
            raise InvalidInput.field(field, "must be ID:SEQ", reason="BAD_POSITION")
        if match[1] in found:
            raise InvalidInput.field(field, f"names {match[1]} twice", reason="BAD_POSITION")
        found[match[1]] = int(match[2])
        if len(found) > MAX_RUNS:
            said = f"must name at most {MAX_RUNS} runs"
            raise InvalidInput.field(field, said, reason="BAD_POSITION")
    if not found:
        raise InvalidInput.field(field, "must be given", reason="BAD_POSITION")
    return found


def resumed(stated: Positions, last_event_id: str) -> Positions:
    """Where a stream begins: what the browser sends when it reconnects wins over the address.

    Args:
        stated: Those of the address.
        last_event_id: Header ``Last-Event-ID``; empty: none.

    Raises:
        InvalidInput: The header is malformed, or is about other runs than the address.
    """
    if not last_event_id:
        return stated
    found = parse(last_event_id.split(","), "Last-Event-ID")
    if found.keys() != stated.keys():
        said = "is about other runs than the address"
        raise InvalidInput.field("Last-Event-ID", said, reason="BAD_POSITION")
    return {run_id: found[run_id] for run_id in stated}


def joined(positions: Positions) -> str:
    """The event id that says all positions."""
    return ",".join(f"{run_id}:{seq}" for run_id, seq in positions.items())
