"""A TCP proxy that misbehaves when told to; it lives on a thread and a loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading


class Proxy:
    """Listens on `address`, before ``127.0.0.1:PORT`` or the socket at a path."""

    def __init__(self, target: int | str) -> None:
        self.target = target
        self.delay, self.piece = 0.0, 1 << 16
        """Seconds before each piece, and its bytes: small ones with a delay are a thin line."""
        self.flows = True
        """Whether anything goes through; if not, connections stay as they are, half-open."""
        self._open: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None] | None] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port = 0
        self.accept()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def accept(self) -> None:
        """Listens, on the same port as ever."""
        starting = asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(30)
        self.port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Nobody listens any more, and all connections end."""
        self._do(self._server.close)
        self.cut()

    def cut(self, *, reset: bool = False) -> None:
        """Ends all connections, politely or with a RST."""
        self._do(lambda: [_end(writer, reset) for writer in tuple(self._open)])

    def half_close(self) -> None:
        """Says to both ends that nothing more comes, and goes on listening to them."""
        self._do(lambda: [writer.write_eof() for writer in tuple(self._open)])

    def _do(self, act: object) -> None:
        async def call() -> None:
            act()  # type: ignore[operator]

        asyncio.run_coroutine_threadsafe(call(), self._loop).result(30)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving.add(asyncio.current_task())
        is_path = isinstance(self.target, str)
        opening = asyncio.open_unix_connection if is_path else asyncio.open_connection
        where = (self.target,) if is_path else ("127.0.0.1", self.target)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            back, forth = await opening(*where)  # type: ignore[operator]
            self._open |= {writer, forth}
            await asyncio.gather(self._pump(reader, forth), self._pump(back, writer))
        writer.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, RuntimeError):
            while data := await source.read(self.piece):
                while not self.flows and not sink.is_closing():
                    await asyncio.sleep(0.02)
                await asyncio.sleep(self.delay)
                sink.write(data)
                await sink.drain()
        self._open.discard(sink)
        sink.close()

    def close(self) -> None:
        self.refuse()
        self._do(
            lambda: [t.cancel() for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        )
        self._do(lambda: None)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


def _end(writer: asyncio.StreamWriter, reset: bool) -> None:
    if reset:
        link: socket.socket = writer.get_extra_info("socket")
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    (writer.transport.abort if reset else writer.close)()
