"""From a table to a classifier in use, step by step: read, plan, run, judge, keep."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mentorgrad.cli.support.extras import require_extras
from mentorgrad.cli.support.live_page import LivePage, check_page, live_page
from mentorgrad.cli.support.output import Output, shorten
from mentorgrad.cli.support.output_paths import output_folder
from mentorgrad.cli.support.table_options import AskedTable
from mentorgrad.cli.support.tune_evaluation import (
    PROBE_FILE,
    describe_choice,
    download,
    judged,
    probe_on_selection,
    split_rows,
    texts_of,
)
from mentorgrad.cli.support.tune_places import (
    TunePlace,
    give_data,
    look,
    opened,
    split_file,
    weights_of,
)
from mentorgrad.cli.support.tune_speed import LEAST_MINUTES, SHARE, measured
from mentorgrad.cli.support.tune_watching import Heartbeat, TuneProgress, follow
from mentorgrad.domain.run import Run, RunState
from mentorgrad.domain.spec import Criterion, DataFiles, RunSpec
from mentorgrad.errors import PreconditionFailed
from mentorgrad.schema import snake_case
from mentorgrad.serialization import from_dict, merged, to_dict
from mentorgrad.tables import Table, report_lines
from mentorgrad.tables.reading import refusals_of
from mentorgrad.tune.folder import TuneFolder, data_digest, wishes_digest
from mentorgrad.tune.outcome import TuneOutcome
from mentorgrad.tune.plan import Machine, TableFacts, TunePlan, TuneWishes, plan
from mentorgrad.tune.report import outcome_facts, shown_tables, tune_page
from mentorgrad.tune.stall import Stall

if TYPE_CHECKING:
    from mentorgrad.client import Client

_MEASURED = 1_000
"""First train rows, of which the mean length is measured."""
_TRAINING = 0.75
"""Share of the minutes after which the training is stopped."""

REPORT_FILE = "report.html"


@dataclass(frozen=True)
class TuneOrder:
    """What a tune is told, besides its table."""

    output: Path
    place: TunePlace = field(default_factory=TunePlace)
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the spec that were set; they override the plan's."""
    description: str = ""
    mentor: str = ""
    shots: int = 0
    minutes: float = 10.0
    metric: Criterion | None = None
    patience: int = 2
    overwrite: bool = False
    keep: bool = False
    """Whether the run's store and data stay in the folder."""
    opens: bool = False
    """Whether the page of the run is served, opened in a browser, and kept after the end."""


@dataclass(frozen=True)
class _Ready:
    """What is known before anything is written, and the plan by it."""

    asked: AskedTable
    order: TuneOrder
    table: Table
    read: list[str]
    """What was read, in lines."""
    facts: TableFacts
    machine: Machine
    wishes: TuneWishes

    @cached_property
    def plan(self) -> TunePlan:
        """What will be done."""
        return plan(self.facts, self.machine, self.wishes)

    @property
    def lines(self) -> list[str]:
        """The plan in lines."""
        return [*self.plan.lines, *_set_line(self.order.fields)]

    @property
    def fields(self) -> dict[str, Any]:
        """Fields of the run's spec, without its data."""
        return _spec_fields(self.table, self.plan, self.asked, self.order)


def tune(
    asked: AskedTable, order: TuneOrder, out: Output, told: Callable[[dict[str, Any]], None]
) -> None:
    """Tunes a classifier, or goes on with a tune that was broken off.

    Args:
        asked: The table.
        order: What else was asked for.
        out: Output to use.
        told: Called with the summary, which is in the folder then.

    Raises:
        InvalidInput: Table, options or folder do not fit; nothing is left behind.
        PreconditionFailed: The run failed.
    """
    begun = time.monotonic()
    if not order.place.server:
        require_extras("mentorgrad tune", ("trainer",), "demo")
    if order.opens:
        check_page()
    output_folder("--output", order.output)
    folder = TuneFolder(order.output, _digest(asked, order), order.overwrite)
    if folder.summary is not None:
        out.line(f"{order.output} holds the result already; --overwrite starts anew")
        out.line(folder.summary["advice"])
        if order.opens:
            out.line(f"the run is over; see {order.output / REPORT_FILE}")
        told(folder.summary)
        return
    ready = None if folder.unfinished else _ready(asked, order, out)
    with folder:
        _Flow(folder, order, out, begun).run(ready, asked.file.name, told)


def _digest(asked: AskedTable, order: TuneOrder) -> str:
    digests = []
    for path in filter(None, (asked.file, asked.test)):
        with refusals_of(path):
            digests.append(data_digest(path.expanduser()))
    wishes = {**asdict(order), "output": "", "overwrite": False, "keep": False}
    del wishes["opens"]  # changes nothing of the result
    table = {**asdict(asked), "file": "", "test": ""}
    return wishes_digest({"data": digests, "table": table, "order": wishes})


def _ready(asked: AskedTable, order: TuneOrder, out: Output) -> _Ready:
    """Reads and reports the table, and plans; writes nothing."""
    table = asked.read()
    read = report_lines(table.report)
    for line in read:
        out.line(line)
    machine, mentor, has_peft = look(order.place, order.mentor)
    objective, model = _named(order.fields)
    wishes = TuneWishes(
        minutes=order.minutes,
        objective=objective,
        model=model,
        weights=weights_of(model, order.place.model_roots) if model else None,
        mentor=mentor,
        shots=order.shots,
        metric=order.metric,
        has_peft=has_peft,
        patience=order.patience,
    )
    ready = _Ready(asked, order, table, read, _facts(table), machine, wishes)
    _complete(ready.fields, DataFiles("train.jsonl"))  # refused here, if at all
    return ready


def _set_line(fields: Mapping[str, Any]) -> list[str]:
    """What was set besides the objective, in a line."""
    leaves = [
        f"{path} = {json.dumps(value, ensure_ascii=False, default=str)}"
        for path, value in _leaves(fields)
    ]
    return [f"set: {', '.join(leaves)}"] if leaves else []


def _leaves(fields: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


def _complete(fields: Mapping[str, Any], data: DataFiles) -> RunSpec:
    """The spec with its data; raises InvalidInput with the field's path."""
    return from_dict(RunSpec, merged(RunSpec, fields, {"task": {"data": to_dict(data)}}))


def _named(fields: Mapping[str, Any]) -> tuple[str, str]:
    """The objective and the model that were set; empty: none."""
    for objective, own in (fields.get("objective") or {}).items():
        return objective, str(own.get("encoder") or own.get("model") or "")
    return "", ""


def _facts(table: Table) -> TableFacts:
    first = islice(table.rows("train"), _MEASURED)
    report = table.report
    return TableFacts(
        splits=report.splits,
        classes=len(table.labels),
        smallest=min(one.rows for one in report.labels),
        imbalance=report.imbalance,
        characters=float(np.mean([len(row.text) + len(row.pair) for row in first])),
        longest=report.longest,
    )


def _spec_fields(
    table: Table, made: TunePlan, asked: AskedTable, order: TuneOrder
) -> dict[str, Any]:
    """The fields of the run's spec, without its data; what was set overrides what was planned."""
    columns = table.columns
    of_what = " and a ".join(filter(None, (columns.text, columns.pair)))
    task = {
        "name": re.sub(r"[^A-Za-z0-9._-]+", "-", asked.file.stem).strip("-._") or "table",
        "description": order.description or f"the {columns.label} of a {of_what}"[:500],
        "labels": list(table.words),
        "label_values": list(table.labels),
    }
    fields = merged(RunSpec, made.fields, {"task": task, "seed": asked.seed})
    fields["name"] = f"tune {asked.file.name}"[:200]
    return merged(RunSpec, fields, order.fields)


class _Flow:
    """The steps that need the folder and the trainer."""

    def __init__(self, folder: TuneFolder, order: TuneOrder, out: Output, begun: float) -> None:
        self._folder = folder
        self._order = order
        self._out = out
        self._begun = begun
        self._deadline = begun + _TRAINING * 60.0 * order.minutes

    def run(self, ready: _Ready | None, name: str, told: Callable[[dict[str, Any]], None]) -> None:
        """Runs, judges, and puts the result into its place.

        Args:
            ready: The plan; None: an earlier call has begun.
            name: Name of the data file.
            told: Called with the summary.
        """
        folder, place = self._folder, self._order.place
        spec = folder.state["spec"] if ready is None else ready.fields
        with (
            opened(place, folder, spec["mentor"]["name"], self._out) as client,
            self._page(client) as page,
        ):
            if ready is not None:
                self._begin(client, ready)
            run = self._ended(client, from_dict(RunSpec, folder.state["spec"]), page)
            with folder.staged() as staged:
                summary = self._result(client, run, staged, name)
            folder.drop()
            folder.keeps_private = self._order.keep
            told(summary)
            if page is not None:
                page.wait()

    def _page(self, client: Client) -> AbstractContextManager[LivePage | None]:
        if not self._order.opens:
            return nullcontext()
        log = self._folder.private / "services/ui.log"
        return live_page(client.target, not self._order.place.server, log, self._out)

    def _begin(self, client: Client, ready: _Ready) -> None:
        """Plans by the measured speed and gives the data to the trainer; the spec is complete."""
        place, folder = self._order.place, self._folder
        if self._order.minutes >= LEAST_MINUTES:
            self._out.line("measuring the speed")
            began = time.monotonic()
            with Heartbeat(
                self._out, lambda: f"measuring the speed, for {time.monotonic() - began:.0f} s"
            ):
                speed = measured(
                    *(client, ready.table, ready.facts, ready.machine, ready.fields),
                    lambda table: give_data(table, client, place, folder),
                    SHARE * 60.0 * self._order.minutes,
                )
            ready = replace(ready, machine=replace(ready.machine, speed=speed))
        for line in ready.lines:
            self._out.line(line)
        table = ready.table.sample(ready.plan.rows)
        data = give_data(table, client, place, folder)
        spec = _complete(ready.fields, data)
        self._folder.state = {
            "spec": to_dict(spec),
            "objective": snake_case(type(spec.objective).__name__),
            "metric": ready.plan.metric.value,
            "test_rows": table.report.splits.test,
            "read": ready.read,
            "plan": ready.lines,
            "request_id": f"tune-{uuid.uuid4().hex}",
        }

    def _ended(self, client: Client, spec: RunSpec, page: LivePage | None) -> Run:
        """The run, ended: with a result, or stopped with its best so far."""
        folder, out = self._folder, self._out
        made = client.create_run(spec, folder.state["request_id"])
        run = made.run
        for warning in made.warnings:
            out.line(f"warning: {warning}")
        if made.created:
            folder.keep(run_id=run.run_id)
            out.line(f"run {run.run_id}")
        else:
            for line in folder.state["plan"]:
                out.line(line)
            out.line(f"going on with run {run.run_id} ({run.state})")
        if page is not None:
            page.show(run.run_id)
        if run.state is RunState.PAUSED:
            client.resume_run(run.run_id)
        stall = Stall(self._order.patience, spec.criterion, self._deadline, time.monotonic)
        state = follow(
            *(client, run.run_id, out, self._progress(spec), stall),
            lambda reason: folder.keep(stopped=reason),
        )
        run = client.get_run(run.run_id)
        if state is RunState.SUCCEEDED:
            return run
        if not state.is_final:
            raise PreconditionFailed(f"the run is {state}: {run.reason}; the same command goes on")
        folder.drop()
        folder.keeps_private = True
        raise PreconditionFailed(f"the run {state}: {run.reason}; its log is in {folder.private}")

    def _progress(self, spec: RunSpec) -> TuneProgress:
        rows = self._folder.state["test_rows"]
        return TuneProgress(spec, f"the baselines and {rows:,} test rows", self._deadline)

    def _result(self, client: Client, run: Run, staged: Path, name: str) -> dict[str, Any]:
        folder, state = self._folder, self._folder.state
        found = judged(
            run,
            download(client, run.run_id, staged),
            texts_of(split_file(folder, "test"), run.spec.task),
            probe_on_selection(staged / PROBE_FILE),
            Criterion(state["metric"]),
        )
        describe_choice(staged, found.choice)
        lists = (("What was read", state["read"]), ("What was planned", state["plan"]))
        page = tune_page(f"Tuned on {name}", found, lists, client, run)
        (staged / REPORT_FILE).write_text(page, encoding="utf-8")
        stopped = state.get("stopped", "")
        self._show(found, stopped)
        return folder.finish(
            staged,
            {
                "file": name,
                "run_id": run.run_id,
                "objective": state["objective"],
                "rows": split_rows(staged),
                "stopped": stopped,
                "seconds": round(time.monotonic() - self._begun, 1),
                "read": state["read"],
                "plan": state["plan"],
                **outcome_facts(found),
            },
        )

    def _show(self, found: TuneOutcome, stopped: str) -> None:
        out = self._out
        for table in shown_tables(found):
            out.line()
            out.line(table.title, style="bold")
            out.table(table.columns, [[shorten(cell, 80) for cell in row] for row in table.rows])
            if table.note:
                out.line(table.note, style="dim")
        out.line()
        if stopped:
            out.line(f"The training was stopped: {stopped}.")
        out.line(found.advice, style="bold")
