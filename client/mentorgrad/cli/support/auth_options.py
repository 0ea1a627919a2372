"""The options by which every command that talks to a service is told how to, stated once.

They are added to the commands, which need not know of them: what was given is asked for where a
client is made.
"""

from __future__ import annotations

import functools
import inspect
import os
import typing
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mentorgrad.cli.support.options import MentorOption, ServerOption

if TYPE_CHECKING:
    from mentorgrad.wire.credentials import Credentials

_PANEL = "Security"

OPTIONS: dict[str, tuple[Any, Any]] = {
    "ca": (
        None,
        Annotated[
            Path | None,
            typer.Option(
                "--ca",
                metavar="FILE",
                envvar="MENTORGRAD_CA",
                rich_help_panel=_PANEL,
                help="Authorities that vouch for the service (PEM); the connection is then TLS.",
            ),
        ],
    ),
    "cert": (
        None,
        Annotated[
            Path | None,
            typer.Option(
                "--cert",
                metavar="FILE",
                envvar="MENTORGRAD_CERT",
                rich_help_panel=_PANEL,
                help="Certificate of our own (PEM), for a service that wants one.",
            ),
        ],
    ),
    "key": (
        None,
        Annotated[
            Path | None,
            typer.Option(
                "--key",
                metavar="FILE",
                envvar="MENTORGRAD_KEY",
                rich_help_panel=_PANEL,
                help="Its key (PEM).",
            ),
        ],
    ),
    "token_file": (
        None,
        Annotated[
            Path | None,
            typer.Option(
                "--token-file",
                metavar="FILE",
                envvar="MENTORGRAD_TOKEN_FILE",
                rich_help_panel=_PANEL,
                help="File that holds our token; the token itself is taken from MENTORGRAD_TOKEN.",
            ),
        ],
    ),
    "insecure": (
        False,
        Annotated[
            bool,
            typer.Option(
                "--insecure",
                envvar="MENTORGRAD_INSECURE",
                rich_help_panel=_PANEL,
                help="Send the token unencrypted to other machines too.",
            ),
        ],
    ),
}
"""Name → default and annotation."""

_given: ContextVar[dict[str, Any]] = ContextVar("given")


def credentials() -> Credentials:
    """What the present command was told.

    Raises:
        InvalidInput: Parts that do not go together.
    """
    from mentorgrad.wire.credentials import Credentials

    given = _given.get({})
    token_file = given.get("token_file")
    return Credentials(
        ca=given.get("ca"),
        certificate=given.get("cert"),
        key=given.get("key"),
        token="" if token_file is not None else os.environ.get("MENTORGRAD_TOKEN", ""),
        token_file=token_file,
        insecure=given.get("insecure", False),
    )


def add_options(app: typer.Typer) -> None:
    """Adds them to all commands of an app, and of those in it, that name a service."""
    for group in app.registered_groups:
        if group.typer_instance is not None:
            add_options(group.typer_instance)
    for command in app.registered_commands:
        if command.callback is not None and _names_a_service(command.callback):
            command.callback = _with_options(command.callback)


def _names_a_service(callback: Callable[..., Any]) -> bool:
    hints = typing.get_type_hints(callback, include_extras=True)
    return any(hint in (ServerOption, MentorOption) for hint in hints.values())


def _with_options(callback: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(callback)
    def command(*args: Any, **kwargs: Any) -> Any:
        # Before gRPC is loaded, which else writes an account of its own of a refused handshake.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        reset = _given.set({name: kwargs.pop(name) for name in OPTIONS})
        try:
            return callback(*args, **kwargs)
        finally:
            _given.reset(reset)

    hints = typing.get_type_hints(callback, include_extras=True)
    own = [
        parameter.replace(annotation=hints[name])
        for name, parameter in inspect.signature(callback).parameters.items()
    ]
    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (default, kind) in OPTIONS.items()
    ]
    signature = inspect.Signature([*own, *more])
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    return command
