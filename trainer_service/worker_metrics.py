"""The metrics that a worker reports to its service: one line of JSON per second on its stdout."""

from __future__ import annotations

import json
from dataclasses import dataclass

from mentorgrad.schema import bounded
from mentorgrad.serialization import to_dict

SECONDS = 1.0
"""Seconds between two reports."""
MAX_ITEMS = 4_096
"""Maximum length of a list in a report; more than a worker can produce in a second."""


@dataclass(frozen=True)
class AnswerMetrics:
    """One answer of the run's mentor or control."""

    mentor: str = ""
    """Name of the mentor or control."""
    status: str = ""
    """Status of the answer, for example ``usable``."""
    seconds: float = 0.0
    """Time from the request to the answer."""


@dataclass(frozen=True)
class WorkerMetrics:
    """One report: changes since the previous one. Counts cover stored events only."""

    steps: int = 0
    """Gradient steps in stages."""
    probe_steps: int = 0
    """Gradient steps in races."""
    evaluations: int = 0
    """Parameters scored on the selection split."""
    restarts: int = 0
    """Restarts from a proposal."""
    usable_answers: int = 0
    """Answers with at least one proposal that could be scored."""
    fallbacks: int = 0
    """Times that the fallback proposed instead of the mentor."""
    prompt_tokens: int = 0
    """Tokens of the questions to the LLM."""
    reply_tokens: int = 0
    """Tokens of the LLM's replies."""
    answers: tuple[AnswerMetrics, ...] = bounded((), max_length=MAX_ITEMS)
    """Answers, in order."""
    store_lags: tuple[float, ...] = bounded((), max_length=MAX_ITEMS)
    """For each write, seconds from its oldest event until it was stored."""
    store_waiting: float = 0.0
    """Seconds that the write in progress has taken so far; 0 without one."""
    seconds: float = 0.0
    """Wall-clock seconds that this report covers."""
    idle: float = 0.0
    """Seconds of these spent waiting for something other than the device."""

    def to_line(self) -> str:
        """The report as one line of JSON, including the newline."""
        return json.dumps({"report": to_dict(self)}) + "\n"
