"""Structured logging to standard error: console format on a terminal, JSON elsewhere.

Lines about a run have its ``run_id``, lines about a session its ``session_id``, and all lines of a
call its ``call_id``. With tracing enabled, lines also have the ``trace_id``.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from typing import TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from mentorgrad.outside_text import shown, without_secrets
from mentorgrad.wire import tracing


class _StandardError(io.TextIOBase):
    """Writes to the current `sys.stderr`, which may be replaced at any time.

    Ignores write errors (disk full, closed pipe): they must not make anything else fail.
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
        level: Minimum level.
        form: ``console``, ``json``, or ``auto``: console on a terminal, otherwise json.
        always: Fields added to every line, in all threads.
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
            *((_shown,) if on_terminal else ()),  # JSON escapes what is not ASCII
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=lambda *_: structlog.PrintLogger(_STANDARD_ERROR),
    )


def _without_secrets(logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
    """Masks secrets in a log line, for example in error messages of database drivers."""
    return {
        name: without_secrets(value) if isinstance(value, str) else value
        for name, value in line.items()
    }


def _shown(logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
    """Removes what a terminal would interpret in texts of callers; tracebacks keep their lines."""
    return {
        name: "\n".join(map(shown, value.split("\n"))) if isinstance(value, str) else value
        for name, value in line.items()
    }
