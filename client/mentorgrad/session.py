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

from typing import Self

from mentorgrad.domain.run import Score
from mentorgrad.errors import PreconditionFailed
from mentorgrad.event_loop import BackgroundLoop, blocking
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

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        await self._close(error)

    ask = SessionBase._ask
    close = SessionBase._close


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

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self.close(error)

    def _on_loop(self) -> tuple[BackgroundLoop, Self]:
        if self._held is None:
            raise PreconditionFailed("the session is not open", reason="SESSION_CLOSED")
        return self._held, self

    ask = blocking(SessionBase._ask)

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
