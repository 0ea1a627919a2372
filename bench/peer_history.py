"""The history service of a store alone: ``python -m bench.peer_history STORE``."""

from __future__ import annotations

import asyncio
import sys
from contextlib import closing
from typing import Any

from mentorgrad.v1 import history_service_pb2_grpc
from run_store.open import open_store
from run_store.servicer import SERVICE_NAME, HistoryServicer
from run_store.visibility import NO_LIMITS
from service_common import logs
from service_common.server import Server, announce, serve_until_told
from trainer_service.control_plane.caller_views import views_of_callers


async def main(url: str) -> None:
    """Serves the runs of a store on a free port."""
    logs.configure("error", "auto")
    with closing(open_store(url)) as store:
        server = Server("127.0.0.1:0", [SERVICE_NAME])
        history = HistoryServicer(store, views_of_callers(store, NO_LIMITS))
        add_history: Any = history_service_pb2_grpc.add_HistoryServiceServicer_to_server
        add_history(history, server.grpc)
        server.on_drain(history.drain)
        address = await server.start()
        await serve_until_told(server, 0.5, lambda: announce("history", address, ""))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
