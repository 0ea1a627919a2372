"""Standard input of a worker: jobs, and in the meantime the words of its agent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import IO

from mentorgrad.domain.run import DesiredState
from trainer_service.agent_word import AgentWord

Hear = Callable[[DesiredState], None]
"""Called, in the thread of the inbox, with what is wanted of the run."""


class Inbox:
    """Reads in a thread, so that a word is heard during a run.

    Args:
        stream: Lines of jobs and words.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._jobs: SimpleQueue[bytes] = SimpleQueue()
        self._lock = threading.Lock()
        self._last: AgentWord | None = None
        self._listener: tuple[str, int, Hear] | None = None
        threading.Thread(target=self._read, name="inbox", daemon=True).start()

    def next_job(self) -> bytes:
        """Waits for the next job's line; empty: there will be none."""
        return self._jobs.get()

    @contextmanager
    def listening(self, run_id: str, attempt: int, hear: Hear) -> Iterator[None]:
        """In this block, the words about a run are passed on; the last one of before, too."""
        with self._lock:
            self._listener = run_id, attempt, hear
            self._pass_on()
        try:
            yield
        finally:
            with self._lock:
                self._listener = None

    def _read(self) -> None:
        try:
            for line in iter(self._stream.readline, b""):
                word = AgentWord.from_line(line)
                if word is None:
                    self._jobs.put(line)
                    continue
                with self._lock:
                    self._last = word
                    self._pass_on()
        finally:
            self._jobs.put(b"")

    def _pass_on(self) -> None:
        if self._listener is not None and self._last is not None:
            run_id, attempt, hear = self._listener
            if (self._last.run_id, self._last.attempt) == (run_id, attempt):
                hear(self._last.desired)
            self._last = None
