"""Completes the ids of runs and experiments in a shell.

The service is asked, or the store in a SQLite file; whatever goes wrong, there are no suggestions,
and nothing is printed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import typer

from mentorgrad.errors import Unsupported
from mentorgrad.outside_text import one_line

if TYPE_CHECKING:
    from mentorgrad.client import Client
    from mentorgrad.domain.query import RunReader

_SECONDS = 1.0
"""Deadline of the call, seconds: a shell waits for it."""

_NEWEST = 200
"""The newest runs or experiments, among which those are suggested whose ids begin as the word."""

Suggestions = list[tuple[str, str]]
"""Ids with a description each."""


def is_completing() -> bool:
    """Whether a shell asks this process for suggestions, and nothing else may be printed."""
    return "_MENTORGRAD_COMPLETE" in os.environ


def run_ids(ctx: typer.Context, incomplete: str) -> Suggestions:
    """Ids of runs that begin with the word, newest first, for typer."""

    def ask(reader: RunReader) -> Iterator[tuple[str, str]]:
        for run in reader.list_runs(page_size=_NEWEST).runs:
            yield run.run_id, " ".join(filter(None, (run.state, run.spec.name)))

    return _matching(ctx, incomplete, ask, "sql")


def experiment_ids(ctx: typer.Context, incomplete: str) -> Suggestions:
    """Ids of experiments that begin with the word, newest first, for typer."""

    def ask(reader: Client) -> Iterator[tuple[str, str]]:
        for found in reader.list_experiments(_NEWEST).experiments:
            yield found.experiment_id, f"{found.state} {found.spec.name}".strip()

    return _matching(ctx, incomplete, ask, "experiments")


def _matching(
    ctx: typer.Context, incomplete: str, ask: Callable[[Any], Iterator[tuple[str, str]]], what: str
) -> Suggestions:
    # Any error counts: a shell would show it in the middle of the line that is being written.
    with (
        contextlib.suppress(Exception),
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
        _reader(ctx.params, what) as reader,
    ):
        return [
            (found, one_line(text))
            for found, text in ask(reader)
            if found.startswith(incomplete) and found.isprintable()
        ]
    return []


@contextlib.contextmanager
def _reader(given: Mapping[str, Any], what: str) -> Iterator[Any]:
    """What the options written so far name: a store or a service."""
    # The options that take an id import this module.
    from mentorgrad.cli.support import auth_options
    from mentorgrad.cli.support.service_access import open_store
    from mentorgrad.client import Client
    from mentorgrad.wire.addresses import check_address

    if store := given.get("store"):
        if not store.startswith("sqlite:"):
            raise Unsupported("a database server would be asked without a deadline")
        with contextlib.closing(open_store(store, what)) as reader:
            yield reader
        return
    address = check_address("--server", given["server"])
    with (
        auth_options.given(given),
        Client(address, timeout=_SECONDS, credentials=auth_options.credentials()) as client,
    ):
        yield client
