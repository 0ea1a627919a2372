"""The client of a mentor service: single questions, and sessions for a loop of one's own."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Unpack

from mentorgrad.domain.advice import AdviseOpen, Answer, MentorInfo, ProposeInput
from mentorgrad.domain.spec import RunSpec
from mentorgrad.field_limits import check
from mentorgrad.session import AsyncMentorSession
from mentorgrad.session_options import (
    Recording,
    RunImporter,
    SessionOptions,
    open_request,
    recording,
)
from mentorgrad.v1 import mentor_service_pb2 as mentor
from mentorgrad.v1.mentor_service_pb2_grpc import MentorServiceStub
from mentorgrad.wire.advise_stream import Patience
from mentorgrad.wire.codec import from_message, to_message
from mentorgrad.wire.connection import Connection, ServiceClient
from mentorgrad.wire.credentials import Credentials

DEFAULT_MENTOR = "127.0.0.1:50552"
"""Where a mentor service listens unless told otherwise."""

_MARGIN = 5.0
"""Seconds on top of the request's own timeout, so that the mentor's verdict arrives."""


class AsyncMentorClient(ServiceClient):
    """A client of one mentor service, for one event loop.

    Args:
        target: ``HOST:PORT`` of the mentor service.
        timeout: Seconds that a call may take, apart from the time a request gives the mentor.
        credentials: Certificates and token; None: plaintext without a token.
    """

    def __init__(
        self,
        target: str = DEFAULT_MENTOR,
        *,
        timeout: float = 30.0,
        credentials: Credentials | None = None,
    ) -> None:
        self.connect = partial(Connection, target, credentials)
        """Makes a further connection to the same service."""
        super().__init__(self.connect())
        self._timeout = timeout

    def session(
        self,
        task: str,
        *,
        record_to: RunImporter | None = None,
        spec: RunSpec | None = None,
        record_file: Path | None = None,
        patience: Patience | None = None,
        **options: Unpack[SessionOptions],
    ) -> AsyncMentorSession:
        """A session about a soft prompt, to be entered as a context.

        Args:
            task: What is optimised, in one line; the mentor reads it.
            record_to: A client of the trainer service that shall have the run, when it is over.
            spec: What it is recorded as, with the objective `External`; by default, what is said
                here.
            record_file: A new file for its log, which stays; by default a temporary one.
            patience: How long the parts of a session may take.
            **options: See `SessionOptions`.

        Raises:
            InvalidInput: Something is out of bounds.
        """
        opened = open_request(task, **options)
        recorded = recording(record_to, opened, spec, record_file)
        return self.open_session(opened, recorded, patience)

    def open_session(
        self,
        opened: AdviseOpen,
        recorded: Recording | None = None,
        patience: Patience | None = None,
    ) -> AsyncMentorSession:
        """A session of any kind, to be entered as a context; see `session`."""
        return AsyncMentorSession(self.connect, opened, recorded, patience)

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
