"""What a worker tells its service once a second: one line of JSON on standard output."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mentorgrad.schema import bounded
from mentorgrad.serialization import from_dict, to_dict

SECONDS = 1.0
"""From one report to the next."""
MAX_ITEMS = 4_096
"""Most single figures of one report; more than a worker can make in a second."""


@dataclass(frozen=True)
class AnswerMetrics:
    """One answer of the run's mentor or control."""

    mentor: str = ""
    """Its name."""
    status: str = ""
    """What came of asking, for example ``usable``."""
    seconds: float = 0.0
    """How long it took."""


@dataclass(frozen=True)
class WorkerMetrics:
    """What happened since the last one; counts are of what the store holds by now."""

    steps: int = 0
    """Gradient steps of stages."""
    probe_steps: int = 0
    """Gradient steps of races."""
    evaluations: int = 0
    """Parameters scored on the selection split."""
    restarts: int = 0
    """Restarts that went on from a proposal."""
    usable_answers: int = 0
    """Answers with at least one proposal that could be scored."""
    fallbacks: int = 0
    """Times the fallback proposed instead."""
    prompt_tokens: int = 0
    """Tokens of the mentor's questions."""
    reply_tokens: int = 0
    """Tokens of its replies."""
    answers: tuple[AnswerMetrics, ...] = bounded((), max_length=MAX_ITEMS)
    """In order."""
    store_lags: tuple[float, ...] = bounded((), max_length=MAX_ITEMS)
    """Of each write: seconds from its oldest event to its end."""
    store_waiting: float = 0.0
    """Seconds that the write under way has taken so far; 0: there is none."""
    seconds: float = 0.0
    """Wall-clock time that this is about."""
    idle: float = 0.0
    """Of these, spent waiting for something other than the device."""

    def to_line(self) -> str:
        """The line, with its end."""
        return json.dumps({"report": to_dict(self)}) + "\n"


def parse(document: Mapping[str, Any]) -> WorkerMetrics:
    """The report in a line's document.

    Raises:
        InvalidInput: It is none.
    """
    return from_dict(WorkerMetrics, document)
