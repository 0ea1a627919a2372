"""Events as a store keeps them, so that they reach a stream without being decoded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mentorgrad.domain.event import EventKind, RunEvent, Segment
from mentorgrad.domain.query import EventQuery
from mentorgrad.schema import evolve
from mentorgrad.wire import codec, tensors


@dataclass(frozen=True)
class StoredEvent:
    """One event of a run's log. Its message is decoded only when needed."""

    seq: int
    """Sequence number."""
    kind: EventKind
    """Kind of the payload."""
    data: bytes
    """Encoded message of the event without raw tensors."""
    parameters: np.ndarray | None = None
    """Raw parameters of a segment; present only in the FULL view."""

    @property
    def size(self) -> int:
        """Bytes of the event."""
        return len(self.data) + (self.parameters.nbytes if self.parameters is not None else 0)

    def decoded(self) -> RunEvent:
        """Decodes the event.

        Raises:
            DataLoss: The bytes are not a valid event.
        """
        event = codec.decode_event(self.data)
        if self.parameters is None:
            return event
        assert isinstance(event.payload, Segment)  # noqa: S101 - narrows the type
        return evolve(event, payload=evolve(event.payload, parameters=self.parameters))

    def message(self) -> Any:
        """Decodes the event's message, without raw tensors.

        Raises:
            DataLoss: The bytes are not a valid event.
        """
        return codec.parse(codec.message_class(RunEvent)(), self.data)

    def write(self, message: Any) -> None:
        """Writes the event into an empty RunEvent message.

        Raises:
            DataLoss: The bytes are not a valid event.
        """
        codec.parse(message, self.data)
        if self.parameters is not None:
            tensors.write(self.parameters, message.segment.parameters)


class StoredEventReader(Protocol):
    """Reads stored events."""

    def stored_events(self, run_id: str, query: EventQuery | None = None) -> Iterable[StoredEvent]:
        """Like `RunReader.events`, but not decoded.

        Raises:
            NotFound: No such run.
        """
        ...
