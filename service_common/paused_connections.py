"""Pauses single connections: what a caller sends then stays on its own machine.

gRPC takes from a connection whatever arrives, so a flood of calls costs the same whether they are
served or refused, and gRPC for Python has no means to slow one connection. The kernel has: a
filter of the socket that drops segments with data. TCP repeats them until the filter is gone, so
nothing is lost, and nobody spends time on what is sent meanwhile. Acknowledgements pass, so what
the service sends arrives as ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import socket
import struct
import time
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from urllib.parse import unquote

_REST = 20.0
"""After each search among the sockets of the process, none for so many times as long as it took."""

_REMEMBERED = 8192
"""Connections whose owners are remembered; for one more, the first is forgotten."""

_SEVERAL = object()
"""Instead of an owner: several."""

_FILES = Path("/proc/self/fd")

_ATTACH, _DETACH = 26, 27
"""``SO_ATTACH_FILTER`` and ``SO_DETACH_FILTER`` of Linux."""

_NO_DATA = (
    (0x30, 0, 0, 12),  # the byte of the TCP header with its length, in units of
    (0x74, 0, 0, 4),  # 4 bytes in the upper half
    (0x64, 0, 0, 2),
    (0x07, 0, 0, 0),
    (0x80, 0, 0, 0),  # the length of the segment
    (0x1C, 0, 0, 0),  # less that of the header
    (0x15, 0, 1, 0),  # is 0:
    (0x06, 0, 0, 0xFFFFFFFF),  # it passes,
    (0x06, 0, 0, 0),  # else it is dropped
)
"""A program of the kernel's classic packet filter, which is given segments from their TCP header
on: operation, jumps if true and if false, operand."""


class PausedConnections:
    """Pauses connections. Does nothing where the kernel is not Linux. For one event loop."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        """Paused connection → when it goes on, in the event loop's time."""
        self._owners: dict[str, object] = {}
        self._files: dict[str, int] = {}
        """Peer → the file number of its connection, as far as known."""
        self._search_again = 0.0

    def __len__(self) -> int:
        """Number of paused connections."""
        return len(self._until)

    def note(self, peer: str, owner: str) -> None:
        """Remembers that an owner has called on a connection."""
        peer = unquote(peer)
        if self._owners.setdefault(peer, owner) != owner:
            self._owners[peer] = _SEVERAL
        if len(self._owners) > _REMEMBERED:
            del self._owners[next(iter(self._owners))]

    def pause(self, peer: str, seconds: float) -> None:
        """Receives no data on a connection for a time, counted from now; a longer pause goes on. A
        connection that several owners have called on comes from a proxy or a service, and is
        never paused for the fault of one of them.

        Args:
            peer: As gRPC names it, such as ``ipv4:10.0.0.5:50312``.
            seconds: How long.
        """
        peer = unquote(peer)
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        if peer in self._until:
            self._until[peer] = max(until, self._until[peer])
        elif self._owners.get(peer) is not _SEVERAL and self._begin(peer):
            self._until[peer] = until
            loop.call_later(seconds, self._go_on, peer)

    def release(self) -> None:
        """Goes on with all."""
        for peer in list(self._until):
            self._end(peer)

    def _go_on(self, peer: str) -> None:
        loop = asyncio.get_running_loop()
        left = self._until.get(peer, 0.0) - loop.time()
        if left > 0.0:
            loop.call_later(left, self._go_on, peer)
        else:
            self._end(peer)

    def _end(self, peer: str) -> None:
        if self._until.pop(peer, None) is not None:
            found = self._known_socket(peer)  # else the connection has ended
            if found is not None:
                with found, contextlib.suppress(OSError):
                    found.setsockopt(socket.SOL_SOCKET, _DETACH, 0)

    def _begin(self, peer: str) -> bool:
        found = self._known_socket(peer) or self._found_socket(peer)
        if found is None:
            return False
        # Closed at once: gRPC could not close a socket of which there is a duplicate.
        with found, contextlib.suppress(OSError):
            _attach(found)
            return True
        return False

    def _known_socket(self, peer: str) -> socket.socket | None:
        number = self._files.get(peer)
        return None if number is None else _duplicate(number, peer)

    def _found_socket(self, peer: str) -> socket.socket | None:
        began = time.monotonic()
        if began < self._search_again:
            return None
        self._files = _connections()
        ended = time.monotonic()
        self._search_again = ended + _REST * (ended - began)
        return self._known_socket(peer)


def _attach(found: socket.socket) -> None:
    program = b"".join(struct.pack("HBBI", *step) for step in _NO_DATA)
    kept = ctypes.create_string_buffer(program, len(program))
    value = struct.pack("HP", len(_NO_DATA), ctypes.addressof(kept))
    found.setsockopt(socket.SOL_SOCKET, _ATTACH, value)


def _connections() -> dict[str, int]:
    """Peer → the file number of its connection, of all TCP connections of this process."""
    found: dict[str, int] = {}
    with contextlib.suppress(OSError):
        for name in os.listdir(_FILES):
            with contextlib.suppress(OSError):
                if os.readlink(_FILES / name).startswith("socket:"):
                    with socket.socket(fileno=os.dup(int(name))) as duplicate:
                        found[_peer_of(duplicate)] = int(name)
    found.pop("", None)
    return found


def _duplicate(number: int, peer: str) -> socket.socket | None:
    """A duplicate of a file, if it is the connection of a peer."""
    with contextlib.suppress(OSError):
        duplicate = socket.socket(fileno=os.dup(number))
        with contextlib.suppress(OSError):
            if _peer_of(duplicate) == peer:
                return duplicate
        duplicate.close()
    return None


def _peer_of(connection: socket.socket) -> str:
    """The other end, as gRPC names it; empty if it is not one of TCP.

    Raises:
        OSError: There is none (any more).
    """
    if connection.family not in (socket.AF_INET, socket.AF_INET6):
        return ""
    host, port, *_ = connection.getpeername()
    address = ip_address(host.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return f"ipv6:[{address}]:{port}"
    return f"ipv4:{getattr(address, 'ipv4_mapped', None) or address}:{port}"
