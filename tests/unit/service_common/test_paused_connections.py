"""Paused connections: what is sent to one stays with its sender, and is not lost."""

from __future__ import annotations

import asyncio
import select
import socket
import sys
from collections.abc import AsyncIterator, Iterator

import pytest

from service_common import paused_connections
from service_common.paused_connections import PausedConnections

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

LONG = 600.0
"""Seconds; longer than a test."""


class Connection:
    """A connection, both ends of which are here."""

    def __init__(self, host: str) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, 0), family=family) as listening:
            self.client = socket.create_connection(listening.getsockname()[:2], 120)
            self.server, _ = listening.accept()
        name = f"[{host}]" if ":" in host else host
        self.peer = f"ipv{6 if ':' in host else 4}:{name}:{self.client.getsockname()[1]}"

    def is_readable(self) -> bool:
        waiting = select.poll()
        waiting.register(self.server, select.POLLIN)
        return bool(waiting.poll(0))

    def close(self) -> None:
        self.client.close()
        self.server.close()


@pytest.fixture(params=["127.0.0.1", "::1"])
def connection(request: pytest.FixtureRequest) -> Iterator[Connection]:
    try:
        connection = Connection(request.param)
    except OSError:
        pytest.skip(f"no {request.param} here")
    yield connection
    connection.close()


@pytest.fixture
async def paused() -> AsyncIterator[PausedConnections]:
    paused = PausedConnections()
    yield paused
    paused.release()
    assert len(paused) == 0


async def readable(connection: Connection) -> None:
    async with asyncio.timeout(120):
        while not connection.is_readable():
            await asyncio.sleep(0.001)


async def test_a_paused_connection_has_nothing_to_read_until_it_goes_on(
    connection: Connection, paused: PausedConnections
) -> None:
    paused.pause(connection.peer, LONG)
    connection.client.sendall(b"kept")
    assert len(paused) == 1
    assert not connection.is_readable()
    paused.release()
    await readable(connection)
    assert connection.server.recv(10) == b"kept"


async def test_a_pause_ends_by_itself(connection: Connection, paused: PausedConnections) -> None:
    paused.pause(connection.peer, 0.01)
    connection.client.sendall(b"kept")
    await readable(connection)
    assert len(paused) == 0


@pytest.mark.parametrize("pauses", [(LONG, 0.0), (0.001, LONG)])
async def test_the_longer_of_two_pauses_counts(
    connection: Connection, paused: PausedConnections, pauses: tuple[float, float]
) -> None:
    for seconds in pauses:
        paused.pause(connection.peer, seconds)
    connection.client.sendall(b"kept")
    await asyncio.sleep(0.01)
    assert not connection.is_readable()


async def test_what_is_sent_to_a_paused_connection_arrives_whole_and_in_order(
    connection: Connection, paused: PausedConnections
) -> None:
    data = bytes(range(256)) * 4096
    paused.pause(connection.peer, LONG)
    sending = asyncio.create_task(asyncio.to_thread(connection.client.sendall, data))
    connection.server.sendall(b"not paused")  # the other direction
    assert connection.client.recv(100) == b"not paused"
    assert not connection.is_readable()
    paused.release()
    connection.server.settimeout(120)
    received = b""
    while len(received) < len(data):
        received += await asyncio.to_thread(connection.server.recv, 1 << 16)
    await sending
    assert received == data


async def test_a_connection_of_several_owners_is_never_paused(
    connection: Connection, paused: PausedConnections
) -> None:
    for owner in ("alice", "bob"):
        paused.note(connection.peer, owner)
    paused.pause(connection.peer, LONG)
    assert len(paused) == 0


async def test_others_stay_readable(connection: Connection, paused: PausedConnections) -> None:
    other = Connection("127.0.0.1")
    paused.pause(connection.peer, LONG)
    other.client.sendall(b"heard")
    await readable(other)
    other.close()


@pytest.mark.parametrize("peer", ["", "unix:/run/a", "ipv4:127.0.0.1:1", "ipv4:"])
async def test_what_is_no_connection_of_the_process_is_not_paused(
    paused: PausedConnections, peer: str
) -> None:
    paused.pause(peer, LONG)
    assert len(paused) == 0


async def test_a_connection_that_has_ended_is_let_go(
    connection: Connection, paused: PausedConnections
) -> None:
    paused.pause(connection.peer, LONG)
    connection.close()
    paused.release()
    paused.pause(connection.peer, LONG)
    assert len(paused) == 0


async def test_the_sockets_are_searched_only_so_often(
    connection: Connection, paused: PausedConnections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paused_connections, "_REST", float("inf"))
    paused.pause("ipv4:127.0.0.1:1", LONG)
    later = Connection("127.0.0.1")
    paused.pause(later.peer, LONG)
    assert len(paused) == 0
    paused.pause(connection.peer, LONG)
    assert len(paused) == 1
    later.close()
