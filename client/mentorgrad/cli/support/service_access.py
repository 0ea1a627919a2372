"""How the commands reach a service or a store, and what they say when it is not there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from mentorgrad.cli.support.auth_options import credentials
from mentorgrad.cli.support.extras import load_entry_point
from mentorgrad.cli.support.flag_text import check_address, sqlite_file
from mentorgrad.errors import InvalidInput, Unauthenticated, Unavailable

if TYPE_CHECKING:
    from mentorgrad.client import Client, MentorClient
    from mentorgrad.domain.event import RunEvent
    from mentorgrad.domain.experiment import Experiment, ExperimentPage, Report
    from mentorgrad.domain.query import (
        CandidateFilter,
        CandidatePage,
        EventQuery,
        RunFilter,
        RunOrder,
        RunPage,
        View,
    )
    from mentorgrad.domain.run import Artifact, Run, Trajectory

STORES = "mentorgrad.stores"
"""Entry points that open a store from its URL."""

RUNS, EXPERIMENTS = "sql", "experiments"
"""Two of them: what a store knows of runs, and of experiments."""


class RunQueries(Protocol):
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


class ExperimentQueries(Protocol):
    """What the commands that read experiments need; the client has it, and every store."""

    def get_experiment(self, experiment_id: str) -> Experiment:
        """The experiment as it stands."""
        ...

    def list_experiments(self, page_size: int = 50, page_token: str = "") -> ExperimentPage:
        """Experiments, newest first, in pages."""
        ...

    def get_report(self, experiment_id: str) -> Report:
        """Statistics over the runs so far."""
        ...


@contextlib.contextmanager
def open_client(server: str) -> Iterator[Client]:
    """The client of a trainer service; a service that is not there is said with its remedy."""
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


def open_reader(server: str, store: str) -> AbstractContextManager[RunQueries]:
    """The store where one is named, else the trainer service."""
    return contextlib.closing(open_store(store)) if store else open_client(server)


def open_experiments(server: str, store: str) -> AbstractContextManager[ExperimentQueries]:
    """The same for what a store knows of experiments."""
    return contextlib.closing(open_store(store, EXPERIMENTS)) if store else open_client(server)


def open_store(url: str, what: str = RUNS) -> Any:
    """Opens a store by the entry point that an installed extra provides, for reading.

    Args:
        url: Where it is.
        what: Of `STORES`.

    Raises:
        Unsupported: The extra is not installed.
        InvalidInput: The URL names no store.
    """
    opener = load_entry_point(STORES, what, "trainer")
    path = sqlite_file(url)
    if path is not None and not path.is_file():
        raise InvalidInput.field("--store", f"there is no store at {path}")
    return opener(url)
