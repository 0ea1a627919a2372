"""An OpenAI-compatible server that behaves badly below the level of any framework.

It reads each question whole and counts it; what it does then is a `Way`, a coroutine that writes as
it likes. It counts what was taken from it until its caller was gone.
"""

from __future__ import annotations

import asyncio
import functools
import gzip
import json
import struct
from collections.abc import Awaitable, Callable
from socket import SO_LINGER, SOL_SOCKET
from typing import Any

MEBIBYTE = 1 << 20
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
_CHUNKED = _HEAD + b"transfer-encoding: chunked\r\n\r\n"


class Answering:
    """One request that is being answered."""

    def __init__(self, server: FaultyLLMServer, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._writer = writer
        self.turn = len(server.requests)
        """Which request it is, from 1."""

    async def write(self, data: bytes) -> None:
        """Waits until the caller takes it; ends with the caller."""
        self._writer.write(data)
        await self._writer.drain()
        self._server.written += len(data)

    async def chunk(self, data: bytes) -> None:
        await self.write(b"%x\r\n%s\r\n" % (len(data), data))

    async def respond(self, status: int, body: bytes, **headers: str) -> None:
        """A whole response."""
        lines = [f"HTTP/1.1 {status} Whatever", f"content-length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    def reset(self) -> None:
        """Ends the connection with a RST."""
        linger = struct.pack("ii", 1, 0)
        self._writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, linger)


Way = Callable[[Answering], Awaitable[None]]


class FaultyLLMServer:
    """See the module."""

    def __init__(self) -> None:
        self.way: Way = silence
        """How it answers a question."""
        self.look: Way = body(b"{}")
        """How it answers when it is asked whether it is there."""
        self.requests: list[tuple[dict[str, str], Any]] = []
        """Headers and body of each question."""
        self.written = 0
        """Bytes that were taken from it."""
        self.asked, self.gone = asyncio.Event(), asyncio.Event()
        """A request came; a caller ended the connection before it had its answer."""
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    async def close(self) -> None:
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])
        }
        asked = await reader.readexactly(int(headers.get("content-length", "0")))
        is_question = head[0].startswith("POST ")
        if is_question:
            self.requests.append((headers, json.loads(asked)))
            self.asked.set()
        way = self.way if is_question else self.look
        answering = asyncio.ensure_future(way(Answering(self, writer)))
        left = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({answering, left}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done() or answering.exception():
                self.gone.set()
        finally:
            for task in (answering, left):
                task.cancel()
            await asyncio.gather(answering, left, return_exceptions=True)


# -- ways -------------------------------------------------------------------------------------


def said(text: Any, **more: Any) -> bytes:
    """The body of a right answer."""
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return json.dumps({"choices": [choice], **more}).encode()


def body(data: bytes, status: int = 200, **headers: str) -> Way:
    """The same response every time."""
    return lambda answering: answering.respond(status, data, **headers)


def after(failures: int, status: int, then: bytes, **headers: str) -> Way:
    """Fails so often, and then answers."""

    async def way(answering: Answering) -> None:
        if answering.turn <= failures:
            await answering.respond(status, b'{"error": {"message": "later"}}', **headers)
        else:
            await answering.respond(200, then)

    return way


async def silence(_: Answering) -> None:
    await asyncio.Event().wait()


async def endless(answering: Answering) -> None:
    await answering.write(_CHUNKED)
    while True:
        await answering.chunk(b" " * 65_536)


async def endless_error(answering: Answering) -> None:
    await answering.write(_CHUNKED.replace(b"200 OK", b"500 Oh"))
    while True:
        await answering.chunk(b"sorry, " * 9_000)


async def events(answering: Answering) -> None:
    """A stream of events, though none was asked for."""
    await answering.write(_CHUNKED.replace(b"application/json", b"text/event-stream"))
    while True:
        await answering.chunk(b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n')
        await asyncio.sleep(0.02)


async def drip(answering: Answering) -> None:
    await answering.write(_CHUNKED)
    while True:
        await answering.chunk(b" ")
        await asyncio.sleep(0.02)


async def endless_headers(answering: Answering) -> None:
    await answering.write(_HEAD)
    while True:
        await answering.write(b"x-more: " + b"y" * 1_000 + b"\r\n")


async def endless_patience(answering: Answering) -> None:
    """Says over and over that an answer is to come."""
    while True:
        await answering.write(b"HTTP/1.1 102 Processing\r\n\r\n" * 100)


async def half_a_body(answering: Answering) -> None:
    await answering.write(_HEAD + b"content-length: 1000\r\n\r\n" + said("1. half")[:20])


async def half_a_head(answering: Answering) -> None:
    await answering.write(_HEAD[:30])


async def half_a_chunk(answering: Answering) -> None:
    await answering.write(_CHUNKED + b"ffff\r\n{")


async def dropped(_: Answering) -> None:
    return


async def torn(answering: Answering) -> None:
    """A reset in the middle of a body."""
    await half_a_body(answering)
    answering.reset()


async def no_http(answering: Answering) -> None:
    await answering.write(bytes(range(256)) * 4)


async def gigantic(answering: Answering) -> None:
    """As long as it says it is."""
    await answering.write(_HEAD + b"content-length: %d\r\n\r\n" % (1 << 40))
    while True:
        await answering.write(b"[" * 65_536)


@functools.cache
def bomb() -> bytes:
    """Bytes that grow a thousandfold when they are unpacked."""
    return gzip.compress(b" " * (64 * MEBIBYTE), compresslevel=9)
