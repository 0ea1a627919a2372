"""Sending a case, and judging what came of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import grpc
from grpc import StatusCode

from campaigns.fuzz.cases import Case
from campaigns.fuzz.methods import Method
from mentorgrad.wire.channels import STREAM_OPTIONS

DEADLINE = 30.0
"""Seconds within which every call is answered, but for those that wait by intent."""
_WATCH_SECONDS = 0.05
"""How long a call that waits for further events is left open."""
_MOST_READ = 200
"""Responses after which a stream is left."""

LEFT = "LEFT"
"""Instead of a code: the call was given up by us, as was meant."""


class Unexpected(AssertionError):
    """A call ended as it must not."""

    def __init__(self, case: Case, code: str, details: str) -> None:
        super().__init__(f"{case.method.short} answered {code}: {details}")
        self.case, self.code, self.details = case, code, details


class Caller:
    """Calls both services with raw bytes."""

    def __init__(self, addresses: dict[str, str]) -> None:
        options = [*STREAM_OPTIONS, ("grpc.max_send_message_length", -1)]
        self._channels = {
            name: grpc.insecure_channel(address, options=options)
            for name, address in addresses.items()
        }

    def close(self) -> None:
        for channel in self._channels.values():
            channel.close()

    def send(self, case: Case) -> str:
        """The name of the code, or `LEFT`.

        Raises:
            Unexpected: A code that the method does not document, or none in time.
        """
        waits = _waits(case)
        timeout = _WATCH_SECONDS if waits else DEADLINE
        if case.how in ("cancel", "unread"):
            return self._leave(case)
        try:
            responses = self._open(case, timeout)
            for _ in itertools.islice(responses, _MOST_READ):
                pass
            if (code := responses.code() if not responses.is_active() else None) is None:
                responses.cancel()
                return LEFT
        except grpc.RpcError as error:
            code, details = error.code(), error.details()  # type: ignore[attr-defined]
            if waits and code is StatusCode.DEADLINE_EXCEEDED:
                return LEFT
            if code not in _allowed(case):
                raise Unexpected(case, code.name, str(details)) from None
        return str(code.name)

    def _open(self, case: Case, timeout: float) -> Any:
        """Any method as a stream on both sides, which is the same on the wire."""
        compression = grpc.Compression.Gzip if case.how == "gzip" else None
        call = self._channels[case.method.server].stream_stream(case.method.path)
        return call(_messages(case), timeout=timeout, compression=compression)

    def _leave(self, case: Case) -> str:
        """Gives a call up at once, or after its first response."""
        call = self._open(case, DEADLINE)
        if case.how == "unread":
            try:
                next(call, None)
            except grpc.RpcError as error:
                code = error.code()  # type: ignore[attr-defined]
                if code not in _allowed(case):
                    raise Unexpected(case, code.name, str(error.details())) from None  # type: ignore[attr-defined]
        call.cancel()
        return LEFT


def _messages(case: Case) -> Iterator[bytes]:
    many = case.requests
    if case.how == "as_stream" and not case.method.many_in:
        many = many * 2
    return iter(many)


def _allowed(case: Case) -> frozenset[StatusCode]:
    codes = case.method.codes
    return codes | {StatusCode.UNIMPLEMENTED} if case.how in ("as_stream", "gzip") else codes


def _waits(case: Case) -> bool:
    """Whether a call stays open by intent."""
    return case.method.name == "Watch" or (
        case.method.name == "StreamEvents" and _follows(case.method, case.requests[0])
    )


def _follows(method: Method, data: bytes) -> bool:
    from google.protobuf.message import DecodeError
    from google.protobuf.message_factory import GetMessageClass

    try:
        return bool(GetMessageClass(method.request).FromString(data).follow)
    except DecodeError:
        return False
