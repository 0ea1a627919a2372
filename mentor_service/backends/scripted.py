"""A backend with scripted replies instead of a model, for tests and for trying out a trainer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import ClassVar

from mentor_service.protocols import Question, Reply
from mentorgrad.errors import (
    DeadlineExceeded,
    InvalidInput,
    MentorgradError,
    ResourceExhausted,
    Unavailable,
)

Script = Callable[[Question], str | MentorgradError]
"""Returns the reply to a question, or the error to raise; called once per sample."""


def repeat(replies: Iterable[str | MentorgradError]) -> Script:
    """Returns a script that cycles through the replies.

    Raises:
        InvalidInput: There are no replies.
    """
    listed = list(replies)
    if not listed:
        raise InvalidInput("a script needs at least one reply")
    turn = 0

    def script(question: Question) -> str | MentorgradError:
        nonlocal turn
        reply = listed[turn % len(listed)]
        turn += 1
        return reply

    return script


class ScriptedBackend:
    """Backend that answers from a script; otherwise it follows the `Backend` protocol.

    Args:
        script: Returns each reply or error.
        delay: Duration of every answer, seconds. Questions are answered one at a time.
        context_tokens: Maximum words of a question and its reply together.
        queue_limit: Maximum queued questions.
    """

    name: ClassVar[str] = "scripted"

    def __init__(
        self,
        script: Script,
        *,
        delay: float = 0.0,
        context_tokens: int = 4096,
        queue_limit: int = 16,
    ) -> None:
        self.model = "scripted"
        self.context_tokens = context_tokens
        self.questions: list[Question] = []
        """Every question processed, in order."""
        self.cancelled = 0
        """Number of answers that were cancelled or timed out."""
        self._script = script
        self._delay = delay
        self._queue_limit = queue_limit
        self._waiting = 0
        self._turn = asyncio.Lock()
        self._closed = False

    @property
    def waiting(self) -> int:
        """See `mentor_service.protocols.Backend`."""
        return self._waiting

    async def ask(self, question: Question, timeout: float) -> Reply:
        """See `mentor_service.protocols.Backend`."""
        await self.check()
        if self._waiting > self._queue_limit:
            raise ResourceExhausted(
                f"{self._waiting} questions are already queued",
                retry_after=self._delay * self._waiting,
                reason="MENTOR_BUSY",
            )
        loop = asyncio.get_running_loop()
        started = loop.time()
        self._waiting += 1
        try:
            async with asyncio.timeout(timeout), self._turn:
                return await self._answer(question, started)
        except TimeoutError:
            self.cancelled += 1
            raise DeadlineExceeded(f"no answer within {timeout:.1f} s") from None
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self._waiting -= 1

    async def _answer(self, question: Question, started: float) -> Reply:
        self.questions.append(question)
        words = len(f"{question.system} {question.user}".split())
        if words + question.reply_tokens > self.context_tokens:
            raise InvalidInput(
                f"the question has {words} words and the reply up to {question.reply_tokens}, "
                f"together more than the context of {self.context_tokens}",
                reason="QUESTION_TOO_LONG",
            )
        await asyncio.sleep(self._delay)
        texts = []
        for _ in range(question.samples):
            said = self._script(question)
            if isinstance(said, MentorgradError):
                raise said
            texts.append(said.partition("\n")[0] if question.completes else said)
        spent = asyncio.get_running_loop().time() - started
        return Reply(
            texts=tuple(texts),
            prompt_tokens=words,
            evaluated_tokens=words,
            reply_tokens=sum(len(text.split()) for text in texts),
            duration=timedelta(seconds=spent),
            finish_reasons=("stop",) * len(texts),
            completed=question.completes,
        )

    async def check(self) -> None:
        """Raises `Unavailable` after `close`."""
        if self._closed:
            raise Unavailable("the scripted backend is closed")

    async def close(self) -> None:
        """Makes `ask` and `check` raise `Unavailable`."""
        self._closed = True
