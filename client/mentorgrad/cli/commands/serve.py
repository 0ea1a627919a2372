"""`mentorgrad serve`: starts one service, or those of one machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mentorgrad.cli.support.entry_point_commands import service_command, service_names
from mentorgrad.cli.support.extras import require_extras
from mentorgrad.cli.support.flag_text import suffix
from mentorgrad.cli.support.help_text import flowing
from mentorgrad.cli.support.options import JsonOption
from mentorgrad.cli.support.output import Output, note


class ServeGroup(TyperGroup):
    """Adds the `serve` commands of installed services, by the names of their entry points."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of the commands."""
        return [*super().list_commands(ctx), *service_names()]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command with this name; if its extra is missing, using it reports that."""
        own = super().get_command(ctx, cmd_name)
        if own is None and cmd_name in service_names():
            return flowing(service_command(cmd_name))
        return own


app = typer.Typer(
    cls=ServeGroup,
    help="Start services: a trainer, a mentor, a predictor, a worker or the page.",
    no_args_is_help=True,
    epilog="Example: mentorgrad serve all --store sqlite:///runs.sqlite",
)


@app.callback()
def _group() -> None:
    pass


@app.command("all", epilog="Example: mentorgrad serve all --store sqlite:///runs.sqlite")
def serve_all(
    listen: Annotated[
        str | None,
        typer.Option(
            "--listen",
            metavar="HOST:PORT",
            help="Listen address of the trainer. Default: 127.0.0.1:50551.",
        ),
    ] = None,
    mentor_listen: Annotated[
        str | None,
        typer.Option(
            "--mentor-listen",
            metavar="HOST:PORT",
            help="Listen address of the mentor. Default: 127.0.0.1:50552.",
        ),
    ] = None,
    name: Annotated[
        str,
        typer.Option("--name", help="Name of the mentor, for `mentorgrad run --mentor NAME`."),
    ] = "default",
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="REFERENCE",
            help="Model of the mentor. Default: the embedded SmolLM2-135M.",
        ),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            "--backend",
            help="LLM backend of the mentor: llama_cpp (in process) or openai (any compatible "
            "server). Default: llama_cpp.",
        ),
    ] = None,
    base_url: Annotated[
        str | None,
        typer.Option(
            "--base-url", metavar="URL", help="With --backend openai: URL of the mentor's server."
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            metavar="URL",
            help="Store URL: sqlite:///FILE or postgresql://... Default: "
            "sqlite:///mentorgrad.sqlite. Set a URL with a password in "
            "MENTORGRAD_TRAINER_STORE instead, because other users can read command lines.",
        ),
    ] = None,
    data_root: Annotated[
        list[Path] | None,
        typer.Option("--data-root", help="Folder that may contain task files (repeatable)."),
    ] = None,
    model_root: Annotated[
        list[Path] | None,
        typer.Option("--model-root", help="Folder that may contain models to tune (repeatable)."),
    ] = None,
    tuned_model: Annotated[
        list[str] | None,
        typer.Option(
            "--tuned-model",
            metavar="NAME=URL",
            help="OpenAI-compatible server whose model prompts can be tuned for (repeatable).",
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option("--device", help="Device that executes runs: auto, cpu or cuda."),
    ] = None,
    workers_per_device: Annotated[
        int | None,
        typer.Option(
            "--workers-per-device", min=1, help="Number of concurrent runs per device. Default: 1."
        ),
    ] = None,
    cache_dir: Annotated[
        Path | None,
        typer.Option("--cache-dir", help="Folder of the trainer for cached embeddings and models."),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads", min=1, help="Threads per trainer worker. Default: half of the cores."
        ),
    ] = None,
    mentor_threads: Annotated[
        int | None,
        typer.Option(
            "--mentor-threads", min=1, help="Threads of the mentor. Default: half of the cores."
        ),
    ] = None,
    ui: Annotated[
        bool, typer.Option("--ui", help="Also serve the page that shows the runs in a browser.")
    ] = False,
    ui_listen: Annotated[
        str | None,
        typer.Option(
            "--ui-listen",
            metavar="HOST:PORT",
            help="With --ui: listen address of the page. Default: 127.0.0.1:8080.",
        ),
    ] = None,
    allow_actions: Annotated[
        bool,
        typer.Option(
            "--allow-actions",
            help="With --ui: let visitors of the page cancel, pause, resume, finish and label "
            "runs.",
        ),
    ] = False,
    insecure: Annotated[
        bool,
        typer.Option("--insecure", help="Allow unencrypted connections from other machines."),
    ] = False,
    log_level: Annotated[
        str | None,
        typer.Option("--log-level", help="Minimum log level of all. Default: info."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="TOML file with settings in the tables trainer and mentor."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Start a mentor and a trainer that uses it, and divide the cores between them; with --ui, also
    the page of the trainer's runs.

    Flags override the environment variables MENTORGRAD_TRAINER_* and MENTORGRAD_MENTOR_*, which
    override the file given with --config. All other settings have their defaults.
    """
    from mentorgrad.cli.support import service_flags
    from mentorgrad.cli.support.processes import Services, cores, divide_cores

    extras = ("trainer", "mentor", "ui") if ui else ("trainer", "mentor")
    require_extras("serve all", extras, ",".join(extras))
    out = Output(as_json)
    tables = service_flags.read_tables(config)
    shares = divide_cores(cores())
    for_mentor = service_flags.threads_of("mentor", mentor_threads, shares[0], tables["mentor"])
    for_trainer = service_flags.threads_of("trainer", threads, shares[1], tables["trainer"])
    flags = service_flags.flags
    common = flags(insecure=insecure, log_level=log_level)
    try:
        with Services() as services:
            mentor = services.start(
                "mentor",
                flags(
                    config=config if tables["mentor"] else None,
                    listen=mentor_listen,
                    model=model,
                    backend=backend,
                    base_url=base_url,
                    threads=for_mentor,
                )
                + common,
                for_mentor,
            )
            trainer = services.start(
                "trainer",
                [
                    *flags(
                        config=config if tables["trainer"] else None,
                        listen=listen,
                        data_root=data_root,
                        model_root=model_root,
                        tuned_model=tuned_model,
                        device=device,
                        workers_per_device=workers_per_device,
                        cache_dir=cache_dir,
                        threads=for_trainer,
                    ),
                    *service_flags.mentor_flags(name, mentor, tables["trainer"]),
                    *common,
                ],
                for_trainer,
                environment={service_flags.STORE_VARIABLE: store} if store is not None else {},
            )
            addresses = {"mentor": mentor, "trainer": trainer}
            if ui:
                page = flags(listen=ui_listen, server=trainer, allow_actions=allow_actions)
                addresses["ui"] = services.start("ui", [*page, *common], None)
            for service, address in addresses.items():
                out.result({"service": service, "address": address}, f"{service} at {address}")
            note(f"try: mentorgrad run --mentor {name}{suffix(trainer)}   (Ctrl-C stops all)")
            services.wait()
    except KeyboardInterrupt:
        note("stopped")
