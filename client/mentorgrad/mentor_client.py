"""The client of a mentor service, for a single question; sessions are the trainer's business."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from mentorgrad.model.advice import Answer, MentorInfo, ProposeInput
from mentorgrad.schema import check
from mentorgrad.v1 import mentor_service_pb2 as mentor
from mentorgrad.v1.mentor_service_pb2_grpc import MentorServiceStub
from mentorgrad.wire.calls import Connection
from mentorgrad.wire.codec import from_message, to_message

DEFAULT_MENTOR = "127.0.0.1:50552"
"""Where a mentor service listens unless told otherwise."""

_MARGIN = 5.0
"""Seconds on top of the request's own timeout, so that the mentor's verdict arrives."""


class AsyncMentorClient:
    """A client of one mentor service, for one event loop.

    Args:
        target: ``HOST:PORT`` of the mentor service.
        timeout: Seconds that a call may take, apart from the time a request gives the mentor.
    """

    def __init__(self, target: str = DEFAULT_MENTOR, *, timeout: float = 30.0) -> None:
        self._connection = Connection(target)
        self._timeout = timeout

    @property
    def target(self) -> str:
        """``HOST:PORT`` of the mentor service."""
        return self._connection.target

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends what is under way and closes the connection."""
        await self._connection.close()

    async def propose(self, question: ProposeInput) -> Answer:
        """One question with all it needs: a trajectory in, proposals or a typed outcome out.

        Raises:
            InvalidInput: Something in the question is wrong; the violations name its fields.
        """
        checked = check(question)
        request = mentor.ProposeRequest(
            open=to_message(checked.open),
            batches=[to_message(batch) for batch in checked.batches],
            request=to_message(checked.request),
        )
        stub = self._connection.unary(MentorServiceStub)
        timeout = checked.request.timeout.total_seconds() + _MARGIN
        response = await self._connection.call(stub.Propose, request, timeout)
        return from_message(Answer, response.answer)

    async def info(self) -> MentorInfo:
        """What the mentor is and can do."""
        stub = self._connection.unary(MentorServiceStub)
        request = mentor.GetMentorInfoRequest()
        response = await self._connection.call(stub.GetMentorInfo, request, self._timeout)
        return from_message(MentorInfo, response.info)
