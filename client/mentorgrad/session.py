"""A session with a mentor for a training loop of one's own.

    with MentorClient("127.0.0.1:50552") as mentor, mentor.session(task="…") as session:
        session.push(step, loss, text=words)          # as often as you like; never waits
        session.candidate(words, loss_on_selection)   # what you scored
        answer = session.ask(count=8)                 # proposals, or why there are none
        session.report(outcomes)                      # what became of each proposal

The mentor may be absent, die and come back: what was told is told again, and `ask` answers with a
typed status. Only misuse raises. `AsyncMentorSession` is the implementation; `MentorSession` offers
the same to code without an event loop.
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
    """See the module: an asynchronous context manager.

    Nothing but opening, `ask` and closing waits. Entering waits for the mentor to
    accept, for as long as the patience says; an absent mentor is no error, it may come later.

    Raises:
        InvalidInput: On entering: what the mentor finds wrong with the opening (an unknown
            strategy, a bad option).
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
            count: Proposals wanted.
            timeout: Seconds to wait.
            seed: Of this answer; by default the session's, moved on by the stage.
            incumbent_id: The candidate that the loop would go on from; by default the latest.

        Returns:
            Proposals, or a status that says why there are none: whatever befalls the mentor.

        Raises:
            InvalidInput: An argument is out of bounds.
            PreconditionFailed: The session is not open.
        """
        return await self._ask(count, timeout, seed, incumbent_id)

    async def close(self, error: BaseException | None = None, test: Score | None = None) -> None:
        """Ends the session, and records it; a second time is a no-op.

        Args:
            error: Why the loop did not come to its end; the run is recorded as failed, or as
                cancelled after an interrupt.
            test: The figures on *test*, for the record.

        Raises:
            MentorgradError: The run could not be recorded. Its log stays where the error's notes
                say. Not raised on top of another error: then the notes are that one's.
        """
        await self._close(error, test)


class MentorSession(SessionBase):
    """`AsyncMentorSession` for code without an event loop: a context manager of the same methods.

    Not to be used from a coroutine: opening, `ask` and closing block.
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
            count: Proposals wanted.
            timeout: Seconds to wait.
            seed: Of this answer; by default the session's, moved on by the stage.
            incumbent_id: The candidate that the loop would go on from; by default the latest.

        Returns:
            Proposals, or a status that says why there are none: whatever befalls the mentor.

        Raises:
            InvalidInput: An argument is out of bounds.
            PreconditionFailed: The session is not open.
        """
        if self._held is None:
            raise PreconditionFailed("the session is not open", reason="SESSION_CLOSED")
        return self._held.run(self._ask(count, timeout, seed, incumbent_id))

    def close(self, error: BaseException | None = None, test: Score | None = None) -> None:
        """Ends the session, and records it; a second time is a no-op.

        Args:
            error: Why the loop did not come to its end; the run is recorded as failed, or as
                cancelled after an interrupt.
            test: The figures on *test*, for the record.

        Raises:
            MentorgradError: The run could not be recorded. Its log stays where the error's notes
                say. Not raised on top of another error: then the notes are that one's.
        """
        held, self._held = self._held, None
        if held is not None:
            try:
                held.run(self._close(error, test))
            finally:
                held.release()
