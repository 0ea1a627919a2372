"""What the commands share: their options, how they reach a server or a store, and their errors."""

from __future__ import annotations

import contextlib
import importlib.metadata
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Protocol, cast

import typer

from mentorgrad.errors import (
    InvalidInput,
    MentorgradError,
    Unauthenticated,
    Unavailable,
    Unsupported,
)

if TYPE_CHECKING:
    from mentorgrad.client import Client, MentorClient
    from mentorgrad.model.event import RunEvent
    from mentorgrad.model.query import (
        CandidateFilter,
        CandidatePage,
        EventQuery,
        RunFilter,
        RunOrder,
        RunPage,
        View,
    )
    from mentorgrad.model.run import Artifact, Run, Trajectory

DEFAULT_SERVER = "127.0.0.1:50551"
"""Where the commands look for a trainer service."""

DEFAULT_MENTOR = "127.0.0.1:50552"
"""Where the commands look for a mentor service."""

STORES = "mentorgrad.stores"
"""Entry points that open a store from its URL."""

EXTRAS = {
    "trainer": ("torch", "transformers", "sqlalchemy", "alembic", "safetensors", "pyarrow"),
    "mentor": ("llama-cpp-python", "httpx", "jsonschema"),
    "postgres": ("psycopg",),
    "plot": ("matplotlib",),
    "hub": ("huggingface-hub",),
}
"""Extra → what tells whether it is installed."""

ServerOption = Annotated[
    str,
    typer.Option(
        "--server", metavar="HOST:PORT", envvar="MENTORGRAD_SERVER", help="Trainer service."
    ),
]
StoreOption = Annotated[
    str,
    typer.Option(
        "--store",
        metavar="URL",
        help="Read this store itself, without a service: sqlite:///FILE or postgresql://...",
    ),
]
MentorOption = Annotated[
    str,
    typer.Option(
        "--mentor-server",
        metavar="HOST:PORT",
        envvar="MENTORGRAD_MENTOR",
        help="Mentor service.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="Id of the run.")]


class Reader(Protocol):
    """What the read commands need; the client and every store have it."""

    def get_run(self, run_id: str) -> Run:
        """The run as it stands."""
        ...

    def list_runs(
        self,
        run_filter: RunFilter | None = None,
        order: RunOrder = ...,
        page_size: int = 50,
        page_token: str = "",
    ) -> RunPage:
        """Runs by filter, in pages."""
        ...

    def events(self, run_id: str, query: EventQuery | None = None) -> Iterable[RunEvent]:
        """Recorded events in order."""
        ...

    def trajectory(self, run_id: str, max_points: int = 0, view: View = ...) -> Trajectory:
        """Effective snapshots in order of step."""
        ...

    def list_candidates(
        self,
        run_id: str,
        candidate_filter: CandidateFilter | None = None,
        page_size: int = 50,
        page_token: str = "",
    ) -> CandidatePage:
        """Effective candidates, in pages."""
        ...

    def artifacts(self, run_id: str) -> tuple[Artifact, ...]:
        """Files that the run left."""
        ...

    def read_artifact(self, run_id: str, name: str) -> bytes:
        """A file's bytes."""
        ...


@contextlib.contextmanager
def open_client(server: str) -> Iterator[Client]:
    """The client of a trainer service; a service that is not there is said with its remedy."""
    from mentorgrad.cli.access import credentials
    from mentorgrad.client import Client

    address = check_address("--server", server)
    absent = (
        f"there is no trainer service at {server}; start one with `mentorgrad serve all`, "
        "name another with --server, or read a store with --store"
    )
    with Client(address, credentials=credentials()) as client, _remedies(address, absent):
        yield client


@contextlib.contextmanager
def open_mentor(server: str) -> Iterator[MentorClient]:
    """The client of a mentor service; one that is not there is said with its remedy."""
    from mentorgrad.cli.access import credentials
    from mentorgrad.client import MentorClient

    address = check_address("--mentor-server", server)
    absent = (
        f"there is no mentor service at {server}; start one with "
        "`mentorgrad serve mentor`, or name another with --mentor-server"
    )
    with MentorClient(address, credentials=credentials()) as client, _remedies(address, absent):
        yield client


@contextlib.contextmanager
def _remedies(address: str, absent: str) -> Iterator[None]:
    """Says what to do about a service that is not there, or that wants a token."""
    try:
        yield
    except Unavailable as error:
        if "no answer" not in error.message:
            raise
        raise Unavailable(absent) from None
    except Unauthenticated as error:
        if error.reason != "TOKEN_MISSING":
            raise
        raise Unauthenticated(
            f"{address} wants a token: name its file with --token-file, or set MENTORGRAD_TOKEN"
        ) from None


@contextlib.contextmanager
def open_reader(server: str, store: str) -> Iterator[Reader]:
    """The store where one is named, else the trainer service."""
    if not store:
        with open_client(server) as client:
            yield client
        return
    opened = open_store(store)
    try:
        yield opened
    finally:
        opened.close()


def open_store(url: str) -> Any:
    """Opens a store by the entry point that an installed extra provides, for reading.

    Raises:
        Unsupported: The extra is not installed.
        InvalidInput: The URL names no store.
    """
    opener = load_entry_point(STORES, "sql", "trainer")
    path = sqlite_file(url)
    if path is not None and not path.is_file():
        raise InvalidInput.field("--store", f"there is no store at {path}")
    return opener(url)


def load_entry_point(group: str, name: str, extra: str) -> Any:
    """What an optional part of the distribution provides under a name.

    Raises:
        Unsupported: Something it needs is not installed; says which extra to install.
    """
    found = importlib.metadata.entry_points(group=group, name=name)
    try:
        return next(iter(found)).load()
    except StopIteration:
        missing = name
    except ImportError as error:
        missing = error.name or str(error)
    raise Unsupported(
        f"{missing} is not installed; run: pip install 'mentorgrad[{extra}]'",
        reason="MISSING_EXTRA",
    )


def installed_version(package: str) -> str | None:
    """Version of an installed distribution; None when it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def require_extras(what: str, extras: Sequence[str], install: str, *packages: str) -> None:
    """Checks that extras (and further packages) are installed before anything is started.

    Raises:
        Unsupported: Something is missing; says what to install.
    """
    wanted = [package for extra in extras for package in EXTRAS[extra]] + list(packages)
    missing = [package for package in wanted if installed_version(package) is None]
    if missing:
        raise Unsupported(
            f"{what} needs {', '.join(missing)}; run: pip install 'mentorgrad[{install}]'",
            reason="MISSING_EXTRA",
        )


def check_address(flag: str, address: str) -> str:
    """An address of the form ``HOST:PORT``.

    Raises:
        InvalidInput: It is not of that form.
    """
    match = re.fullmatch(r"[^\s:/]+:(\d{1,5})|\[[0-9A-Fa-f:.]+\]:(\d{1,5})", address)
    port = int(match[1] or match[2]) if match else 0
    if not 0 < port < 65536:
        raise InvalidInput.field(flag, f"must be HOST:PORT, not {address!r}")
    return address


def sqlite_file(url: str) -> Any:
    """The file of a SQLite URL; None for other stores."""
    from pathlib import Path

    match = re.match(r"sqlite(?:\+\w+)?:///([^?]+)", url)
    return Path(match[1]) if match else None


def suffix(server: str, store: str = "") -> str:
    """The options that reach the same runs again, for commands that are shown."""
    if store:
        return f" --store {store}"
    return "" if server == DEFAULT_SERVER else f" --server {server}"


def one_line(error: BaseException) -> str:
    """The error as one readable line."""
    message = error.message if isinstance(error, MentorgradError) else str(error)
    return " ".join(message.split()) or type(error).__name__


def pairs_of(flag: str, items: Sequence[str]) -> dict[str, str]:
    """``NAME=VALUE`` flags as a mapping.

    Raises:
        InvalidInput: An item has no ``=``.
    """
    pairs = {}
    for item in items:
        name, separator, value = item.partition("=")
        if not separator or not name:
            raise InvalidInput.field(flag, f"must be NAME=VALUE, not {item!r}")
        pairs[name] = value
    return pairs


def choice(flag: str, kind: type[Any], text: str) -> Any:
    """A member of an enum by its value.

    Raises:
        InvalidInput: There is no such member.
    """
    try:
        return kind(text)
    except ValueError:
        names = ", ".join(str(member.value) for member in cast(Any, kind))
        raise InvalidInput.field(flag, f"must be one of: {names}; not {text!r}") from None
