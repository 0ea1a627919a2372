"""Asynchronous mentor requests: sent without waiting, polled between gradient steps."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol

from mentorgrad.domain.advice import Answer, ProposalRequest
from mentorgrad.domain.event import ProposalsReceived
from trainer_service.protocols import Mentor, Scored


class PendingRequest(Protocol):
    """A request whose answer is pending."""

    def is_answered(self, lag: int) -> bool:
        """Whether `answer` returns at once; cheap enough to call in every step.

        Args:
            lag: Gradient steps since the request was sent.
        """
        ...

    def answer(self) -> Answer:
        """Waits for the mentor's answer and returns it."""
        ...


SendRequest = Callable[[Mentor, ProposalRequest, Scored, Sequence[Scored]], PendingRequest]
"""Sends a request to a mentor and returns at once; same arguments as `Mentor.propose`."""


class ThreadedRequest:
    """Calls `Mentor.propose` in its own thread."""

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
    """An answer from the run's log; available after the same number of steps as originally."""

    def __init__(self, logged: ProposalsReceived) -> None:
        self._logged = logged

    def is_answered(self, lag: int) -> bool:
        """See `PendingRequest`."""
        return lag >= self._logged.lag_steps

    def answer(self) -> Answer:
        """See `PendingRequest`."""
        return self._logged.answer
