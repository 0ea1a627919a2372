"""A session with a mentor, for custom training loops.

    with MentorClient("127.0.0.1:50552") as mentor, mentor.session(task="…") as session:
        session.push(step, loss, text=words)          # each gradient step; never blocks
        session.candidate(words, loss_on_selection)   # each scored candidate
        answer = session.ask(count=8)                 # proposals, or a status without proposals
        session.report(outcomes)                      # what was done with each proposal

The mentor may be unreachable, crash and restart: after a reconnect the session sends its data
again, and `ask` answers with a typed status. Only incorrect use raises. `AsyncMentorSession` is the
asyncio implementation; `MentorSession` is its blocking counterpart.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from mentorgrad.domain.advice import Answer
from mentorgrad.domain.run import Score
from mentorgrad.errors import PreconditionFailed
from mentorgrad.event_loop import BackgroundLoop
from mentorgrad.session_base import SessionBase


class AsyncMentorSession(SessionBase):
    """Asyncio session with a mentor; use it as an async context manager.

    Only entering, `ask` and closing wait. Entering waits until the mentor accepts, at most
    `Patience.open` seconds; an unreachable mentor is no error, since it may become reachable.

    Raises:
        InvalidInput: On entering: the mentor rejects the opening request (an unknown strategy or
            invalid option).
    """

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._close(error, None)

    async def ask(
        self,
        count: int = 8,
        *,
        timeout: float = 60.0,
        seed: int | None = None,
        incumbent_id: str = "",
    ) -> Answer:
        """Asks for proposals, and ends the stage.

        Args:
            count: Number of proposals.
            timeout: Time to wait, seconds.
            seed: Random seed of the answer; by default derived from the session's seed and the
                stage.
            incumbent_id: Candidate that the loop would continue from; by default the latest.

        Returns:
            Proposals, or a typed status without proposals; mentor failures never raise.

        Raises:
            InvalidInput: An argument is out of bounds.
            PreconditionFailed: The session is not open.
        """
        return await self._ask(count, timeout, seed, incumbent_id)

    async def close(self, error: BaseException | None = None, test: Score | None = None) -> None:
        """Closes the session and imports the recorded run; idempotent.

        Args:
            error: Exception that ended the loop early; the run is recorded as failed, or after an
                interrupt as cancelled.
            test: Score on the test split, for the record.

        Raises:
            MentorgradError: The run could not be imported. A note on the exception gives the
                file of the log. If `error` is given, it gets the note, and nothing is raised.
        """
        await self._close(error, test)


class MentorSession(SessionBase):
    """Blocking session with a mentor; use it as a context manager. Methods: `AsyncMentorSession`.

    Must not be used from a coroutine: entering, `ask` and closing block.
    """

    _held: BackgroundLoop | None = None

    def __enter__(self) -> Self:
        held = BackgroundLoop.acquire()
        try:
            held.run(self._open())
        except BaseException:
            held.release()
            raise
        self._held = held
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(error)

    def ask(
        self,
        count: int = 8,
        *,
        timeout: float = 60.0,
        seed: int | None = None,
        incumbent_id: str = "",
    ) -> Answer:
        """Asks for proposals, and ends the stage.

        Args:
            count: Number of proposals.
            timeout: Time to wait, seconds.
            seed: Random seed of the answer; by default derived from the session's seed and the
                stage.
            incumbent_id: Candidate that the loop would continue from; by default the latest.

        Returns:
            Proposals, or a typed status without proposals; mentor failures never raise.

        Raises:
            InvalidInput: An argument is out of bounds.
            PreconditionFailed: The session is not open.
        """
        if self._held is None:
            raise PreconditionFailed("the session is not open", reason="SESSION_CLOSED")
        return self._held.run(self._ask(count, timeout, seed, incumbent_id))

    def close(self, error: BaseException | None = None, test: Score | None = None) -> None:
        """Closes the session and imports the recorded run; idempotent.

        Args:
            error: Exception that ended the loop early; the run is recorded as failed, or after an
                interrupt as cancelled.
            test: Score on the test split, for the record.

        Raises:
            MentorgradError: The run could not be imported. A note on the exception gives the
                file of the log. If `error` is given, it gets the note, and nothing is raised.
        """
        held, self._held = self._held, None
        if held is not None:
            try:
                held.run(self._close(error, test))
            finally:
                held.release()
