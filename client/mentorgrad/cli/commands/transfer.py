"""`mentorgrad runs export|import|download|plot|report`: reads and writes files of runs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mentorgrad.cli.support import short_ids
from mentorgrad.cli.support.flag_text import choice
from mentorgrad.cli.support.options import (
    DEFAULT_SERVER,
    JsonOption,
    RunArgument,
    RunArguments,
    ServerOption,
    StoreOption,
)
from mentorgrad.cli.support.output import Output
from mentorgrad.cli.support.output_paths import output_file, output_folder
from mentorgrad.cli.support.service_access import open_client, open_reader
from mentorgrad.errors import InvalidInput
from mentorgrad.files import replacing, usual_mode

if TYPE_CHECKING:
    from mentorgrad.domain.event import RunEvent

app = typer.Typer()

OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Output file.")
]


@app.command("export", epilog="Example: mentorgrad runs export RUN -o run.jsonl")
def _export(
    run_id: RunArgument,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help="jsonl: the complete log; tensorboard, mlflow or wandb (offline): metrics, "
            "restarts, spec and result for that tool.",
        ),
    ] = "jsonl",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="File of the log; for a tool, the folder that it reads.",
        ),
    ] = None,
    server: ServerOption = DEFAULT_SERVER,
    store: StoreOption = "",
    as_json: JsonOption = False,
) -> None:
    """Write a run's complete log as JSON lines with raw tensors, or its metrics for another tool.

    The default file is RUN.jsonl; "-" writes to standard output. The default folders are
    "tensorboard", that of W&B, and what MLFLOW_TRACKING_URI names.
    """
    if to != "jsonl":
        _export_to(to, output, run_id, server, store, Output(as_json))
        return
    from mentorgrad.domain.query import EventQuery, View
    from mentorgrad.serialization import to_dict

    if output is not None and str(output) != "-":
        output_file("--output", output)
    with open_reader(server, store) as reader:
        run_id = short_ids.run_id(reader, run_id)
        events = reader.events(run_id, EventQuery(view=View.FULL))
        if str(output) == "-":
            for event in events:
                Output(as_json=True).json(event)
            return
        target = output or output_file("--output", Path(f"{run_id}.jsonl"))
        count = 0
        with replacing(target) as file:
            for event in events:
                line = json.dumps(to_dict(event), ensure_ascii=False)
                file.write(f"{line}\n".encode())
                count += 1
    facts = {"run_id": run_id, "events": count, "file": str(target)}
    Output(as_json).result(facts, f"{count} events written to {target}")


def _export_to(
    kind: str, folder: Path | None, run_id: str, server: str, store: str, out: Output
) -> None:
    from mentorgrad.cli.support.mirroring import opened
    from mentorgrad.domain.query import EventQuery

    with (
        opened("--to", kind, folder) as mirror,
        open_reader(server, store) as reader,
    ):
        run_id = short_ids.run_id(reader, run_id)
        count = 0
        for event in reader.events(run_id, EventQuery(effective=True)):
            mirror.add(event)
            count += 1
    where = "" if folder is None else f" in {folder}"
    facts = {"run_id": run_id, "events": count, "to": kind, "folder": str(folder or "")}
    out.result(facts, f"{count} events of {run_id} written for {kind}{where}")


@app.command("import", epilog="Example: mentorgrad runs import run.jsonl")
def _import(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="JSON lines file written by an export.")
    ],
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Import an incomplete log as a failed run.")
    ] = False,
    server: ServerOption = DEFAULT_SERVER,
    as_json: JsonOption = False,
) -> None:
    """Import a run that was exported, or recorded by another program."""
    from mentorgrad.run_recorder import broken_off

    events = list(broken_off(_decoded(file, torn=True)) if unfinished else _decoded(file))
    with open_client(server) as client:
        run = client.import_run(events)
    text = f"{run.run_id} imported with {run.last_seq} events; state: {run.state}"
    Output(as_json).result(run, text)


def _decoded(file: Path, *, torn: bool = False) -> Iterator[RunEvent]:
    """The events of an export; a wrong line is named.

    Args:
        file: JSON lines.
        torn: Whether a last line that was not written to its end is left out.
    """
    from mentorgrad.domain.event import RunEvent
    from mentorgrad.serialization import from_dict

    try:
        with file.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if torn and not line.endswith("\n"):
                    return
                try:
                    yield from_dict(RunEvent, json.loads(line))
                except json.JSONDecodeError as error:
                    raise InvalidInput(f"{file}:{number}: {error.msg}") from None
                except InvalidInput as error:
                    raise InvalidInput(f"{file}:{number}: {error.message}") from None
    except UnicodeDecodeError:
        raise InvalidInput(f"{file} is not a text file") from None
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {(error.strerror or '').lower()}") from None


@app.command("download", epilog="Example: mentorgrad runs download RUN prompt.safetensors")
def _download(
    run_id: RunArgument,
    name: Annotated[str, typer.Argument(help="Name of the file.")] = "prompt.safetensors",
    output: OutputOption = None,
    into: Annotated[
        Path | None,
        typer.Option(
            "--into", metavar="FOLDER", help="Download all files of the run to this folder."
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="With --into: replace files that are there already.")
    ] = False,
    server: ServerOption = DEFAULT_SERVER,
    store: StoreOption = "",
    as_json: JsonOption = False,
) -> None:
    """Download one file of a run (by default the tuned prompt), or all files with --into.

    The default output is a file of the same name in the current folder. The folder written by
    --into predicts ("mentorgrad predict"); with the objective prompt_tuning it is a PEFT adapter.
    """
    if into is not None:
        _download_all(run_id, into, force, server, store, Output(as_json))
        return
    target = output or Path()
    if target.is_dir():
        target /= Path(name).name
    output_file("--output", target)
    if store:
        with open_reader(server, store) as reader:
            run_id = short_ids.run_id(reader, run_id)
            data = reader.read_artifact(run_id, name)
        with replacing(target) as file:
            file.write(data)
    else:
        with open_client(server) as client:
            run_id = short_ids.run_id(client, run_id)
            target = client.download(run_id, name, target)
    facts = {"run_id": run_id, "name": name, "file": str(target)}
    Output(as_json).result(facts, f"{name} written to {target}")


def _download_all(
    run_id: str, folder: Path, force: bool, server: str, store: str, out: Output
) -> None:
    from mentorgrad.client import Client

    output_folder("--into", folder)
    with open_reader(server, store) as reader:
        run_id = short_ids.run_id(reader, run_id)
        found = reader.artifacts(run_id)
        for item in found:
            _check_target(folder, item.name, force)
        folder.mkdir(parents=True, exist_ok=True)
        for item in found:
            target = folder / item.name
            if isinstance(reader, Client):
                reader.download(run_id, item.name, target, item.size_bytes)
            else:
                with replacing(target) as file:
                    file.write(reader.read_artifact(run_id, item.name))
            target.chmod(usual_mode())  # a service may predict with the folder
    names = [item.name for item in found]
    facts = {"run_id": run_id, "folder": str(folder), "names": names}
    out.result(facts, f"{', '.join(names) or 'nothing'} written to {folder}")


def _check_target(folder: Path, name: str, force: bool) -> None:
    """Refuses what the other side must not be able to write into a folder."""
    if not name or name.startswith(".") or name != Path(name).name:
        raise InvalidInput(
            f"the run has a file {name!r}, which is no plain name; nothing is written"
        )
    if not force and os.path.lexists(folder / name):
        raise InvalidInput.field("--into", f"{folder / name} is there; add --force to replace it")


@app.command("plot", epilog="Example: mentorgrad runs plot RUN1 RUN2 -o loss.png")
def _plot(
    run_ids: RunArguments,
    kind: Annotated[
        str,
        typer.Option(
            "--kind", help="loss: loss curves; path: parameters of one run, reduced to 2-D."
        ),
    ] = "loss",
    output: OutputOption = None,
    server: ServerOption = DEFAULT_SERVER,
    store: StoreOption = "",
    as_json: JsonOption = False,
) -> None:
    """Plot the loss curves of runs with their restarts, or the parameter path of one run.

    The default output is KIND.png in the current folder.
    """
    from mentorgrad import plots

    wanted = choice("--kind", plots.Kind, kind)
    target = output_file("--output", output or Path(f"{kind}.png"))
    if wanted is plots.Kind.PATH and len(run_ids) > 1:
        raise InvalidInput.field("--kind", "path plots only one run")
    with open_reader(server, store) as reader:
        run_ids = [short_ids.run_id(reader, given) for given in run_ids]
        if wanted is plots.Kind.LOSS:
            plots.loss_curves([plots.curve(reader, run_id) for run_id in run_ids], target)
        else:
            plots.parameter_path(reader.trajectory(run_ids[0]), target)
    Output(as_json).result({"file": str(target), "runs": run_ids}, f"plot written to {target}")


@app.command("report", epilog="Example: mentorgrad runs report RUN --html report.html")
def _report(
    run_id: RunArgument,
    html: Annotated[
        Path, typer.Option("--html", metavar="FILE", help="Output file: a self-contained page.")
    ],
    server: ServerOption = DEFAULT_SERVER,
    store: StoreOption = "",
    as_json: JsonOption = False,
) -> None:
    """Write a report of one run: result, baselines, losses, best candidates, costs, conditions."""
    from mentorgrad.reports.run_report import run_page

    output_file("--html", html)
    with open_reader(server, store) as reader:
        run_id = short_ids.run_id(reader, run_id)
        page = run_page(reader, run_id)
    with replacing(html) as file:
        file.write(page.encode())
    Output(as_json).result({"run_id": run_id, "file": str(html)}, f"report written to {html}")
