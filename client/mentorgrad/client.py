"""The clients for code without an event loop: facades over one background loop of the process."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, wait
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from mentorgrad.async_client import DEFAULT_TARGET, AsyncClient
from mentorgrad.errors import Unavailable
from mentorgrad.mentor_client import DEFAULT_MENTOR, AsyncMentorClient
from mentorgrad.model.advice import Answer, MentorInfo, ProposeInput
from mentorgrad.model.event import EventKind, RunEvent
from mentorgrad.model.query import (
    CandidateFilter,
    CandidatePage,
    EventQuery,
    RunFilter,
    RunOrder,
    RunPage,
    View,
)
from mentorgrad.model.run import Artifact, Run, Trajectory
from mentorgrad.model.spec import RunSpec
from mentorgrad.results import Comparison, CreatedRun, TrainerInfo

__all__ = [
    "DEFAULT_MENTOR",
    "DEFAULT_TARGET",
    "AsyncClient",
    "AsyncMentorClient",
    "BackgroundLoop",
    "Client",
    "MentorClient",
]

T = TypeVar("T")

_CANCEL_SECONDS = 5.0
"""Longest wait for an interrupted call to end."""


class BackgroundLoop:
    """An event loop in a thread of its own, shared by all facades of the process.

    grpc's asyncio has one poller a process, so there is one loop; it runs while somebody holds it.
    """

    _shared: BackgroundLoop | None = None
    _guard = threading.Lock()

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._holders = 0
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="mentorgrad-client", daemon=True
        )
        self._thread.start()

    @classmethod
    def acquire(cls) -> BackgroundLoop:
        """The running loop, started if there is none; `release` it."""
        with cls._guard:
            if cls._shared is None:
                cls._shared = cls()
            cls._shared._holders += 1
            return cls._shared

    def release(self) -> None:
        """Gives the loop back; the last holder's release stops it."""
        with self._guard:
            self._holders -= 1
            if self._holders > 0:
                return
            type(self)._shared = None
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine to its end; an interrupt of the caller cancels it.

        An interrupt may come between any two instructions, so what must be cancelled is noted on
        the loop, where no interrupt arrives.
        """
        outcome: Future[T] = Future()
        tasks: list[asyncio.Task[T]] = []

        def start() -> None:
            task = self._loop.create_task(coroutine)
            task.add_done_callback(partial(_settle, outcome))
            tasks.append(task)

        def cancel() -> None:
            if not tasks:  # the interrupt came before the start was handed over
                coroutine.close()
                outcome.set_exception(CancelledError())
            for task in tasks:
                task.cancel()

        try:
            self._loop.call_soon_threadsafe(start)
            return outcome.result()
        except BaseException:
            if not outcome.done():  # what the coroutine holds must be free before we go on
                self._loop.call_soon_threadsafe(cancel)
                wait([outcome], _CANCEL_SECONDS)
            raise

    def iterate(self, source: AsyncIterator[T]) -> Iterator[T]:
        """An asynchronous generator as a plain one; leaving it early closes it."""
        try:
            while True:
                try:
                    item = self.run(_next(source))
                except StopAsyncIteration:
                    return
                yield item
        finally:
            if not self._loop.is_closed():
                self.run(_close(source))


def _settle(outcome: Future[T], task: asyncio.Task[T]) -> None:
    """Hands what became of a task to whoever waits for it in another thread."""
    if task.cancelled():
        outcome.set_exception(CancelledError())
    elif (error := task.exception()) is not None:
        outcome.set_exception(error)
    else:
        outcome.set_result(task.result())


async def _next(source: AsyncIterator[T]) -> T:
    return await anext(source)


async def _close(source: AsyncIterator[Any]) -> None:
    close = getattr(source, "aclose", None)
    if close is not None:
        await close()


class _Facade:
    """What both facades share: holding the loop, and closing."""

    def __init__(self, inner: AsyncClient | AsyncMentorClient) -> None:
        self._inner = inner
        self._held: BackgroundLoop | None = BackgroundLoop.acquire()

    @property
    def target(self) -> str:
        """``HOST:PORT`` of the service."""
        return self._inner.target

    @property
    def _loop(self) -> BackgroundLoop:
        if self._held is None:
            raise Unavailable(f"the client of {self.target} is closed")
        return self._held

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends what is under way and closes the connection; a second time is a no-op."""
        held, self._held = self._held, None
        if held is not None:
            try:
                held.run(self._inner.close())
            finally:
                held.release()


class Client(_Facade):
    """A client of one trainer service. Methods, values and errors are those of `AsyncClient`.

    May be used from several threads at once, but not from a coroutine: it blocks.

    Args:
        target: ``HOST:PORT`` of the trainer service.
        timeout: Seconds that a unary call may take.
        stream_timeout: Seconds that one transfer may take; watching is not limited by it.
        resume_for: Seconds for which a watch tries to come back after a lost connection, counted
            from the loss; silence on a healthy connection does not count.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        timeout: float = 30.0,
        stream_timeout: float = 600.0,
        resume_for: float = 60.0,
    ) -> None:
        self._client = AsyncClient(
            target, timeout=timeout, stream_timeout=stream_timeout, resume_for=resume_for
        )
        super().__init__(self._client)

    def create_run(self, spec: RunSpec, request_id: str = "") -> CreatedRun:
        """Validates a spec on the server and queues the run."""
        return self._loop.run(self._client.create_run(spec, request_id))

    def cancel_run(self, run_id: str) -> Run:
        """Asks to end a run; watch it to see it end."""
        return self._loop.run(self._client.cancel_run(run_id))

    def pause_run(self, run_id: str) -> Run:
        """Asks to checkpoint a run and free its worker; watch it to see it pause."""
        return self._loop.run(self._client.pause_run(run_id))

    def resume_run(self, run_id: str) -> Run:
        """Queues a paused or interrupted run again; it goes on from its checkpoint."""
        return self._loop.run(self._client.resume_run(run_id))

    def delete_run(self, run_id: str) -> None:
        """Removes a run that is not running, with all that was recorded of it."""
        self._loop.run(self._client.delete_run(run_id))

    def import_run(self, events: Iterable[RunEvent]) -> Run:
        """Records a run that was executed elsewhere; the inverse of `export_run`."""
        return self._loop.run(self._client.import_run(events))

    def trainer_info(self) -> TrainerInfo:
        """What the trainer offers: devices, objectives, tasks, optimizers, mentors."""
        return self._loop.run(self._client.trainer_info())

    def watch(
        self,
        run_id: str,
        after_seq: int = 0,
        kinds: Sequence[EventKind] = (),
        view: View = View.SUMMARY,
    ) -> Iterator[RunEvent]:
        """Events as they are written, until the run reaches a final state; each exactly once."""
        return self._loop.iterate(self._client.watch(run_id, after_seq, kinds, view))

    def get_run(self, run_id: str) -> Run:
        """The run as it stands."""
        return self._loop.run(self._client.get_run(run_id))

    def list_runs(
        self,
        run_filter: RunFilter | None = None,
        order: RunOrder = RunOrder.NEWEST,
        page_size: int = 50,
        page_token: str = "",
    ) -> RunPage:
        """Runs by filter, in pages."""
        return self._loop.run(self._client.list_runs(run_filter, order, page_size, page_token))

    def events(self, run_id: str, query: EventQuery | None = None) -> Iterator[RunEvent]:
        """What is recorded by now, in order, lazily; does not wait for more."""
        return self._loop.iterate(self._client.events(run_id, query))

    def export_run(self, run_id: str) -> Iterator[RunEvent]:
        """The whole log with raw tensors, as `import_run` takes it."""
        return self._loop.iterate(self._client.export_run(run_id))

    def trajectory(self, run_id: str, max_points: int = 0, view: View = View.FULL) -> Trajectory:
        """Effective snapshots in order of step, evenly thinned to `max_points` (0: all)."""
        return self._loop.run(self._client.trajectory(run_id, max_points, view))

    def list_candidates(
        self,
        run_id: str,
        candidate_filter: CandidateFilter | None = None,
        page_size: int = 50,
        page_token: str = "",
    ) -> CandidatePage:
        """Effective candidates, best first unless the filter says otherwise, in pages."""
        return self._loop.run(
            self._client.list_candidates(run_id, candidate_filter, page_size, page_token)
        )

    def compare_runs(self, run_ids: Sequence[str]) -> Comparison:
        """Several runs side by side, with the fields in which their specs differ."""
        return self._loop.run(self._client.compare_runs(run_ids))

    def artifacts(self, run_id: str) -> tuple[Artifact, ...]:
        """The files that a run left, by name."""
        return self._loop.run(self._client.artifacts(run_id))

    def read_artifact(self, run_id: str, name: str) -> bytes:
        """A file's bytes."""
        return self._loop.run(self._client.read_artifact(run_id, name))

    def download(self, run_id: str, name: str, path: str | os.PathLike[str]) -> Path:
        """Writes a file that a run left, aside and renamed when whole and right."""
        return self._loop.run(self._client.download(run_id, name, path))


class MentorClient(_Facade):
    """A client of one mentor service. Methods, values and errors are `AsyncMentorClient`'s.

    Args:
        target: ``HOST:PORT`` of the mentor service.
        timeout: Seconds that a call may take, apart from the time a request gives the mentor.
    """

    def __init__(self, target: str = DEFAULT_MENTOR, *, timeout: float = 30.0) -> None:
        self._client = AsyncMentorClient(target, timeout=timeout)
        super().__init__(self._client)

    def propose(self, question: ProposeInput) -> Answer:
        """One question with all it needs: a trajectory in, proposals or a typed outcome out."""
        return self._loop.run(self._client.propose(question))

    def info(self) -> MentorInfo:
        """What the mentor is and can do."""
        return self._loop.run(self._client.info())
