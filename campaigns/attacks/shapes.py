"""Requests of the worst shapes, by a caller with a token: how long everybody else waits."""

from __future__ import annotations

import time
from typing import Any

from campaigns.attacks.pulse import Pulse
from campaigns.attacks.target import Target
from mentorgrad.v1 import history_service_pb2 as history
from service_common.tokens import Scope
from tests.support.raw_http2 import RawConnection, message

_MIB = 1 << 20
_STREAM_EVENTS = "/mentorgrad.v1.HistoryService/StreamEvents"
_IMPORT_RUN = "/mentorgrad.v1.TrainerService/ImportRun"


def worst_shapes(target: Target) -> dict[str, Any]:
    """Unknown fields, empty messages beside and in each other, and long lists, of 8 MiB each."""
    shapes = {
        "unknown fields": (_IMPORT_RUN, b"\x78\x01" * (4 * _MIB - 50)),
        "unknown texts": (_IMPORT_RUN, b"\x7a\x00" * (4 * _MIB - 50)),
        "empty messages": (_IMPORT_RUN, _wrapped(b"\x0a", b"\x32\x00" * (3 * _MIB))),
        "one large text": (_IMPORT_RUN, _wrapped(b"\x7a", bytes(8 * _MIB - 100))),
        "kinds": (_STREAM_EVENTS, _kinds(_MIB - 100)),
    }
    with Pulse(target.address) as pulse:
        time.sleep(2)
    found = {"nothing, ms": pulse.longest_ms}
    for name, (path, data) in shapes.items():
        with Pulse(target.address) as pulse, RawConnection(target.address) as connection:
            stream = connection.open(path, authorization=f"Bearer {target.tokens[Scope.RUN]}")
            body, sent = message(data), 0
            while sent < len(body) and stream not in connection.ended:
                sent += connection.send(stream, body[sent : sent + _MIB])
            connection.send(stream, b"", end=True)
            connection.wait(lambda stream=stream: stream in connection.ended)
        found[f"{name}, ms"] = pulse.longest_ms
    return found


def _kinds(count: int) -> bytes:
    return history.StreamEventsRequest(run_id="finished", kinds=[2] * count).SerializeToString()


def _wrapped(tag: bytes, data: bytes) -> bytes:
    size, left = bytearray(), len(data)
    while left > 127:
        size.append(left & 127 | 128)
        left >>= 7
    return tag + bytes([*size, left]) + data
