"""The peer of `bench.stream`: a bare gRPC client stream, `python -m bench.peer_stream [FILE]`.

The server accepts messages of bytes and acknowledges at the end. Without FILE it discards them;
with FILE it inserts every message as a row of an SQLite table before the acknowledgement. It prints
its address as one JSON line.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Sequence

import grpc
import grpc.aio

from mentorgrad.wire.channels import SERVER_OPTIONS
from service_common.server import wait_for_signal

METHOD = "/bench.Peer/Upload"
ROWS = 64
"""Rows per transaction."""

Sink = Callable[[Sequence[bytes]], None]


def table(path: str) -> Sink:
    """Returns a function that inserts rows, one transaction per call; run store pragmas."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    for pragma in ("page_size=16384", "journal_mode=WAL", "synchronous=NORMAL"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, data BLOB NOT NULL)")

    def insert(rows: Sequence[bytes]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO rows (data) VALUES (?)", [(row,) for row in rows])
        connection.execute("COMMIT")

    return insert


class Upload(grpc.GenericRpcHandler):
    """Handler that accepts raw messages.

    Args:
        sink: Stores them in batches; None: they are discarded.
    """

    def __init__(self, sink: Sink | None) -> None:
        self._sink = sink

    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        """Routes the only method."""
        if call.method != METHOD:
            return None
        return grpc.stream_unary_rpc_method_handler(self._upload)

    async def _upload(self, requests: AsyncIterator[bytes], _: object) -> bytes:
        rows: list[bytes] = []
        async for request in requests:
            if self._sink is None:
                continue
            rows.append(request)
            if len(rows) == ROWS:
                # Synchronously: another thread would contend for the GIL at every row.
                self._sink(rows)
                rows = []
        if self._sink is not None:
            self._sink(rows)
        return b""


async def main() -> None:
    """Serves until SIGINT or SIGTERM."""
    sink = table(sys.argv[1]) if len(sys.argv) > 1 else None
    server = grpc.aio.server(options=SERVER_OPTIONS)
    server.add_generic_rpc_handlers((Upload(sink),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    signalled = asyncio.create_task(wait_for_signal())
    await asyncio.sleep(0)
    print(json.dumps({"address": f"127.0.0.1:{port}"}), flush=True)
    await signalled
    await server.stop(0.5)


if __name__ == "__main__":
    asyncio.run(main())
