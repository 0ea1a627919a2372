"""The mentor that lives in another process: a run's thread talks to it by plain calls.

`mentorgrad.wire.advise_stream` keeps the session up, on the process's background loop. Here is what
a run is promised beside that: telling never blocks nor raises, and asking answers every trouble
with a typed status.
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
    """See the module; satisfies `trainer_service.protocols.Mentor`.

    Args:
        name: The mentor's name, for the records of its answers.
        target: ``HOST:PORT`` of the mentor service.
        opened: What every session is opened with.
        patience: How long the parts of a session may take.
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
        """Waits for the first session, so that `wants` is known; whether there is one."""
        return self._stream.wait_open(timeout)

    @property
    def alive(self) -> bool:
        """Whether its session is still kept up."""
        return self._stream.is_kept

    def observe(self, batch: Batch) -> None:
        """See `Mentor`; never blocks."""
        if self._is_sendable(batch):
            self._stream.outbox.tell(batch)

    def report(self, outcomes: Outcomes) -> None:
        """See `Mentor`; never blocks."""
        if self._is_sendable(outcomes):
            self._stream.outbox.tell(outcomes)

    def _is_sendable(self, item: Batch | Outcomes) -> bool:
        """Whether a mentor would take it; what it refuses would end every session it is told in."""
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
        """See `Mentor`; from any thread."""
        self._stream.outbox.cancel()

    def close(self) -> None:
        """Ends the session, whatever the mentor does; a second time is a no-op."""
        held, self._held = self._held, None
        # A session that does not end is left behind, with the loop that it is on.
        if held is not None and held.run(self._stream.close()):
            held.release()


async def probe(target: str, timeout: float, credentials: Credentials | None = None) -> MentorInfo:
    """What a mentor is and can do.

    Args:
        target: ``HOST:PORT``.
        timeout: Seconds to wait.
        credentials: Certificates and token; None: plaintext without a token.

    Raises:
        Unavailable: The mentor does not answer in time, or rejects the call.
    """
    async with AsyncMentorClient(target, timeout=timeout, credentials=credentials) as client:
        try:
            return await client.info()
        except MentorgradError as error:
            raise Unavailable(f"no mentor at {target}: {error.message}") from None
