"""Connects the commands to a service or a store, with helpful errors if that fails."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from mentorgrad.cli.support.auth_options import credentials
from mentorgrad.cli.support.extras import load_entry_point
from mentorgrad.errors import (
    MentorgradError,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from mentorgrad.wire.addresses import check_address

if TYPE_CHECKING:
    from mentorgrad.client import Client, MentorClient
    from mentorgrad.domain.agent import AgentReader
    from mentorgrad.domain.audit import AuditReader
    from mentorgrad.domain.experiment import Experiment, ExperimentPage, Report
    from mentorgrad.domain.query import RunReader
    from mentorgrad.predictor import Predictor

STORES = "mentorgrad.stores"
"""Entry-point group of functions that open a store from its URL."""

RUNS, EXPERIMENTS = "sql", "experiments"
"""Entry points for the runs and for the experiments of a store."""


class ExperimentQueries(Protocol):
    """What the commands that read experiments need; implemented by the client and every store."""

    def get_experiment(self, experiment_id: str) -> Experiment:
        """The current state of an experiment."""
        ...

    def list_experiments(self, page_size: int = 50, page_token: str = "") -> ExperimentPage:
        """Experiments, newest first, page by page."""
        ...

    def get_report(self, experiment_id: str) -> Report:
        """Statistics over the runs so far."""
        ...


@contextlib.contextmanager
def open_client(server: str, otherwise: str = "read a store with --store") -> Iterator[Client]:
    """A client of a trainer service; if the service does not answer, the error says what to do.

    Args:
        server: Address of the service.
        otherwise: What else to do without a service.
    """
    from mentorgrad.client import Client

    address = check_address("--server", server)
    absent = (
        f"no trainer service answers at {server}; start one with `mentorgrad serve all`, "
        f"give another address with --server, or {otherwise}"
    )
    wrong = f"{server} is no trainer service{{}}; give the trainer's address with --server"
    with (
        Client(address, credentials=credentials()) as client,
        _remedies(address, absent, wrong),
    ):
        yield client


@contextlib.contextmanager
def open_mentor(server: str) -> Iterator[MentorClient]:
    """A client of a mentor service; if the service does not answer, the error says what to do."""
    from mentorgrad.client import MentorClient

    address = check_address("--mentor-server", server)
    absent = (
        f"no mentor service answers at {server}; start one with "
        "`mentorgrad serve mentor`, or give another address with --mentor-server"
    )
    wrong = f"{server} is no mentor service{{}}; give the mentor's address with --mentor-server"
    with (
        MentorClient(address, credentials=credentials()) as client,
        _remedies(address, absent, wrong),
    ):
        yield client


@contextlib.contextmanager
def open_predictor(server: str) -> Iterator[Predictor]:
    """A predictor of a predict service; if it does not answer, the error says what to do."""
    from mentorgrad.predictor import Predictor

    address = check_address("--server", server)
    absent = (
        f"no predict service answers at {server}; start one with "
        "`mentorgrad serve predictor RESULT`, or give another address with --server"
    )
    wrong = f"{server} is no predict service{{}}; give the predict service's address with --server"
    with (
        _remedies(address, absent, wrong),
        Predictor.connect(address, credentials=credentials()) as predictor,
    ):
        yield predictor


@contextlib.contextmanager
def _remedies(address: str, absent: str, wrong: str) -> Iterator[None]:
    """Says what to do if a service does not answer, is another one or requires a token.

    Args:
        address: Address of the service.
        absent: What to say if it does not answer.
        wrong: What to say if another service answers, with a place for what it is.
    """
    try:
        yield
    except Unsupported as error:
        from mentorgrad.wire.error_mapping import OTHER_SERVICE

        if error.reason != OTHER_SERVICE:
            raise
        kind = _kind(address)
        raise Unsupported(wrong.format(f" but a {kind} service" if kind else "")) from None
    except Unavailable as error:
        if "no answer" not in error.message:
            raise
        raise Unavailable(absent) from None
    except Unauthenticated as error:
        if error.reason != "TOKEN_MISSING":
            raise
        raise Unauthenticated(
            f"{address} requires a token: give its file with --token-file, or set MENTORGRAD_TOKEN"
        ) from None


def _kind(address: str) -> str:
    """Kind of the service at an address; empty: none of ours."""
    from mentorgrad.client import Client, MentorClient, PredictClient

    asked: dict[str, tuple[Any, str]] = {
        "trainer": (Client, "trainer_info"),
        "mentor": (MentorClient, "info"),
        "predict": (PredictClient, "info"),
    }
    return next((kind for kind, how in asked.items() if _answers(address, *how)), "")


def _answers(address: str, client: Any, method: str) -> bool:
    """Whether the service at an address has a method."""
    try:
        with client(address, timeout=3.0, credentials=credentials()) as made:
            getattr(made, method)()
    except MentorgradError as error:
        return isinstance(error, (Unauthenticated, PermissionDenied))
    return True


def open_reader(server: str, store: str) -> AbstractContextManager[RunReader]:
    """The store if one is given, otherwise the trainer service."""
    return contextlib.closing(open_store(store)) if store else open_client(server)


def open_experiments(server: str, store: str) -> AbstractContextManager[ExperimentQueries]:
    """The same as `open_reader`, for experiments."""
    return contextlib.closing(open_store(store, EXPERIMENTS)) if store else open_client(server)


def open_audit(server: str, store: str) -> AbstractContextManager[AuditReader]:
    """The same as `open_reader`, for the audit."""
    return contextlib.closing(open_store(store)) if store else open_client(server)


def open_agents(server: str, store: str) -> AbstractContextManager[AgentReader]:
    """The same as `open_reader`, for the agents."""
    return contextlib.closing(open_store(store)) if store else open_client(server)


def open_store(url: str, what: str = RUNS) -> Any:
    """Opens a store for reading, by an entry point of the installed extra.

    Args:
        url: URL of the store.
        what: Name of the entry point in the group `STORES`.

    Raises:
        Unsupported: The extra is not installed.
        InvalidInput: There is no store at the URL.
    """
    return load_entry_point(STORES, what, "trainer")(url, read_only=True)
