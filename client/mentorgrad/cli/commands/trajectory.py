"""`mentorgrad runs trajectory`: the snapshots of a run, a part of them or all."""

from __future__ import annotations

from typing import Annotated

import typer

from mentorgrad.cli.support import short_ids
from mentorgrad.cli.support.flag_text import choice
from mentorgrad.cli.support.options import (
    DEFAULT_SERVER,
    JsonOption,
    RunArgument,
    ServerOption,
    StoreOption,
)
from mentorgrad.cli.support.output import Output, note, number, shorten
from mentorgrad.cli.support.service_access import open_reader

app = typer.Typer()

_COLUMNS = ("stage", "step", "train loss", "learning rate", "gradient norm", "words")


@app.command("trajectory", epilog="Example: mentorgrad runs trajectory RUN --points 20")
def _trajectory(
    run_id: RunArgument,
    points: Annotated[
        int, typer.Option("--points", help="Maximum number of snapshots; 0: all.")
    ] = 50,
    first: Annotated[int, typer.Option("--first", help="Lowest step; 0: no limit.")] = 0,
    last: Annotated[int, typer.Option("--last", help="Highest step; 0: no limit.")] = 0,
    thinning: Annotated[
        str,
        typer.Option(
            "--thinning",
            help="even: evenly spaced snapshots; min_max: the lowest and highest train losses.",
        ),
    ] = "even",
    server: ServerOption = DEFAULT_SERVER,
    store: StoreOption = "",
    as_json: JsonOption = False,
) -> None:
    """List the snapshots of a run, by default 50 that are evenly spaced."""
    from mentorgrad.domain.query import Thinning, View
    from mentorgrad.serialization import to_dict

    wanted = choice("--thinning", Thinning, thinning)
    out = Output(as_json)
    with open_reader(server, store) as reader:
        run_id = short_ids.run_id(reader, run_id)
        found = reader.trajectory(
            run_id, points, View.SUMMARY, first_step=first, last_step=last, thinning=wanted
        )
    rows = list(zip(found.stages, found.snapshots, strict=True))
    if as_json:
        listed = [{"stage": stage} | to_dict(snapshot) for stage, snapshot in rows]
        out.json({"run_id": run_id, "snapshots": listed})
        return
    if not rows:
        note("no snapshots in these steps" if first or last else "no snapshots yet")
        return
    out.table(
        _COLUMNS,
        [
            (
                str(stage),
                str(item.step),
                number(item.train_loss),
                number(item.learning_rate, 6),
                number(item.gradient_norm),
                shorten(item.text),
            )
            for stage, item in rows
        ],
    )
