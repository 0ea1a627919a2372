"""A model that is for one thread, behind a bounded line of questions.

The thread loads the model, owns it and answers one question after the other. What nobody waits
for any more is taken out of the line, or stopped if it is under way.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Generic, Protocol, TypeVar

import structlog

from mentor_service.protocols import Question, Reply
from mentorgrad.errors import (
    DeadlineExceeded,
    MentorgradError,
    ResourceExhausted,
    Unavailable,
)

log = structlog.get_logger(__name__)


_STUCK_SECONDS = 30.0
"""An engine looks at the time before every step, so this long after it something is wrong."""

_PROBE = Question("", "Hello", "", None, max_tokens=1, temperature=0.0, seed=0)
_PROBE_SECONDS = 10.0


class Interrupted(Exception):
    """Nobody waits for this answer any more."""


@dataclass(frozen=True)
class Generated:
    """What an engine gives."""

    texts: tuple[str, ...]
    """Untouched, one a sample."""
    prompt_tokens: int
    """Tokens of the question."""
    evaluated_tokens: int
    """Those that no cache had."""
    reply_tokens: int
    """Tokens of all replies."""
    finish_reasons: tuple[str, ...]
    """See `mentor_service.protocols.Reply`, one a sample."""


class Engine(Protocol):
    """A model for one thread."""

    context: int
    """Longest question and reply together, in tokens."""

    def generate(self, question: Question, check: Callable[[], None]) -> Generated:
        """Answers; calls `check` before every step, which raises when it should stop."""
        ...

    def close(self) -> None:
        """Frees the model."""
        ...


E = TypeVar("E", bound=Engine)


@dataclass(eq=False)
class _Job:
    """One question in the line."""

    question: Question
    asked: float
    deadline: float
    future: Future[Reply] = field(default_factory=Future)
    asker: Context = field(default_factory=copy_context)
    """Which session asks, for the log."""
    abandoned: bool = False

    def check(self) -> None:
        if self.abandoned or time.monotonic() >= self.deadline:
            raise Interrupted


class ThreadedBackend(Generic[E]):
    """See the module. Safe to use from any thread or loop.

    Args:
        model: Reference that is reported.
        load: Makes the engine; called in the worker thread, and its errors are raised here.
        queue_limit: Questions that may wait.
    """

    def __init__(self, model: str, load: Callable[[], E], queue_limit: int) -> None:
        self.model = model
        self._queue_limit = queue_limit
        self._line: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._present: _Job | None = None
        self._is_failing = False
        self._seconds = 1.0  # of a recent answer, for the hint when to try again
        loaded: Future[E] = Future()
        self._thread = threading.Thread(
            target=self._work, args=(loaded, load), name=type(self).__name__, daemon=True
        )
        self._thread.start()
        self.engine = loaded.result()
        """For reading what was loaded; using it is the thread's business."""
        self.context_tokens = self.engine.context

    @property
    def waiting(self) -> int:
        """Questions in the line."""
        return len(self._line)

    async def ask(self, question: Question, timeout: float) -> Reply:
        """See `mentor_service.protocols.Backend`."""
        now = time.monotonic()
        job = _Job(question, asked=now, deadline=now + timeout)
        with self._changed:
            if self._closed:
                raise Unavailable("the model was unloaded")
            if len(self._line) >= self._queue_limit:
                raise ResourceExhausted(
                    f"{len(self._line)} questions wait already",
                    retry_after=self._seconds * (len(self._line) + 1),
                    reason="MENTOR_BUSY",
                )
            self._line.append(job)
            self._changed.notify()
        try:
            async with asyncio.timeout(timeout):
                return await asyncio.wrap_future(job.future)
        except TimeoutError:
            raise DeadlineExceeded(f"the model did not answer within {timeout:.1f} s") from None
        finally:
            self._abandon(job)

    def _abandon(self, job: _Job) -> None:
        job.abandoned = True
        with self._changed, contextlib.suppress(ValueError):
            self._line.remove(job)

    async def check(self) -> None:
        """Raises `Unavailable` when the worker thread is gone or stuck in an answer, or when the
        model failed in its last one and does so again."""
        if self._closed or not self._thread.is_alive():
            raise Unavailable("the model was unloaded")
        present = self._present
        if present is not None and time.monotonic() > present.deadline + _STUCK_SECONDS:
            raise Unavailable("the model does not come back from a question whose time is over")
        if self._is_failing:
            await self.ask(_PROBE, _PROBE_SECONDS)

    async def close(self) -> None:
        """Ends the present answer, refuses the waiting ones and frees the model."""
        with self._changed:
            self._closed = True
            waiting, self._line = self._line, deque()
            self._changed.notify()
        for job in waiting:
            _fail(job, Unavailable("the model was unloaded"))
        await asyncio.to_thread(self._thread.join)

    # -- the worker thread --------------------------------------------------------------------

    def _work(self, loaded: Future[E], load: Callable[[], E]) -> None:
        try:
            engine = load()
        except BaseException as error:
            loaded.set_exception(error)
            return
        loaded.set_result(engine)
        try:
            while (job := self._next()) is not None:
                job.asker.run(self._answer, engine, job)
        finally:
            engine.close()

    def _next(self) -> _Job | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._line)
            return None if self._closed else self._line.popleft()

    def _answer(self, engine: E, job: _Job) -> None:
        def check() -> None:
            job.check()
            if self._closed:
                raise Unavailable("the model was unloaded")

        started = time.monotonic()
        self._present = job
        try:
            check()
            said = engine.generate(job.question, check)
        except Interrupted:
            _fail(job, DeadlineExceeded("the model did not answer in time"))
        except MentorgradError as error:
            _fail(job, error)
        except Exception as error:
            self._is_failing = True
            log.error("generation_failed", exc_info=error)
            _fail(job, Unavailable("the model failed; the mentor's log says more"))
        else:
            self._is_failing = False
            now = time.monotonic()
            self._seconds = 0.5 * self._seconds + 0.5 * (now - started)
            duration = timedelta(seconds=now - job.asked)
            reply = Reply(**vars(said), duration=duration)
            if job.future.set_running_or_notify_cancel():
                job.future.set_result(reply)
        finally:
            self._present = None


def _fail(job: _Job, error: MentorgradError) -> None:
    if job.future.set_running_or_notify_cancel():
        job.future.set_exception(error)
