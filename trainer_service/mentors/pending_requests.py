"""Mentor requests in overlapped mode: sent without waiting, and polled at step boundaries."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol

from mentorgrad.domain.advice import Answer, ProposalRequest
from mentorgrad.domain.event import ProposalsReceived
from trainer_service.protocols import Mentor, Scored


class PendingRequest(Protocol):
    """A question under way."""

    def is_answered(self, lag: int) -> bool:
        """Whether `answer` returns at once; cheap enough for every step.

        Args:
            lag: Gradient steps taken since it was asked.
        """
        ...

    def answer(self) -> Answer:
        """What the mentor said; waits for it."""
        ...


SendRequest = Callable[[Mentor, ProposalRequest, Scored, Sequence[Scored]], PendingRequest]
"""Puts a question to a mentor and returns at once; the arguments are those of `Mentor.propose`."""


class ThreadedRequest:
    """`Mentor.propose` in a thread of its own, which does nothing but wait."""

    def __init__(
        self, mentor: Mentor, request: ProposalRequest, incumbent: Scored, pool: Sequence[Scored]
    ) -> None:
        self._future: Future[Answer] = Future()
        arguments = (mentor, request, incumbent, tuple(pool))
        threading.Thread(
            target=self._wait, args=arguments, name=f"question-{request.request_id}", daemon=True
        ).start()

    def _wait(
        self, mentor: Mentor, request: ProposalRequest, incumbent: Scored, pool: Sequence[Scored]
    ) -> None:
        try:
            self._future.set_result(mentor.propose(request, incumbent, pool))
        except BaseException as error:
            self._future.set_exception(error)

    def is_answered(self, lag: int) -> bool:
        """See `PendingRequest`."""
        return self._future.done()

    def answer(self) -> Answer:
        """See `PendingRequest`; raises what `propose` raised."""
        return self._future.result()


class LoggedRequest:
    """An answer that the run's log holds already; it is there again after the same steps."""

    def __init__(self, logged: ProposalsReceived) -> None:
        self._logged = logged

    def is_answered(self, lag: int) -> bool:
        """See `PendingRequest`."""
        return lag >= self._logged.lag_steps

    def answer(self) -> Answer:
        """See `PendingRequest`."""
        return self._logged.answer
