"""Interface that tells what is new in many runs at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from mentorgrad.domain.run import RunState
from run_store.stored_events import StoredEvent


@dataclass(frozen=True)
class RunNews:
    """How far a run is, and its newest events."""

    last_seq: int
    """Seq of its last event."""
    state: RunState
    """Its state."""
    events: Sequence[StoredEvent]
    """The newest of the events that are new, in order, without raw tensors."""


class NewsReader(Protocol):
    """Reads what is new in runs."""

    def news(self, seen: Mapping[str, int], most: int) -> Mapping[str, RunNews]:
        """What is new in each of several runs; cheap enough to poll, since the number of queries
        does not depend on the number of runs.

        Args:
            seen: Run → seq of its last event that is known already.
            most: Maximum events per run, of which the newest are returned.

        Returns:
            Run → its news. A run that does not exist is left out.
        """
        ...
