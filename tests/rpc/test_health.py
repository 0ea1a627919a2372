"""Health that is true: SERVING just while the store, or the model, answers."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from sqlalchemy.engine import make_url

from mentor_service.backends import threaded_backend
from mentor_service.backends.openai import OpenAIBackend
from mentor_service.backends.threaded_backend import ThreadedBackend
from mentor_service.protocols import Question, Reply
from mentorgrad.errors import ResourceExhausted, Unavailable
from run_store.open import open_store
from service_common import health
from service_common.health import HealthCheck, always, in_thread
from service_common.server import Server
from tests.support.raw_http2 import RawConnection, message

SERVICE = "mentorgrad.v1.HistoryService"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "INTERVAL", 0.02)


class Watcher:
    """Follows what the health service says; waits for a state, however long it takes."""

    def __init__(self, stub: Any, service: str) -> None:
        self._stub = stub
        self._service = service
        request = health_pb2.HealthCheckRequest(service=service)
        self._call = stub.Watch(request, timeout=120)

    async def says(self, status: int) -> None:
        while (await self._call.read()).status != status:
            pass
        for service in ("", self._service):
            request = health_pb2.HealthCheckRequest(service=service)
            # A busy machine may answer a later check late: the state is waited for here too.
            while (await self._stub.Check(request, timeout=120)).status != status:
                await asyncio.sleep(health.INTERVAL)


@contextlib.asynccontextmanager
async def watched(check: HealthCheck, patience: float = 5.0) -> AsyncIterator[Watcher]:
    server = Server("127.0.0.1:0", [SERVICE], check=check, patience=patience)
    address = await server.start()
    async with grpc.aio.insecure_channel(address) as channel:
        yield Watcher(health_pb2_grpc.HealthStub(channel), SERVICE)
        await server.stop(1000)  # which a watch of the health does not hold up


async def test_a_service_that_needs_nothing_serves() -> None:
    async with watched(always) as watcher:
        await watcher.says(SERVING)


async def test_a_watcher_who_does_not_read_holds_up_nobody() -> None:
    """Neither the news for others, nor the end of the service."""
    server = Server("127.0.0.1:0", [SERVICE])
    address = await server.start()
    with RawConnection(address, window=0) as stranger:
        stream = stranger.open("/grpc.health.v1.Health/Watch")
        stranger.send(stream, message(b""))
        assert await asyncio.to_thread(stranger.wait, lambda: stream in stranger.answered)
        async with asyncio.timeout(30), grpc.aio.insecure_channel(address) as channel:
            watcher = Watcher(health_pb2_grpc.HealthStub(channel), SERVICE)
            await watcher.says(SERVING)
            await server.drain()
            await watcher.says(NOT_SERVING)
    await server.stop(0)


async def test_a_database_file_that_goes_away_and_comes_back(tmp_path: Path) -> None:
    file = tmp_path / "runs.sqlite"
    store = open_store(f"sqlite:///{file}")
    async with watched(in_thread(store.check)) as watcher:
        await watcher.says(SERVING)
        file.rename(tmp_path / "elsewhere")
        await watcher.says(NOT_SERVING)
        assert not file.exists()  # to look makes no file
        (tmp_path / "elsewhere").rename(file)
        await watcher.says(SERVING)
    store.close()


@contextlib.asynccontextmanager
async def relay(port: int, socket: str) -> AsyncIterator[None]:
    """Lets Postgres be reached at a port; afterwards nobody is there, and all connections cut."""
    pipes: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(socket)
        pipes.update(map(asyncio.create_task, (pump(reader, back), pump(there, writer))))

    server = await asyncio.start_server(accept, "127.0.0.1", port)
    yield
    server.close()
    for pipe in pipes:
        pipe.cancel()
    await asyncio.gather(*pipes, return_exceptions=True)


async def test_a_postgres_that_goes_away_and_comes_back(postgres_url: str, free_port: int) -> None:
    url = make_url(postgres_url)
    socket = f"{url.query['host']}/.s.PGSQL.{url.port or 5432}"
    reached = url.set(host="127.0.0.1", port=free_port).difference_update_query(["host"])
    async with contextlib.AsyncExitStack() as up:
        await up.enter_async_context(relay(free_port, socket))
        store = await asyncio.to_thread(open_store, reached.render_as_string(hide_password=False))
        async with watched(in_thread(store.check)) as watcher:
            await watcher.says(SERVING)
            await up.aclose()
            await watcher.says(NOT_SERVING)
            async with relay(free_port, socket):
                await watcher.says(SERVING)
        store.close()


async def test_a_check_that_hangs_is_no_answer_until_it_comes_back() -> None:
    began, hangs, asked = threading.Event(), threading.Event(), 0

    def check() -> None:
        nonlocal asked
        asked += 1
        if asked == 2:
            began.set()
            hangs.wait(120)

    async with watched(in_thread(check), patience=0.05) as watcher:
        await asyncio.to_thread(began.wait, 120)
        await watcher.says(NOT_SERVING)
        assert asked == 2  # a late answer is waited for, not asked for again
        hangs.set()
        await watcher.says(SERVING)


async def test_being_busy_is_an_answer_and_a_defect_is_none() -> None:
    errors: list[Exception | None] = [ResourceExhausted("busy"), ValueError("a defect"), None]

    async def check() -> None:
        error = errors[0] if len(errors) == 1 else errors.pop(0)
        if error is not None:
            raise error

    async with watched(check) as watcher:
        await watcher.says(SERVING)


# -- backends ---------------------------------------------------------------------------------


class Engine:
    """Does in its thread whatever the question says."""

    context = 100

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.is_broken = False

    def generate(self, question: Question, check: Callable[[], None]) -> Reply:
        if question.user == "die":
            raise SystemExit
        if self.is_broken or question.user == "fail":
            raise RuntimeError("llama_decode returned -3")
        self.go_on.wait(120)
        return Reply(("",), 0, 0, 0, timedelta(0), ("stop",))

    def close(self) -> None:
        pass


def question(user: str) -> Question:
    return Question("", user, "", None, max_tokens=1, temperature=0.0, seed=0)


@pytest.fixture
async def backend() -> AsyncIterator[ThreadedBackend[Engine]]:
    made = ThreadedBackend("model", Engine, queue_limit=4)
    yield made
    made.engine.go_on.set()
    await made.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_model_whose_thread_died(backend: ThreadedBackend[Engine]) -> None:
    async with watched(backend.check) as watcher:
        await watcher.says(SERVING)
        with pytest.raises(Exception, match="did not answer"):
            await backend.ask(question("die"), 0.05)
        await watcher.says(NOT_SERVING)


async def test_a_model_that_is_stuck_and_comes_back(
    backend: ThreadedBackend[Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with watched(backend.check) as watcher:
        await watcher.says(SERVING)
        with pytest.raises(Exception, match="did not answer"):
            await backend.ask(question("think"), 0.05)
        await backend.check()  # it may be about to notice
        monkeypatch.setattr(threaded_backend, "_STUCK_SECONDS", 0.0)
        await watcher.says(NOT_SERVING)
        backend.engine.go_on.set()
        await watcher.says(SERVING)


async def test_a_model_that_fails_and_comes_back(backend: ThreadedBackend[Engine]) -> None:
    backend.engine.go_on.set()
    async with watched(backend.check) as watcher:
        await watcher.says(SERVING)
        backend.engine.is_broken = True
        with pytest.raises(Unavailable, match="the model failed"):
            await backend.ask(question("think"), 5)
        await watcher.says(NOT_SERVING)
        backend.engine.is_broken = False
        await watcher.says(SERVING)  # nobody need ask it


async def test_a_question_that_only_fails_itself_changes_nothing(
    backend: ThreadedBackend[Engine],
) -> None:
    backend.engine.go_on.set()
    with pytest.raises(Unavailable, match="the model failed"):
        await backend.ask(question("fail"), 5)
    await backend.check()


@contextlib.asynccontextmanager
async def llm_server(port: int, status: str) -> AsyncIterator[None]:
    """A server that answers everything with one status."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            f"HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode()
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", port)
    async with server:
        yield


async def test_a_server_of_others_that_comes_and_goes(free_port: int) -> None:
    backend = OpenAIBackend(f"http://127.0.0.1:{free_port}/v1", "m")
    async with watched(backend.check) as watcher:
        await watcher.says(NOT_SERVING)
        async with llm_server(free_port, "200 OK"):
            await watcher.says(SERVING)
        await watcher.says(NOT_SERVING)
    await backend.close()


@pytest.mark.parametrize(
    ("status", "is_there"),
    [
        ("404 Not Found", True),  # it has no list of models
        ("429 Too Many Requests", True),
        ("401 Unauthorized", False),
        ("503 Service Unavailable", False),
    ],
)
async def test_what_counts_as_an_answer(free_port: int, status: str, is_there: bool) -> None:
    backend = OpenAIBackend(f"http://127.0.0.1:{free_port}/v1", "m")
    expected: Any = contextlib.nullcontext() if is_there else pytest.raises(Unavailable)
    async with llm_server(free_port, status):
        with expected:
            await backend.check()
    await backend.close()
