"""Blocking client of a remote mentor service, called from a run's thread.

`mentorgrad.wire.advise_stream` keeps the session open on the process's background loop. In
addition, `observe` and `report` never block or raise, and `propose` returns every failure as an
answer with a typed status.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import replace
from functools import partial

import structlog

from mentorgrad.domain.advice import (
    AdviseOpen,
    Answer,
    Batch,
    MentorInfo,
    Outcomes,
    ProposalRequest,
    Wants,
)
from mentorgrad.errors import MentorgradError, Unavailable
from mentorgrad.event_loop import BackgroundLoop
from mentorgrad.field_limits import violations
from mentorgrad.mentor_client import AsyncMentorClient
from mentorgrad.wire.advise_stream import AdviseStream, Patience
from mentorgrad.wire.connection import Connection
from mentorgrad.wire.credentials import Credentials
from trainer_service.protocols import Scored

log = structlog.get_logger(__name__)


class RemoteMentor:
    """A mentor in another process; implements `trainer_service.protocols.Mentor`.

    Args:
        name: The mentor's name, for the records of its answers.
        target: ``HOST:PORT`` of the mentor service.
        opened: Opening message of every session.
        patience: Timeouts of a session.
        credentials: Certificates and token; None: plaintext without a token.
    """

    def __init__(
        self,
        name: str,
        target: str,
        opened: AdviseOpen,
        patience: Patience | None = None,
        credentials: Credentials | None = None,
    ) -> None:
        self._name = name
        self._stream = AdviseStream(
            partial(Connection, target, credentials), opened, patience or Patience(), log.log
        )
        self._held: BackgroundLoop | None = BackgroundLoop.acquire()
        self._held.run(self._stream.start())

    @property
    def wants(self) -> Wants:
        """See `Mentor`."""
        accepted = self._stream.accepted
        return accepted.wants if accepted is not None else Wants()

    def wait_open(self, timeout: float) -> bool:
        """Waits for the first session, which sets `wants`; returns whether it is open."""
        return self._stream.wait_open(timeout)

    def observe(self, batch: Batch) -> None:
        """See `Mentor`; never blocks."""
        if self._is_sendable(batch):
            self._stream.outbox.tell(batch)

    def report(self, outcomes: Outcomes) -> None:
        """See `Mentor`; never blocks."""
        if self._is_sendable(outcomes):
            self._stream.outbox.tell(outcomes)

    def _is_sendable(self, item: Batch | Outcomes) -> bool:
        """Whether the item is within the field limits; a mentor ends the session otherwise."""
        broken = next(iter(violations(item)), None)
        if broken is not None:
            log.warning("not_sent_to_mentor", target=self._stream.target, why=str(broken))
        return broken is None

    def propose(
        self, request: ProposalRequest, incumbent: Scored, pool: Sequence[Scored]
    ) -> Answer:
        """See `Mentor`; waits for at most the request's timeout."""
        told = [incumbent.candidate, *(item.candidate for item in pool)]
        with self._stream.outbox.asking(request, told) as pending:
            try:
                answer = pending.future.result(pending.timeout)
            except FutureTimeoutError:
                answer = pending.timed_out()
        records = tuple(replace(record, mentor=self._name) for record in answer.records)
        return replace(answer, records=records)

    def cancel(self) -> None:
        """See `Mentor`; may be called from any thread."""
        self._stream.outbox.cancel()

    def close(self) -> None:
        """Ends the session, whatever the mentor does; further calls do nothing."""
        held, self._held = self._held, None
        # If the session does not end in time, it and its loop are abandoned.
        if held is not None and held.run(self._stream.close()):
            held.release()


async def probe(target: str, timeout: float, credentials: Credentials | None = None) -> MentorInfo:
    """Asks a mentor service for its description and capabilities.

    Args:
        target: ``HOST:PORT``.
        timeout: Seconds to wait.
        credentials: Certificates and token; None: plaintext without a token.

    Raises:
        Unavailable: The mentor does not answer in time, or refuses the call.
    """
    async with AsyncMentorClient(target, timeout=timeout, credentials=credentials) as client:
        try:
            return await client.info()
        except MentorgradError as error:
            raise Unavailable(f"no mentor at {target}: {error.message}") from None
