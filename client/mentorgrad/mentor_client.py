"""Asyncio client of a mentor service: single requests, and sessions for custom training loops."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar, Unpack

from mentorgrad.domain.advice import AdviseOpen, Answer, MentorInfo, ProposeInput
from mentorgrad.domain.spec import RunSpec
from mentorgrad.field_limits import check
from mentorgrad.session import AsyncMentorSession
from mentorgrad.session_base import SessionBase
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

S = TypeVar("S", bound=SessionBase)

DEFAULT_MENTOR = "127.0.0.1:50552"
"""Default address of a mentor service."""

_MARGIN = 5.0
"""Seconds added to a request's timeout, so that the mentor's own timeout applies first."""


class Sessions(Generic[S]):
    """The methods of both mentor clients that open a session."""

    _connect: Callable[[], Connection]
    _session_class: type[S]

    def session(
        self,
        task: str,
        *,
        record_to: RunImporter | None = None,
        spec: RunSpec | None = None,
        record_file: Path | None = None,
        patience: Patience | None = None,
        **options: Unpack[SessionOptions],
    ) -> S:
        """A session that optimises a soft prompt; use it as a context manager.

        Args:
            task: One-line description of the task; the LLM reads it.
            record_to: Client of the trainer service that imports the run when the session closes;
                None: the run is not imported.
            spec: Spec of the recorded run, with the objective `External`; by default derived from
                the other arguments.
            record_file: New file for the run's log, which is kept; ``mentorgrad runs import`` can
                import it later. By default, with `record_to` a temporary file, otherwise none.
            patience: Timeouts of the session.
            **options: See `SessionOptions`.

        Raises:
            InvalidInput: An argument is invalid.
        """
        opened = open_request(task, **options)
        recorded = recording(record_to, opened, spec, record_file)
        return self.open_session(opened, recorded, patience)

    def open_session(
        self,
        opened: AdviseOpen,
        recorded: Recording | None = None,
        patience: Patience | None = None,
    ) -> S:
        """A session from an explicit `AdviseOpen`; use it as a context manager."""
        return self._session_class(self._connect, opened, recorded, patience)


class AsyncMentorClient(ServiceClient, Sessions[AsyncMentorSession]):
    """Asyncio client of one mentor service, for one event loop.

    Args:
        target: ``HOST:PORT`` of the mentor service.
        timeout: Timeout of a call, seconds; a request for proposals has its own.
        credentials: TLS certificates and token; None: plaintext without a token.
    """

    _session_class = AsyncMentorSession

    def __init__(
        self,
        target: str = DEFAULT_MENTOR,
        *,
        timeout: float = 30.0,
        credentials: Credentials | None = None,
    ) -> None:
        self.connect = self._connect = partial(Connection, target, credentials)
        """Creates another connection to the same service."""
        super().__init__(self.connect(), timeout)

    async def propose(self, question: ProposeInput) -> Answer:
        """Asks for proposals without a session: a trajectory in, proposals or a typed status out.

        Raises:
            InvalidInput: The question is invalid; the violations name the fields.
        """
        checked = check(question)
        request = mentor.ProposeRequest(
            open=to_message(checked.open),
            batches=[to_message(batch) for batch in checked.batches],
            request=to_message(checked.request),
        )
        timeout = checked.request.timeout.total_seconds() + _MARGIN
        response = await self._call(MentorServiceStub, "Propose", request, timeout)
        return from_message(Answer, response.answer)

    async def info(self) -> MentorInfo:
        """Describes the mentor: model, backend, strategies and limits."""
        request = mentor.GetMentorInfoRequest()
        response = await self._call(MentorServiceStub, "GetMentorInfo", request)
        return from_message(MentorInfo, response.info)
