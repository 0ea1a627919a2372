"""`mentorgrad experiment`: compares arms at equal budgets and reports the result."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mentorgrad.cli.support import short_ids
from mentorgrad.cli.support.completion import experiment_ids
from mentorgrad.cli.support.flag_text import one_line, suffix
from mentorgrad.cli.support.options import (
    DEFAULT_SERVER,
    ColumnsOption,
    JsonOption,
    LimitOption,
    PageOption,
    Scale,
    ServerOption,
    StoreOption,
    UploadOption,
)
from mentorgrad.cli.support.output import Output, moment, note, shorten
from mentorgrad.cli.support.output_paths import output_file
from mentorgrad.cli.support.service_access import open_client, open_experiments, open_reader
from mentorgrad.errors import InvalidInput, MentorgradError, Unsupported

if TYPE_CHECKING:
    from mentorgrad.client import Client
    from mentorgrad.domain.experiment import Experiment, ExperimentSpec, Report
    from mentorgrad.domain.query import RunReader
    from mentorgrad.domain.run import Score
    from mentorgrad.reports.tables import ReportTable

DIRECTORY = Path("mentorgrad-experiment")
"""Default folder of `--local`."""

_ID = "Experiment ID, or a beginning that no other has."
ExperimentArgument = Annotated[
    str, typer.Argument(metavar="EXPERIMENT", help=_ID, autocompletion=experiment_ids)
]
MarkdownOption = Annotated[bool, typer.Option("--markdown", help="Print the report as Markdown.")]
PublishedOption = Annotated[
    Path | None,
    typer.Option(
        "--published",
        metavar="FILE",
        help="Experiment file whose published figures are shown beside those of the report.",
    ),
]
HtmlOption = Annotated[
    Path | None,
    typer.Option(
        "--html", metavar="FILE", help="Also write the report as a self-contained HTML file."
    ),
]

app = typer.Typer(
    help="Compare arms (mentors and controls) at equal budgets, and report.",
    no_args_is_help=True,
    epilog="Example: mentorgrad experiment run experiment.toml --local",
)


@app.command("run", epilog="Example: mentorgrad experiment run experiment.toml --html report.html")
def _run(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="TOML file with the experiment's spec.")
    ],
    request_id: Annotated[
        str,
        typer.Option(
            "--request-id",
            help="Idempotency key: the same ID returns the existing experiment. Default: a hash of "
            "the file's content, and with --upload of the data files.",
        ),
    ] = "",
    upload: UploadOption = False,
    scale: Annotated[
        Scale,
        typer.Option(
            "--scale",
            help="full; or tiny: the embedded models, few rows and steps and one seed, to see that "
            "it runs.",
        ),
    ] = Scale.FULL,
    detach: Annotated[
        bool, typer.Option("--detach", help="Create the experiment, print its ID and exit.")
    ] = False,
    local: Annotated[
        bool,
        typer.Option(
            "--local", help="Start the services on this machine, and stop them at the end."
        ),
    ] = False,
    directory: Annotated[
        Path, typer.Option("--directory", help="With --local: folder for runs, reports and logs.")
    ] = DIRECTORY,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            max=64,
            help="With --local: number of concurrent runs. Default: 4 with a GPU, otherwise "
            "one per core that the mentor does not use.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="REFERENCE",
            help="With --local: model of the mentor. Default: the embedded SmolLM2-135M.",
        ),
    ] = None,
    data_root: Annotated[
        list[Path] | None,
        typer.Option(
            "--data-root",
            help="With --local: folder that may contain task files (repeatable).",
        ),
    ] = None,
    model_root: Annotated[
        list[Path] | None,
        typer.Option(
            "--model-root",
            help="With --local: folder that may contain models to tune (repeatable).",
        ),
    ] = None,
    tuned_model: Annotated[
        list[str] | None,
        typer.Option(
            "--tuned-model",
            metavar="NAME=URL",
            help="With --local: OpenAI-compatible server whose model prompts can be tuned for "
            "(repeatable).",
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device", help="With --local: device that executes runs: auto, cpu or cuda."
        ),
    ] = None,
    server: ServerOption = DEFAULT_SERVER,
    as_json: JsonOption = False,
    markdown: MarkdownOption = False,
    page: HtmlOption = None,
) -> None:
    """Run an experiment and print its report.

    Run the same command again to continue after an interruption. Ctrl-C stops watching, never the
    experiment; with --local it also stops the services until the next start.
    """
    from mentorgrad.cli.support.experiment_file import mentors_of, read_experiment
    from mentorgrad.cli.support.experiment_scale import names_tiny_clip, scaled, write_tiny_clip

    out = Output(as_json)
    spec = scaled(read_experiment(file), scale)
    asked = _Asked(request_id, upload, detach)
    published = file if scale is Scale.FULL else None
    shown = _Shown(as_json, markdown, page, directory if local else None, published)
    if local and detach:
        raise InvalidInput.field("--detach", "cannot be given with --local")
    if not local:
        instead = (
            f"start the services with the experiment: mentorgrad experiment run {file} --local"
        )
        with open_client(server, instead) as client:
            _conduct(client, out, spec, asked, shown, server)
        return
    from mentorgrad.cli.support import service_flags
    from mentorgrad.cli.support.local_services import local_services
    from mentorgrad.client import Client

    if names_tiny_clip(spec):
        models = directory / "models"
        write_tiny_clip(models)
        model_root = [*(model_root or ()), models]
    try:
        with (
            local_services(
                out,
                directory,
                mentors_of(spec),
                workers=workers,
                model=model,
                trainer_flags=service_flags.flags(
                    data_root=data_root,
                    model_root=model_root,
                    tuned_model=tuned_model,
                    device=device,
                ),
            ) as address,
            Client(address) as client,
        ):
            _conduct(client, out, spec, asked, shown, "")
    except KeyboardInterrupt:
        note("stopped, with all services; run the same command again to continue")
        raise typer.Exit(130) from None


@dataclass(frozen=True)
class _Asked:
    """How an experiment is created."""

    request_id: str
    """Its request_id; empty: a hash of its spec."""
    upload: bool
    """Whether the data files of its tasks are sent to the trainer."""
    detach: bool
    """Whether to exit after creating it."""


class _Shown:
    """Shows a report in the requested formats.

    Args:
        as_json: Print it as JSON.
        markdown: Print it as Markdown.
        page: HTML file to write; None: none.
        directory: Folder to which all formats are also written; None: none.
        file: Experiment file with published figures; None: none.
    """

    def __init__(
        self,
        as_json: bool = False,
        markdown: bool = False,
        page: Path | None = None,
        directory: Path | None = None,
        file: Path | None = None,
    ) -> None:
        from mentorgrad.cli.support.experiment_file import read_published

        if as_json and markdown:
            raise InvalidInput.field("--markdown", "cannot be given with --json")
        if page is not None:
            output_file("--html", page)
        self._as_json = as_json
        self._markdown = markdown
        self._page = page
        self._directory = directory
        self._published = read_published(file) if file is not None else ()

    def show(self, report: Report, out: Output, runs: RunReader | None) -> None:
        """Prints the report and writes its files; `runs` knows the runs, for published figures."""
        from mentorgrad.reports import markdown, terminal

        beside = self._beside(report, runs)
        if self._as_json:
            out.json(report)
        elif self._markdown:
            for line in markdown.markdown(report, beside).split("\n"):
                out.line(line)
        else:
            terminal.show(report, out, beside)
        if self._page is not None:
            _write_page(report, self._page, beside)
            note(f"report: {self._page}")
        if self._directory is not None:
            self._leave(report, self._directory, beside)

    def _beside(self, report: Report, runs: RunReader | None) -> list[ReportTable]:
        from mentorgrad.reports.published import published_table

        if not self._published:
            return []

        def test_of(run_id: str) -> Score | None:
            result = runs.get_run(run_id).result if runs is not None else None
            return result.test if result is not None else None

        return [published_table(report, self._published, test_of)]

    def _leave(self, report: Report, directory: Path, beside: Sequence[ReportTable]) -> None:
        """Writes all formats, because the report cannot be requested once the services stop."""
        import json

        from mentorgrad.reports import markdown
        from mentorgrad.serialization import to_dict

        text = json.dumps(to_dict(report), ensure_ascii=False)
        (directory / "report.json").write_text(text, encoding="utf-8")
        (directory / "report.md").write_text(markdown.markdown(report, beside), encoding="utf-8")
        with contextlib.suppress(Unsupported):
            _write_page(report, directory / "report.html", beside)
        note(f"reports and runs: {directory}")


def _write_page(report: Report, path: Path, beside: Sequence[ReportTable]) -> None:
    from mentorgrad.reports.html import html

    path.write_text(html(report, beside), encoding="utf-8")


def _conduct(
    client: Client,
    out: Output,
    spec: ExperimentSpec,
    asked: _Asked,
    shown: _Shown,
    server: str,
) -> None:
    """Creates or finds the experiment, watches it and shows its report.

    Args:
        client: Client of the trainer.
        out: Output to use.
        spec: The experiment's spec.
        asked: How to create it.
        shown: Shows the report.
        server: Address of the trainer, for suggested commands; empty: it stops with this command.
    """
    from mentorgrad.cli.support.data_uploads import with_uploads
    from mentorgrad.cli.support.experiment_file import request_id_of
    from mentorgrad.cli.support.experiment_watching import watch_experiment
    from mentorgrad.domain.experiment import ExperimentState

    if asked.upload:
        spec = with_uploads(client, spec)
    made = client.create_experiment(spec, asked.request_id or request_id_of(spec))
    for warning in made.warnings:
        note(f"warning: {warning}")
    name = made.experiment.experiment_id
    if asked.detach:
        out.result(made, name)
        if not out.as_json:
            note(f"show it with: mentorgrad experiment show {name}{suffix(server)}")
        return
    how = "" if made.created else " (already exists; it continues)"
    if made.experiment.state.is_final:
        how = (
            f" (already exists and is {made.experiment.state}; run it again with --request-id NAME)"
        )
    out.line(f"experiment {name}: {made.experiment.progress.total} runs{how}")
    try:
        ended = watch_experiment(client, name, out)
    except KeyboardInterrupt:
        if not server:
            raise
        note(
            "stopped watching; the experiment continues. To watch again, run the same command; for "
            f"an intermediate report: mentorgrad experiment report {name}{suffix(server)}"
        )
        raise typer.Exit(130) from None
    shown.show(client.get_report(name), out, client)
    if ended.reason:
        note(f"the experiment {ended.state}: {ended.reason}")
    if ended.state is not ExperimentState.FINISHED:
        raise typer.Exit(1)


@app.command("report", epilog="Example: mentorgrad experiment report ID --html report.html")
def _report(
    which: Annotated[
        str,
        typer.Argument(
            metavar="EXPERIMENT",
            help=f"{_ID} Or a report.json file.",
            autocompletion=experiment_ids,
        ),
    ],
    server: ServerOption = DEFAULT_SERVER,
    store: StoreOption = "",
    as_json: JsonOption = False,
    markdown: MarkdownOption = False,
    page: HtmlOption = None,
    published: PublishedOption = None,
) -> None:
    """Print the report on the runs that have ended so far."""
    shown = _Shown(as_json, markdown, page, file=published)
    if which.endswith(".json"):
        shown.show(_read_report(Path(which)), Output(as_json), None)
        return
    with open_experiments(server, store) as reader:
        report = reader.get_report(short_ids.experiment_id(reader, which))
    with open_reader(server, store) if published else contextlib.nullcontext() as runs:
        shown.show(report, Output(as_json), runs)


def _read_report(path: Path) -> Report:
    from mentorgrad.cli.support.specs import read_json
    from mentorgrad.domain.experiment import Report
    from mentorgrad.serialization import from_dict

    try:
        return from_dict(Report, read_json(path))
    except MentorgradError as error:
        if str(path) in error.message:
            raise
        raise InvalidInput(f"{path}: {one_line(error)}") from None


@app.command("list", epilog="Example: mentorgrad experiment list --limit 10")
def _list(
    limit: LimitOption = 50,
    token: PageOption = "",
    columns: ColumnsOption = "",
    server: ServerOption = DEFAULT_SERVER,
    store: StoreOption = "",
    as_json: JsonOption = False,
) -> None:
    """List experiments, newest first."""
    with open_experiments(server, store) as reader:
        found = reader.list_experiments(limit, token)
    Output(as_json).page(found, "experiments", _COLUMNS, columns, ("created", "failed", "ended"))


_COLUMNS: dict[str, Callable[[Experiment], str]] = {
    "experiment": lambda found: found.experiment_id,
    "name": lambda found: shorten(found.spec.name, 40),
    "state": lambda found: found.state,
    "ended": lambda found: str(found.progress.succeeded + found.progress.failed),
    "failed": lambda found: str(found.progress.failed),
    "runs": lambda found: str(found.progress.total),
    "created": lambda found: moment(found.created_at),
}


@app.command("show", epilog="Example: mentorgrad experiment show ID")
def _show(
    experiment_id: ExperimentArgument,
    server: ServerOption = DEFAULT_SERVER,
    store: StoreOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show what an experiment compares, and its progress."""
    from mentorgrad.cli.support.experiment_watching import status

    out = Output(as_json)
    with open_experiments(server, store) as reader:
        experiment_id = short_ids.experiment_id(reader, experiment_id)
        found = reader.get_experiment(experiment_id)
    if as_json:
        out.json(found)
        return
    spec, progress = found.spec, found.progress
    done = progress.succeeded + progress.failed
    pairs = [
        ("experiment", found.experiment_id),
        ("name", spec.name),
        ("question", spec.description),
        ("state", found.state + (f": {found.reason}" if found.reason else "")),
        ("runs", f"{done}/{progress.total} ended, {status(progress)}"),
        ("arms", ", ".join(arm.name for arm in spec.arms)),
        ("subject", spec.subject_arm),
        ("tasks", ", ".join(task.name for task in spec.tasks)),
        ("variations", ", ".join(variation.name for variation in spec.variations)),
        ("seeds", str(len(spec.seeds))),
        ("learning rates", ", ".join(f"{rate:g}" for rate in spec.tuning.learning_rates)),
        ("created", moment(found.created_at)),
        ("finished", moment(found.finished_at) if found.finished_at is not None else ""),
    ]
    out.pairs((name, shorten(value, 500)) for name, value in pairs if value)
    note(
        f"list its runs: mentorgrad runs list --label experiment={experiment_id}"
        f"{suffix(server, store)}"
    )


@app.command("cancel", epilog="Example: mentorgrad experiment cancel ID")
def _cancel(
    experiment_id: ExperimentArgument,
    server: ServerOption = DEFAULT_SERVER,
    as_json: JsonOption = False,
) -> None:
    """Cancel an experiment and its runs that have not ended."""
    with open_client(server) as client:
        experiment_id = short_ids.experiment_id(client, experiment_id)
        found = client.cancel_experiment(experiment_id)
    Output(as_json).result(found, f"{found.experiment_id} is {found.state}")
