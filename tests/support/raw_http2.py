"""A client of gRPC that speaks HTTP/2 by hand, for what no library sends: half a request, a message
of any announced length, a window that stays closed."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from types import TracebackType
from typing import Self

_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_REFUSED, _CANCEL = 7, 8
"""Reasons for the reset of a stream."""
_INITIAL_WINDOW, _MAX_FRAME = 4, 5
"""Numbers of the settings."""
_DEFAULT_WINDOW, _DEFAULT_FRAME = 65_535, 16_384


def message(data: bytes, announced: int | None = None, compressed: bool = False) -> bytes:
    """A message with gRPC's prefix.

    Args:
        data: The message, or its beginning.
        announced: Length to announce; None: the true one.
        compressed: Whether to announce it as compressed.
    """
    return struct.pack(">BI", compressed, len(data) if announced is None else announced) + data


class RawConnection:
    """One connection; not for several threads.

    Args:
        address: ``HOST:PORT``.
        window: Bytes of a response that may be sent before it is read.
        patience: How long the server may take to make room for more, seconds.
        seconds: Timeout of every other wait.
    """

    def __init__(
        self,
        address: str,
        window: int = _DEFAULT_WINDOW,
        patience: float = 0.5,
        seconds: float = 60.0,
    ) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host.strip("[]"), int(port)), seconds)
        self._patience = patience
        self._seconds = seconds
        self._buffer = b""
        self._next = 1
        self._initial = _DEFAULT_WINDOW
        self._windows = {0: _DEFAULT_WINDOW}
        self._largest = _DEFAULT_FRAME
        self.answered: set[int] = set()
        """Streams with the beginning of a response."""
        self.ended: set[int] = set()
        """Streams that the server has ended."""
        self.refused: set[int] = set()
        """Those of them that it has not looked at."""
        self.closed = False
        """Whether the server has ended the connection."""
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self._frame(_SETTINGS, 0, 0, struct.pack(">HI", _INITIAL_WINDOW, window))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.socket.close()

    def open(self, path: str, **headers: str) -> int:
        """Begins a call with its headers alone; returns the number of the stream."""
        stream, self._next = self._next, self._next + 2
        self._windows[stream] = self._initial
        fields = {
            ":method": "POST",
            ":scheme": "http",
            ":path": path,
            ":authority": "a",
            "content-type": "application/grpc",
            "te": "trailers",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        block = b"".join(b"\0" + _text(name) + _text(value) for name, value in fields.items())
        self._frame(_HEADERS, _END_HEADERS, stream, block)
        return stream

    def send(self, stream: int, data: bytes, *, end: bool = False) -> int:
        """Sends as much of some bytes of a request as the server takes at once; returns how much.

        Args:
            stream: Number of the stream.
            data: The bytes.
            end: Whether nothing follows.
        """
        sent = 0
        while stream not in self.ended and not self.closed:
            size = min(len(data) - sent, self._largest, *(self._windows[n] for n in (0, stream)))
            is_last = sent + size == len(data)
            if size > 0 or is_last:
                flags = _END_STREAM if end and is_last else 0
                self._frame(_DATA, flags, stream, data[sent : sent + size])
                sent += size
                for number in (0, stream):
                    self._windows[number] -= size
            if is_last or not (self._receive(0.0 if size > 0 else self._patience) or size > 0):
                break
        return sent

    def cancel(self, stream: int) -> None:
        """Ends a call without waiting for its response."""
        self._frame(_RESET, 0, stream, struct.pack(">I", _CANCEL))

    def wait(self, until: Callable[[], object], seconds: float | None = None) -> bool:
        """Receives until a condition holds; returns whether it does."""
        while not until() and not self.closed:
            if not self._receive(self._seconds if seconds is None else seconds):
                break
        return bool(until())

    def _frame(self, kind: int, flags: int, stream: int, data: bytes) -> None:
        head = struct.pack(">I", len(data))[1:] + bytes([kind, flags]) + struct.pack(">I", stream)
        try:
            self.socket.sendall(head + data)
        except OSError:
            self.closed = True

    def _receive(self, seconds: float) -> bool:
        """Receives what there is, and waits for something; returns whether there was something."""
        self.socket.settimeout(max(seconds, 1e-4))
        try:
            data = self.socket.recv(1 << 16)
        except TimeoutError:
            return False
        except OSError:
            data = b""
        finally:
            self.socket.settimeout(self._seconds)
        self.closed = self.closed or not data
        self._buffer += data
        while len(self._buffer) >= 9:
            size = int.from_bytes(self._buffer[:3], "big")
            if len(self._buffer) < 9 + size:
                break
            kind, flags = self._buffer[3:5]
            stream = int.from_bytes(self._buffer[5:9], "big") & 0x7FFFFFFF
            self._read(kind, flags, stream, self._buffer[9 : 9 + size])
            self._buffer = self._buffer[9 + size :]
        return bool(data)

    def _read(self, kind: int, flags: int, stream: int, data: bytes) -> None:
        if kind == _SETTINGS and not flags & _ACK:
            self._accept(data)
        elif kind == _PING and not flags & _ACK:
            self._frame(_PING, _ACK, 0, data)
        elif kind == _WINDOW:
            self._windows[stream] = self._windows.get(stream, 0) + int.from_bytes(data, "big")
        elif kind == _RESET or (kind in (_DATA, _HEADERS) and flags & _END_STREAM):
            self.ended.add(stream)
            if kind == _RESET and int.from_bytes(data, "big") == _REFUSED:
                self.refused.add(stream)
        elif kind in (_DATA, _HEADERS):
            self.answered.add(stream)

    def _accept(self, settings: bytes) -> None:
        for place in range(0, len(settings), 6):
            name, value = struct.unpack(">HI", settings[place : place + 6])
            if name == _INITIAL_WINDOW:
                for number in self._windows.keys() - {0}:
                    self._windows[number] += value - self._initial
                self._initial = value
            elif name == _MAX_FRAME:
                self._largest = value
        self._frame(_SETTINGS, _ACK, 0, b"")


def _text(text: str) -> bytes:
    """A string of HPACK, without Huffman's code."""
    data = text.encode()
    if len(data) < 127:
        return bytes([len(data)]) + data
    size, more = len(data) - 127, bytearray([127])
    while size > 127:
        size, low = size >> 7, size & 127
        more.append(low | 128)
    return bytes([*more, size]) + data
