"""An asyncio backend for a single-threaded model, with a worker thread and a bounded queue.

The worker thread loads the model, owns it and answers one question at a time. A question whose
asker gave up is removed from the queue, or stopped if it is in progress.
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
from dataclasses import dataclass, field, replace
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
"""Engines check the deadline before every step; this long after it, the worker counts as stuck."""

_PROBE = Question("", "Hello", "", None, max_tokens=1, temperature=0.0, seed=0)
_PROBE_SECONDS = 10.0


class Interrupted(Exception):
    """The asker gave up, or the deadline has passed."""


class Engine(Protocol):
    """A model that is used by one thread only."""

    context: int
    """Maximum tokens of a question and its reply together."""

    def generate(self, question: Question, check: Callable[[], None]) -> Reply:
        """Generates the replies, without their duration; calls `check` before every step, which
        raises to stop."""
        ...

    def close(self) -> None:
        """Frees the model."""
        ...


E = TypeVar("E", bound=Engine)


@dataclass(eq=False)
class _Job:
    """A queued question."""

    question: Question
    asked: float
    deadline: float
    future: Future[Reply] = field(default_factory=Future)
    asker: Context = field(default_factory=copy_context)
    """Context of the asker, whose session id appears in the log."""
    abandoned: bool = False

    def check(self) -> None:
        if self.abandoned or time.monotonic() >= self.deadline:
            raise Interrupted


class ThreadedBackend(Generic[E]):
    """Backend with one worker thread around an `Engine`. Safe to use from any thread or loop.

    Args:
        model: Model reference to report.
        load: Creates the engine. Called in the worker thread; its errors are raised here.
        queue_limit: Maximum queued questions.
    """

    def __init__(self, model: str, load: Callable[[], E], queue_limit: int) -> None:
        self.model = model
        self._queue_limit = queue_limit
        self._queue: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._present: _Job | None = None
        self._is_failing = False
        self._seconds = 1.0  # moving average per answer, for `retry_after`
        loaded: Future[E] = Future()
        self._thread = threading.Thread(
            target=self._work, args=(loaded, load), name=type(self).__name__, daemon=True
        )
        self._thread.start()
        self.engine = loaded.result()
        """For reading attributes only; the worker thread alone uses the engine."""
        self.context_tokens = self.engine.context

    @property
    def waiting(self) -> int:
        """Number of queued questions."""
        return len(self._queue)

    async def ask(self, question: Question, timeout: float) -> Reply:
        """See `mentor_service.protocols.Backend`."""
        now = time.monotonic()
        job = _Job(question, asked=now, deadline=now + timeout)
        with self._changed:
            if self._closed:
                raise Unavailable("the model was unloaded")
            if len(self._queue) >= self._queue_limit:
                raise ResourceExhausted(
                    f"{len(self._queue)} questions are already queued",
                    retry_after=self._seconds * (len(self._queue) + 1),
                    reason="MENTOR_BUSY",
                )
            self._queue.append(job)
            self._changed.notify()
        try:
            async with asyncio.timeout(timeout):
                return await asyncio.wrap_future(job.future)
        except TimeoutError:
            raise DeadlineExceeded(f"the model did not answer within {timeout:.1f} s") from None
        finally:
            job.abandoned = True
            with self._changed, contextlib.suppress(ValueError):
                self._queue.remove(job)

    async def check(self) -> None:
        """Health check; after a failed generation it asks a short test question.

        Raises:
            Unavailable: The worker thread has ended or is stuck, or the model fails again.
        """
        if self._closed or not self._thread.is_alive():
            raise Unavailable("the model was unloaded")
        present = self._present
        if present is not None and time.monotonic() > present.deadline + _STUCK_SECONDS:
            raise Unavailable("the model is stuck in a question whose deadline has passed")
        if self._is_failing:
            await self.ask(_PROBE, _PROBE_SECONDS)

    async def close(self) -> None:
        """Stops the current answer, fails the queued questions and frees the model."""
        with self._changed:
            self._closed = True
            waiting, self._queue = self._queue, deque()
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
            self._changed.wait_for(lambda: self._closed or self._queue)
            return None if self._closed else self._queue.popleft()

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
            _fail(job, Unavailable("the model failed; see the mentor's log"))
        else:
            self._is_failing = False
            now = time.monotonic()
            self._seconds = 0.5 * self._seconds + 0.5 * (now - started)
            reply = replace(said, duration=timedelta(seconds=now - job.asked))
            if job.future.set_running_or_notify_cancel():
                job.future.set_result(reply)
        finally:
            self._present = None


def _fail(job: _Job, error: MentorgradError) -> None:
    if job.future.set_running_or_notify_cancel():
        job.future.set_exception(error)
