"""What an agent tells a worker about its run: one line of JSON on the worker's standard input."""

from __future__ import annotations

import json
from dataclasses import dataclass

from mentorgrad.domain.run import DesiredState
from mentorgrad.errors import InvalidInput
from mentorgrad.schema import bounded
from mentorgrad.serialization import from_dict, to_dict

_KEY = "word"


@dataclass(frozen=True)
class AgentWord:
    """The agent holds the run's lease, and something is wanted of the run."""

    run_id: str = bounded("", required=True)
    """The run."""
    attempt: int = bounded(1, ge=1)
    """Its attempt; words of others are ignored."""
    desired: DesiredState = DesiredState.RUN
    """What is wanted."""

    def to_line(self) -> bytes:
        """The word as one line of JSON, including the newline."""
        return json.dumps({_KEY: to_dict(self)}).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> AgentWord | None:
        """The inverse of `to_line`; None: the line is something else."""
        try:
            return from_dict(cls, json.loads(line)[_KEY])
        except (ValueError, TypeError, KeyError, InvalidInput):
            return None
