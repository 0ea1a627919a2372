"""The `mentorgrad` command: combines the command groups and prints each error as one line."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import mentorgrad
from mentorgrad import outside_text, standard_streams
from mentorgrad.cli.commands import (
    audit,
    demo,
    doctor,
    experiment,
    health,
    mentor,
    models,
    predict,
    run,
    runs,
    serve,
    tasks,
    trainer,
    tune,
    workers,
)
from mentorgrad.cli.support import auth_options
from mentorgrad.cli.support.completion import is_completing
from mentorgrad.cli.support.entry_point_commands import ROOT_COMMANDS, root_command
from mentorgrad.cli.support.flag_text import one_line
from mentorgrad.cli.support.help_text import flowing
from mentorgrad.cli.support.output import Output, note
from mentorgrad.errors import InvalidInput, MentorgradError
from mentorgrad.wire import tracing

# typer bundles click or uses an installed one; take the base classes from its public errors.
_UsageError: Any = typer.BadParameter.__base__
_ClickException: Any = _UsageError.__base__


class Commands(TyperGroup):
    """The root command group: prints every error as one line on standard error.

    Exit codes: 2 for invalid input, 1 for any other failure.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of the commands; those of other packages come last."""
        return [*super().list_commands(ctx), *ROOT_COMMANDS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command with this name; a command of another package is loaded here."""
        if cmd_name in ROOT_COMMANDS:
            return flowing(root_command(cmd_name))
        return flowing(super().get_command(ctx, cmd_name))

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Runs the command line and exits with its exit code."""
        standard_streams.replace_unencodable()
        given = [_with_home(word) for word in (sys.argv[1:] if args is None else args)]
        try:
            with _traced(given[0] if given else ""):
                result = super().main(
                    given,
                    prog_name or "mentorgrad",
                    complete_var,
                    standalone_mode=False,
                    windows_expand_args=windows_expand_args,
                    **extra,
                )
        except _ClickException as error:
            sys.exit(_usage(error))
        except typer.Abort:
            sys.exit(_fail("aborted", 1))
        except (MentorgradError, OSError) as error:
            sys.exit(_fail(one_line(error), 2 if isinstance(error, InvalidInput) else 1))
        except UnicodeEncodeError as error:
            text = ascii(error.object[error.start : error.end])
            sys.exit(_fail(f"{text} is no text in UTF-8; is the locale UTF-8 (LC_ALL=C.UTF-8)?", 2))
        sys.exit(result if isinstance(result, int) else 0)


def _with_home(word: str) -> str:
    """``--flag=~/path`` with the home folder, which most shells expand behind a blank only."""
    flag, separator, value = word.partition("=")
    if separator and flag.startswith("--") and re.match(r"~[^/\s]*(/|$)", value):
        return f"{flag}={os.path.expanduser(value)}"
    return word


@contextlib.contextmanager
def _traced(command: str) -> Iterator[None]:
    """A span around a command, except around services (they have spans), health checks and shells'
    completion."""
    if command in ("serve", "health") or is_completing():
        yield
        return
    if missing := tracing.configure("mentorgrad-cli"):
        note(missing)
    try:
        with tracing.span(f"mentorgrad {command}"):
            yield
    finally:
        tracing.flush()


def _usage(error: Any) -> int:
    """Reports a wrong command line; without any arguments, the help was shown."""
    context = getattr(error, "ctx", None)
    message = outside_text.one_line(error.format_message())
    if type(error).__name__ == "NoArgsIsHelpError":
        return 2  # the help was printed when the error was created
    command = context.command_path if context is not None else "mentorgrad"
    return _fail(f"{message.rstrip('.')} (see `{command} --help`)", int(error.exit_code))


def _fail(message: str, code: int) -> int:
    note(f"error: {message}")
    return code


app = typer.Typer(
    cls=Commands,
    name="mentorgrad",
    help="Prompt tuning by gradient descent, with restarts proposed by a language model.",
    epilog="Example: mentorgrad demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        Output().line(f"mentorgrad {mentorgrad.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    pass


app.add_typer(demo.app)
app.add_typer(tune.app)
app.add_typer(run.app)
app.add_typer(runs.app, name="runs")
app.add_typer(predict.app)
app.add_typer(experiment.app, name="experiment")
app.add_typer(audit.app)
app.add_typer(serve.app, name="serve")
app.add_typer(trainer.app, name="trainer")
app.add_typer(workers.app, name="workers")
app.add_typer(mentor.app, name="mentor")
app.add_typer(models.app, name="models")
app.add_typer(tasks.app, name="tasks")
app.add_typer(doctor.app)
app.add_typer(health.app)
auth_options.add_options(app)


def main() -> None:
    """Entry point of the `mentorgrad` command."""
    app()
