"""`mentorgrad runs list|show|compare`: reads from a trainer service or directly from a store."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, cast

import typer

from mentorgrad.cli.support import short_ids
from mentorgrad.cli.support.flag_text import choice, pairs_of, utc
from mentorgrad.cli.support.options import (
    DEFAULT_SERVER,
    ColumnsOption,
    JsonOption,
    LimitOption,
    PageOption,
    RunArgument,
    RunArguments,
    ServerOption,
    SinceOption,
    StoreOption,
    UntilOption,
)
from mentorgrad.cli.support.output import (
    Output,
    moment,
    name_values,
    note,
    number,
    seconds,
    shorten,
)
from mentorgrad.cli.support.service_access import open_client, open_reader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mentorgrad.domain.agent import AgentReader
    from mentorgrad.domain.query import RunReader
    from mentorgrad.domain.run import Candidate, Run, Usage


app = typer.Typer()


@app.command("list", epilog="Example: mentorgrad runs list --state running --limit 10")
def _list(
    state: Annotated[
        list[str] | None,
        typer.Option("--state", help="Only runs in this state, such as running (repeatable)."),
    ] = None,
    task: Annotated[str, typer.Option("--task", help="Only runs of this task.")] = "",
    mentor: Annotated[str, typer.Option("--mentor", help="Only runs with this mentor.")] = "",
    name: Annotated[
        str, typer.Option("--name", help="Only runs whose name contains this text.")
    ] = "",
    label: Annotated[
        list[str] | None,
        typer.Option(
            "--label", metavar="NAME=VALUE", help="Only runs with this label (repeatable)."
        ),
    ] = None,
    field: Annotated[
        list[str] | None,
        typer.Option(
            "--field",
            metavar="FIELD=VALUE",
            help="Only runs with this value of a field, such as spec.optimizer.name=sgd, or with "
            ">= or <= a number, such as best_selection_loss<=0.5 (repeatable).",
        ),
    ] = None,
    text: Annotated[
        str, typer.Option("--text", help="Only runs with this text in name, note or labels.")
    ] = "",
    name_pattern: Annotated[
        str,
        typer.Option(
            "--name-pattern",
            metavar="REGEX",
            help="Only runs whose name matches a regular expression, without regard to case.",
        ),
    ] = "",
    owner: Annotated[str, typer.Option("--owner", help="Only runs of this owner.")] = "",
    experiment: Annotated[
        str, typer.Option("--experiment", metavar="ID", help="Only runs of this experiment.")
    ] = "",
    since: SinceOption = None,
    until: UntilOption = None,
    order: Annotated[
        str, typer.Option("--order", help="Sort order: newest, oldest or best_selection_loss.")
    ] = "newest",
    limit: LimitOption = 50,
    page: PageOption = "",
    columns: ColumnsOption = "",
    server: ServerOption = DEFAULT_SERVER,
    store: StoreOption = "",
    as_json: JsonOption = False,
) -> None:
    """List runs, by default the newest first.

    --since and --until are of their creation.
    """
    from mentorgrad.cli.support.field_conditions import conditions_of
    from mentorgrad.domain.query import RunFilter, RunOrder, TextSearch
    from mentorgrad.domain.run import RunState

    wanted = RunFilter(
        states=tuple(choice("--state", RunState, item) for item in state or ()),
        task=task,
        mentor=mentor,
        name_contains=name,
        labels=pairs_of("--label", label or ()),
        created_after=utc(since),
        created_before=utc(until),
        owner=owner,
        experiment_id=experiment,
        fields=conditions_of("--field", field or ()),
        text=text,
        name_pattern=name_pattern,
    )
    with open_reader(server, store) as reader:
        found = reader.list_runs(wanted, choice("--order", RunOrder, order), limit, page)
    if found.text_search is TextSearch.PREFIX:
        note(
            "searched the beginnings of names only: there is no index of parts of texts this short"
        )
    if found.is_cut:
        note("searched as many names as a page may; the next page goes on")
    shown = dict(_COLUMNS)
    if not columns and len({run.owner for run in found.runs}) < 2:
        del shown["owner"]  # it says nothing
    Output(as_json).page(found, "runs", shown, columns, _SPARE)


def _task(run: Run) -> str:
    from mentorgrad.domain.objective import External, Function

    objective = run.spec.objective
    return objective.name if isinstance(objective, (External, Function)) else run.spec.task.name


def _test(run: Run, figure: str) -> float | None:
    test = run.result.test if run.result is not None else None
    return getattr(test, figure, None)


_COLUMNS: dict[str, Callable[[Run], str]] = {
    "run": lambda run: run.run_id,
    "name": lambda run: run.spec.name,
    "state": lambda run: run.state,
    "task": _task,
    "mentor": lambda run: run.spec.mentor.name,
    "step": lambda run: str(run.step),
    "selection loss": lambda run: number(run.best_selection_loss),
    "test loss": lambda run: number(_test(run, "loss")),
    "accuracy": lambda run: number(_test(run, "accuracy"), 3),
    "restarts": lambda run: str(run.restarts_applied),
    "created": lambda run: moment(run.created_at),
    "owner": lambda run: run.owner,
}

_SPARE = ("restarts", "created", "test loss", "step", "name", "accuracy", "mentor", "task")
"""Columns that a narrow terminal does without, the first one first."""

_COMPARED: dict[str, Callable[[Run], str]] = {
    "state": _COLUMNS["state"],
    "test loss": _COLUMNS["test loss"],
    "test accuracy": _COLUMNS["accuracy"],
    "best selection loss": _COLUMNS["selection loss"],
    "restarts applied": _COLUMNS["restarts"],
    "gradient steps": lambda run: str(run.usage.gradient_steps),
    "evaluations": lambda run: str(run.usage.evaluations),
    "forward rows": lambda run: str(run.usage.forward_rows),
    "mentor calls": lambda run: str(run.usage.mentor_calls),
    "reply tokens": lambda run: str(run.usage.reply_tokens),
    "seconds": lambda run: seconds(run.usage.train_time),
}


@app.command("show", epilog="Example: mentorgrad runs show RUN --store sqlite:///runs.sqlite")
def _show(
    run_id: RunArgument,
    candidates: Annotated[
        int,
        typer.Option("--candidates", min=0, max=1000, help="Number of best candidates to show."),
    ] = 5,
    server: ServerOption = DEFAULT_SERVER,
    store: StoreOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show one run: its state, costs, result, best candidates and files."""
    from mentorgrad.cli.support.baseline_text import show_baselines
    from mentorgrad.reports.label_tables import (
        MOST_PRINTED_LABELS,
        label_tables,
        recorded_label_scores,
    )
    from mentorgrad.serialization import to_dict

    out = Output(as_json)
    with open_reader(server, store) as reader:
        run_id = short_ids.run_id(reader, run_id)
        run = reader.get_run(run_id)
        best = reader.list_candidates(run_id, page_size=candidates).candidates if candidates else ()
        gaps = _gaps(reader, run_id, best)
        artifacts = reader.artifacts(run_id)
        waits = _why_waiting(reader, run)
        by_label = recorded_label_scores(reader, run_id) if run.result is not None else ()
    if as_json:
        listed = [
            to_dict(item) | ({"gap": gaps[item.candidate_id]} if item.candidate_id in gaps else {})
            for item in best
        ]
        shown = {"run": run, "candidates": listed, "artifacts": artifacts, "waits": waits}
        out.json(shown | {"label_scores": by_label})
        return
    out.pairs(_facts(run, waits))
    if run.result is not None:
        show_baselines(out, run.result)
    for table in label_tables(by_label, MOST_PRINTED_LABELS):
        out.line(table.title, style="bold")
        out.table(table.columns, table.rows)
    if best:
        columns = ("candidate", "source", "loss", "gap", "accuracy", "text")
        out.table(columns, [_candidate(item, gaps.get(item.candidate_id)) for item in best])
    if artifacts:
        out.table(
            ("file", "bytes", "sha256"),
            [(item.name, str(item.size_bytes), item.sha256[:16]) for item in artifacts],
        )


def _why_waiting(reader: RunReader, run: Run) -> str:
    """Why nobody executes a run that waits; empty: it does not wait, or only for its turn."""
    from mentorgrad.domain.agent import why_waiting
    from mentorgrad.domain.run import RunState
    from mentorgrad.errors import Unsupported

    if run.state not in (RunState.QUEUED, RunState.INTERRUPTED):
        return ""
    try:
        return why_waiting(run, cast("AgentReader", reader).list_workers())
    except Unsupported:  # an earlier version of the trainer
        return ""


def _gaps(reader: RunReader, run_id: str, shown: Sequence[Candidate]) -> dict[str, float]:
    """The loss increase caused by projecting parameters to words, by the ids of both candidates:
    selection loss of the projection minus selection loss of its snapshot. Of snapshots with the
    same words, only the latest in a stage has a projection.
    """
    from mentorgrad.domain.pages import MAX_PAGE, every_item
    from mentorgrad.domain.query import CandidateFilter
    from mentorgrad.domain.run import CandidateSource

    sources = (CandidateSource.SNAPSHOT, CandidateSource.PROJECTION)
    pool: dict[str, Candidate] = {}
    for stage in sorted({item.stage for item in shown if item.source in sources}):
        wanted = CandidateFilter(sources=sources, stage=stage)
        found = every_item(partial(reader.list_candidates, run_id, wanted, MAX_PAGE))
        pool.update({item.candidate_id: item for item in found})
    gaps = {}
    for item in pool.values():
        parent = pool.get(item.parents[0]) if item.parents else None
        if item.source is CandidateSource.PROJECTION and parent is not None:
            gap = item.score.loss - parent.score.loss
            gaps[item.candidate_id] = gaps[parent.candidate_id] = gap
    return gaps


def _candidate(item: Candidate, gap: float | None) -> tuple[str, ...]:
    return (
        item.candidate_id,
        item.source,
        number(item.score.loss),
        number(gap),
        number(item.score.accuracy, 3),
        shorten(item.text),
    )


def _stage(run: Run) -> str:
    from mentorgrad.domain.objective import External

    # An external training loop has no fixed number of stages.
    is_own = isinstance(run.spec.objective, External)
    return f"{run.stage + 1}" if is_own else f"{run.stage + 1} of {run.spec.stages.count}"


def _steps(usage: Usage) -> str:
    hints = f", {usage.hint_steps} for hints" if usage.hint_steps else ""
    return f"{usage.gradient_steps}, including {usage.probe_steps} in races{hints}"


def _facts(run: Run, waits: str) -> list[tuple[str, str]]:
    from mentorgrad.cli.support.event_text import result_line, title

    usage = run.usage
    facts = [
        ("run", run.run_id),
        ("name", run.spec.name),
        ("labels", name_values(run.labels)),
        ("note", shorten(run.note, 100)),
        ("spec", title(run.spec)),
        ("state", run.state + (f" ({run.reason})" if run.reason else "")),
        ("waits", waits),
        ("created", moment(run.created_at)),
        ("finished", moment(run.finished_at)),
        ("raw data dropped", moment(run.raw_dropped_at) if run.raw_dropped_at else ""),
        ("stage", _stage(run)),
        ("gradient steps", _steps(usage)),
        ("evaluations", str(usage.evaluations)),
        ("forward rows", str(usage.forward_rows)),
        ("train loss", number(run.train_loss)),
        ("best selection loss", number(run.best_selection_loss)),
        ("restarts applied", str(run.restarts_applied)),
        ("mentor calls", f"{usage.mentor_calls}, {usage.usable_answers} with a usable answer"),
        ("tokens", f"{usage.prompt_tokens} in questions, {usage.reply_tokens} in replies"),
        (
            "seconds",
            f"{seconds(usage.train_time)}, including {seconds(usage.mentor_time)} waiting for the "
            "mentor",
        ),
    ]
    if run.result is not None:
        facts.append(("result", result_line(run.result)))
        if (test := run.result.test) is not None and test.raw_loss is not None:
            raw = f"test loss {number(test.raw_loss)}, accuracy {number(test.raw_accuracy, 3)}"
            facts.append(("without calibration", raw))
        if run.result.rows_at_once:
            facts.append(("rows at a time", f"{run.result.rows_at_once} in a step"))
        facts.append(("text", shorten(run.result.returned.text, 100)))
        if run.result.zero_shot is not None and not run.result.baselines:  # an earlier log
            facts.append(("zero-shot accuracy", number(run.result.zero_shot.accuracy, 3)))
    return [(name, value) for name, value in facts if value]


@app.command("compare", epilog="Example: mentorgrad runs compare RUN1 RUN2 --json")
def _compare(
    run_ids: RunArguments,
    server: ServerOption = DEFAULT_SERVER,
    store: StoreOption = "",
    as_json: JsonOption = False,
) -> None:
    """Compare runs side by side, including the spec fields in which they differ."""
    from mentorgrad.cli.support.baseline_text import compared_baselines
    from mentorgrad.responses import RunComparison, spec_differences

    out = Output(as_json)
    if store:
        with open_reader(server, store) as reader:
            runs = tuple(reader.get_run(short_ids.run_id(reader, given)) for given in run_ids)
        found = RunComparison(runs, spec_differences([run.spec for run in runs]))
    else:
        with open_client(server) as client:
            found = client.compare_runs([short_ids.run_id(client, given) for given in run_ids])
    if as_json:
        out.json(found)
        return
    rows = [(name, *map(text, found.runs)) for name, text in _COMPARED.items()]
    rows += compared_baselines([run.result for run in found.runs])
    rows += [(item.field, *item.values) for item in found.differences]
    out.table(("", *(run.run_id for run in found.runs)), rows)
