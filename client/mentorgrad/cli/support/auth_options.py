"""TLS and token options of all commands that call a service.

The options are added to the commands' signatures. The commands do not handle them:
`credentials` returns their values where a client is created.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import typing
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mentorgrad.cli.support.options import (
    MentorOption,
    OptionalServerOption,
    PredictServerOption,
    ServerOption,
)

if TYPE_CHECKING:
    from mentorgrad.wire.credentials import Credentials


def _option(kind: Any, flag: str, text: str, **more: Any) -> Any:
    """The annotation of an option; its environment variable is named after the flag."""
    variable = f"MENTORGRAD_{flag[2:].replace('-', '_').upper()}"
    option = typer.Option(flag, envvar=variable, rich_help_panel="Security", help=text, **more)
    annotated: Any = Annotated
    return annotated[kind, option]


def _file(flag: str, text: str) -> tuple[None, Any]:
    return None, _option(Path | None, flag, text, metavar="FILE")


OPTIONS: dict[str, tuple[Any, Any]] = {
    "ca": _file("--ca", "CA certificates (PEM); enables TLS."),
    "cert": _file("--cert", "Client certificate (PEM) for mTLS."),
    "key": _file("--key", "Private key of the client certificate (PEM)."),
    "token_file": _file(
        "--token-file", "File with the token to send; without it, MENTORGRAD_TOKEN is used."
    ),
    "insecure": (
        False,
        _option(bool, "--insecure", "Send the token to other machines even without TLS."),
    ),
}
"""Maps each name to its default and annotation."""

_given: ContextVar[Mapping[str, Any]] = ContextVar("given")


def credentials() -> Credentials:
    """The credentials given to the current command.

    Raises:
        InvalidInput: The options contradict each other.
    """
    from mentorgrad.wire.credentials import Credentials

    options = _given.get({})
    token_file = options.get("token_file")
    return Credentials(
        ca=options.get("ca"),
        certificate=options.get("cert"),
        key=options.get("key"),
        token="" if token_file is not None else os.environ.get("MENTORGRAD_TOKEN", ""),
        token_file=token_file,
        insecure=options.get("insecure", False),
    )


@contextlib.contextmanager
def given(options: Mapping[str, Any]) -> Iterator[None]:
    """Makes the values of the options those of `credentials`, within the block."""
    # Must be set before gRPC is loaded; otherwise gRPC logs failed TLS handshakes itself.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    reset = _given.set(options)
    try:
        yield
    finally:
        _given.reset(reset)


def add_options(app: typer.Typer) -> None:
    """Adds the options to all commands of an app and its sub-apps that call a service."""
    for group in app.registered_groups:
        if group.typer_instance is not None:
            add_options(group.typer_instance)
    for command in app.registered_commands:
        if command.callback is not None and _names_a_service(command.callback):
            command.callback = _with_options(command.callback)


def _names_a_service(callback: Callable[..., Any]) -> bool:
    hints = typing.get_type_hints(callback, include_extras=True)
    services = (ServerOption, OptionalServerOption, MentorOption, PredictServerOption)
    return any(hint in services for hint in hints.values())


def _with_options(callback: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(callback)
    def command(*args: Any, **kwargs: Any) -> Any:
        with given({name: kwargs.pop(name) for name in OPTIONS}):
            return callback(*args, **kwargs)

    declare(command, OPTIONS)
    return command


def declare(command: Any, options: Mapping[str, tuple[Any, Any]]) -> None:
    """Adds options to the signature of a command that takes them as keyword arguments.

    Args:
        command: The command; its `**` parameter is not part of the signature.
        options: Maps each name to its default and annotation.
    """
    hints = typing.get_type_hints(command, include_extras=True)
    own = [
        parameter.replace(annotation=hints[name])
        for name, parameter in inspect.signature(command).parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
    ]
    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (default, kind) in options.items()
    ]
    command.__signature__ = inspect.Signature([*own, *more])
    command.__annotations__ = {p.name: p.annotation for p in [*own, *more]}
