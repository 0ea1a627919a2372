"""The metrics are read while others hold connections to their port."""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Counter

from mentorgrad.errors import Unavailable
from service_common import metrics_server
from service_common.metrics import exposed


@pytest.fixture
def address() -> Iterator[str]:
    registry = CollectorRegistry()
    Counter("told", "What is counted.", registry=registry).inc(3)
    with exposed("127.0.0.1:0", registry) as address:
        yield address


def connected(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), 120)


def answer(address: str, request: bytes) -> bytes:
    with connected(address) as connection:
        connection.sendall(request)
        data = b""
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(1 << 16):
                data += part
    return data


def test_idle_connections_take_no_threads_and_end(address: str) -> None:
    threads = threading.active_count()
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(connected(address)) for _ in range(40)]
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=120) as response:
            assert b"told_total 3.0" in response.read()
        assert threading.active_count() <= threads
        for connection in idle[: 40 - metrics_server.CONNECTIONS]:
            with contextlib.suppress(ConnectionError):
                assert connection.recv(1) == b""


def test_a_slow_connection_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "SECONDS", 0.05)
    with exposed("127.0.0.1:0", CollectorRegistry()) as address:
        assert answer(address, b"GET /metrics HTTP/1.1\r\n") == b""


@pytest.mark.parametrize(
    "request_bytes", [b"\r\n\r\n", b"a b\r\n\r\n", b"x" * 100_000, b"\xff" * 20 + b"\r\n\r\n"]
)
def test_what_is_no_request_gets_no_answer(address: str, request_bytes: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        assert answer(address, request_bytes) == b""


def test_it_speaks_http(address: str) -> None:
    head, _, body = answer(
        address, b"GET /metrics HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n"
    ).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"told_total 3.0" in gzip.decompress(body)
    assert answer(address, b"POST / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 405 ")


def test_an_address_in_use_is_said(address: str) -> None:
    with (
        pytest.raises(Unavailable, match=f"cannot serve metrics on {address}"),
        exposed(address, CollectorRegistry()),
    ):
        pass
