"""Structured logs on standard error: lines for people on a terminal, JSON elsewhere.

What concerns a run says so by its ``run_id``, a session by its ``session_id``, and all that happens
in one call by its ``call_id``; where the process is traced, ``trace_id`` leads to the trace.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import sys
from typing import TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from mentorgrad.wire import tracing

_SECRETS = (
    (re.compile(r"(://[^\s:/@]*):[^\s/]+@"), r"\1:***@"),
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]+", re.I), r"\1 ***"),
    (re.compile(r"\b(password|token|api_?key|secret)(\s*[=:]\s*)[^\s,;&]+", re.I), r"\1\2***"),
)
"""What a secret looks like in a line, and what is written instead."""


class _StandardError(io.TextIOBase):
    """Standard error as it is at each line, since it may be replaced.

    A line that cannot be written, for a full disk or a reader that is gone, is no reason for
    anything else to fail.
    """

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.flush()


_STANDARD_ERROR = cast(TextIO, _StandardError())


def configure(level: str = "info", form: str = "auto", **always: str) -> None:
    """Sets up structlog for this process.

    Args:
        level: Least level that is written.
        form: ``console``, ``json``, or ``auto``: the one on a terminal, the other elsewhere.
        always: Facts that stand in every line, whichever thread writes it.
    """
    on_terminal = form == "console" or (form == "auto" and sys.stderr.isatty())
    renderer: Processor = (
        structlog.dev.ConsoleRenderer() if on_terminal else structlog.processors.JSONRenderer()
    )

    def add_facts(logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
        trace_id = tracing.current().trace_id
        return {**always, **({"trace_id": trace_id} if trace_id else {}), **line}

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            add_facts,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _without_secrets,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=lambda *_: structlog.PrintLogger(_STANDARD_ERROR),
    )


def _without_secrets(logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
    """The line as anybody may read it. Nobody logs a secret on purpose; a driver's error may."""
    return {name: _hidden(value) for name, value in line.items()}


def _hidden(value: object) -> object:
    if isinstance(value, str):
        for pattern, instead in _SECRETS:
            value = pattern.sub(instead, value)
    return value
