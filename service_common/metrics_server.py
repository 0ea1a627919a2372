"""HTTP server of the metrics: one thread, few connections, little time for each.

`prometheus_client`'s own gives a thread to every connection, whether it asks for anything or not.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, make_wsgi_app

from service_common.places import Newest

CONNECTIONS = 32
"""Maximum number of connections; a further one ends the oldest."""

SECONDS = 10.0
"""Time limit of a connection, seconds."""

_REQUEST_BYTES = 16 * 1024
"""Maximum size of a request, bytes."""


@contextlib.contextmanager
def served(host: str, port: int, registry: CollectorRegistry) -> Iterator[int]:
    """Serves a registry while the block runs; yields the port.

    Raises:
        OSError: The address cannot be bound.
    """
    family, _, _, _, address = socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
    with socket.create_server(address[:2], family=family, dualstack_ipv6=both) as listener:
        loop = asyncio.new_event_loop()
        stopped = asyncio.Event()
        thread = threading.Thread(
            target=lambda: loop.run_until_complete(_serve(listener, registry, stopped)),
            name="metrics",
            daemon=True,
        )
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            loop.call_soon_threadsafe(stopped.set)
            thread.join()
            loop.close()


async def _serve(
    listener: socket.socket, registry: CollectorRegistry, stopped: asyncio.Event
) -> None:
    answer = make_wsgi_app(registry)
    places = Newest(CONNECTIONS, SECONDS)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with places.place():
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(_response(answer, head))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
            pass  # no request, or half of one, or too large, or no reader
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(connected, sock=listener, limit=_REQUEST_BYTES)
    await stopped.wait()
    server.close()
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _response(answer: Callable[..., list[bytes]], head: bytes) -> bytes:
    """The response to a request.

    Args:
        answer: WSGI application.
        head: Request line and headers.

    Raises:
        ValueError: The request is malformed.
    """
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    path, _, query = target.partition("?")
    headers = {
        name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)
    }
    began: list[str] = []

    def start(status: str, found: list[tuple[str, str]]) -> None:
        began.append(f"HTTP/1.1 {status}")
        began.extend(f"{name}: {value}" for name, value in found)

    body = b"".join(
        answer(
            {
                "REQUEST_METHOD": method,
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "HTTP_ACCEPT": headers.get("accept", ""),
                "HTTP_ACCEPT_ENCODING": headers.get("accept-encoding", ""),
            },
            start,
        )
    )
    began += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
    return "\r\n".join(began).encode("latin-1") + body
