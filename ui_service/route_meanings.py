"""What each route of the page's API means: what it is given, and what it answers."""

from __future__ import annotations

from mentorgrad.domain.event import EventKind
from mentorgrad.domain.query import RunOrder
from mentorgrad.domain.run import RunState
from mentorgrad.wire.json_schema import Schema
from ui_service import actions, requests
from ui_service.descriptions import (
    OBJECT,
    TEXT,
    Described,
    Parameter,
    closed,
    fields,
    list_of,
    number,
    one_of,
    or_null,
    reference,
)
from ui_service.labelled_rows import MAX_ROWS
from ui_service.page_token import TOKEN_HEADER
from ui_service.positions import MAX_RUNS

DOCUMENT = "/openapi.json"
"""Path of the document that is made from this table."""


def _page(default: int = 50) -> tuple[Parameter, ...]:
    size = number(1, requests.MAX_PAGE_SIZE, default)
    return (
        Parameter("page_size", "Maximum number of entries.", size),
        Parameter("page_token", "`nextPageToken` of the previous page.", TEXT),
    )


def _runs(meaning: str, item: Schema) -> Parameter:
    schema = list_of(item) | {"minItems": 1, "maxItems": MAX_RUNS}
    return Parameter("run", meaning, schema, required=True)


def _get(path: str, described: Described) -> tuple[tuple[str, str], Described]:
    return ("GET", path), described


ERROR = fields(error=fields(reason=TEXT, message=TEXT, field=TEXT))
"""Schema of every error."""

_FIGURE: Schema = {"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]}
_POINT = fields(
    step={"type": "integer"},
    stage={"type": "integer"},
    loss=_FIGURE,
    learningRate=_FIGURE,
    gradientNorm=_FIGURE,
    words=TEXT,
    isRestart={"type": "boolean"},
)
_PREDICTION_ERROR = fields(
    row={"type": "integer"}, label=TEXT, predicted=TEXT, probability={"type": "number"}
)
_MEANS: Schema = {"type": "array", "items": {"type": ["number", "null"]}}
_GROUP = closed(
    name=TEXT,
    runs=list_of(TEXT),
    missing={"type": "integer"},
    steps=list_of({"type": "integer"}),
    means=_MEANS,
    lows=_MEANS,
    highs=_MEANS,
)
_STEP = {"type": "integer", "minimum": 0, "default": 0}
_HOUR = closed(
    **{"from": {"type": "string", "format": "date-time"}},
    **{state.value: {"type": "integer", "minimum": 0} for state in RunState if state.is_final},
)
_RESULT: Schema = {
    "oneOf": [
        closed(runId=TEXT, run=reference("Run")),
        closed(runId=TEXT, **ERROR["properties"]),
    ]
}
_UPDATE: Schema = {
    "type": "object",
    "properties": {
        "labels": {"type": "object", "additionalProperties": TEXT},
        "remove_labels": list_of(TEXT),
        "note": TEXT,
    },
}

EXTENDED: dict[str, tuple[str, dict[str, Schema]]] = {
    "ListedAgent": ("Agent", {"isAlive": {"type": "boolean"}}),
    "WaitingRun": ("Run", {"waits": TEXT}),
}
"""Messages of the contract with further fields: name → message, and these fields."""

DESCRIBED: dict[tuple[str, str], Described] = dict(
    (
        _get(
            "/services",
            Described(
                "The trainer: its address, whether it answers, and what it offers.",
                fields(
                    server=TEXT,
                    login={"type": "boolean"},
                    version=TEXT,
                    answers={"type": "boolean"},
                    trainer=or_null(reference("GetTrainerInfoResponse")),
                ),
            ),
        ),
        _get(
            "/services/work",
            Described(
                "Who executes runs (null: the trainer does not say), the runs that are executed, "
                "those that wait (`waits`: why nobody executes it; empty: it has to wait for its "
                "turn), and how many ended in each hour of a day, the present one last "
                "(`isPartial`: of some runs alone).",
                fields(
                    agents=or_null(list_of(reference("ListedAgent"))),
                    running=list_of(reference("Run")),
                    waiting=list_of(reference("WaitingRun")),
                    ended=fields(hours=list_of(_HOUR), isPartial={"type": "boolean"}),
                ),
            ),
        ),
        _get(
            "/predictor",
            Described(
                "What the predict service predicts with; null: the page has none.",
                fields(predictor=or_null(reference("PredictorInfo"))),
            ),
        ),
        _get(
            "/session",
            Described(
                "What the visitor may do, and the page's token, which `POST` of `/actions` and "
                f"`/predictions` takes in the header `{TOKEN_HEADER}`.",
                fields(actions={"type": "boolean"}, classifier={"type": "boolean"}, token=TEXT),
            ),
        ),
        _get(
            "/runs",
            Described(
                "A page of runs.",
                fields(runs=list_of(reference("Run")), nextPageToken=TEXT),
                (
                    Parameter("state", "Only runs in these states.", list_of(one_of(RunState))),
                    Parameter("label", "Only runs with these labels, NAME=VALUE.", list_of(TEXT)),
                    Parameter("order", "Order.", one_of(RunOrder) | {"default": "newest"}),
                    *_page(),
                    Parameter("text", "Part of the name.", TEXT),
                    Parameter("pattern", "Regular expression for a part of the name.", TEXT),
                    Parameter("objective", "Name of the objective.", TEXT),
                    Parameter("task", "Name of the task.", TEXT),
                    Parameter("mentor", "Name of the mentor or control.", TEXT),
                    Parameter("owner", "Owner.", TEXT),
                    Parameter("experiment", "Id of the experiment that created the runs.", TEXT),
                ),
            ),
        ),
        _get(
            "/runs/{run_id}",
            Described(
                "A run, the number of its last event, and why nobody executes it; empty: it does "
                "not wait, or only for its turn.",
                fields(run=reference("Run"), lastSeq={"type": "integer"}, waits=TEXT),
            ),
        ),
        _get(
            "/runs/{run_id}/events",
            Described(
                "A portion of a run's events, and the `after` of the next one; null: the last.",
                fields(events=list_of(reference("RunEvent")), next=or_null({"type": "integer"})),
                (
                    Parameter("after", "Only events with a greater number.", _STEP),
                    Parameter(
                        "limit",
                        "Maximum number of events; a portion may have fewer.",
                        number(1, requests.MAX_EVENTS, requests.MAX_EVENTS),
                    ),
                    Parameter("kind", "Only events of these kinds.", list_of(one_of(EventKind))),
                ),
            ),
        ),
        _get(
            "/runs/{run_id}/trajectory",
            Described(
                "Points of the loss curve, in order.",
                fields(points=list_of(_POINT)),
                (
                    Parameter(
                        "points", "Maximum number of points.", number(2, requests.MAX_POINTS, 500)
                    ),
                    Parameter("first_step", "Lowest step; 0: no limit.", _STEP),
                    Parameter("last_step", "Highest step; 0: no limit.", _STEP),
                ),
            ),
        ),
        _get(
            "/runs/{run_id}/path",
            Described("The path of a run's parameters in two dimensions, as a view.", OBJECT),
        ),
        _get(
            "/runs/{run_id}/artifacts",
            Described("The files of a run.", fields(artifacts=list_of(reference("Artifact")))),
        ),
        _get(
            "/compare",
            Described(
                "Runs, and the fields in which their specs differ.",
                reference("CompareRunsResponse"),
                (_runs("The runs.", TEXT),),
            ),
        ),
        _get(
            "/compare/groups",
            Described(
                "The curves of runs by groups: of each group the means over its runs at common "
                "steps, with their 95% intervals (null: of one run there is none).",
                closed(label=TEXT, groups=list_of(_GROUP)),
                (
                    _runs("The runs.", TEXT),
                    Parameter("label", "Name of the label that groups them.", TEXT, required=True),
                    Parameter(
                        "curve",
                        "The best selection loss so far, or the train loss.",
                        one_of(requests.CurveKind) | {"default": "best"},
                    ),
                ),
            ),
        ),
        _get(
            "/experiments",
            Described(
                "A page of experiments, newest first; of their specs, names alone.",
                fields(experiments=list_of(reference("Experiment")), nextPageToken=TEXT),
                _page(),
            ),
        ),
        _get(
            "/reports/{experiment_id}",
            Described(
                "An experiment, and the view of a report on its runs so far; null if it is of the "
                "version that is asked with.",
                fields(experiment=reference("Experiment"), report=or_null(OBJECT), version=TEXT),
                (Parameter("version", "Version of the report that is known.", TEXT),),
            ),
        ),
        _get(
            "/stream",
            Described(
                "Server-sent events: `run`, `away`, `back`, `gone` and `end`; 204 without any.",
                TEXT,
                (_runs("ID:SEQ of each run: the last event that is known.", TEXT),),
                media="text/event-stream",
            ),
        ),
        _get(DOCUMENT, Described("This document.", OBJECT)),
        (
            ("POST", "/actions"),
            Described(
                "Changes runs. Refused unless the page was started with `--allow-actions`; each "
                "run has a result, `run` or `error`.",
                fields(results=list_of(_RESULT)),
                body={
                    "type": "object",
                    "properties": {
                        "action": one_of(actions.Action),
                        "run_ids": list_of(TEXT) | {"maxItems": actions.MAX_RUNS},
                        "update": _UPDATE,
                    },
                    "required": ["action", "run_ids"],
                },
            ),
        ),
        (
            ("POST", "/predictions"),
            Described(
                "The label of a text; `pair` for a classifier of pairs.",
                fields(prediction=reference("Prediction")),
                body={
                    "type": "object",
                    "properties": {"text": TEXT, "pair": TEXT},
                    "required": ["text"],
                },
            ),
        ),
        (
            ("POST", "/predictions/compared"),
            Described(
                "Predictions for rows whose labels are known: the scores of each label, and the "
                "most confident errors. Nothing of the rows is kept.",
                fields(
                    labelScores=list_of(reference("LabelScore")),
                    rows={"type": "integer"},
                    wrong={"type": "integer"},
                    errors=list_of(_PREDICTION_ERROR),
                ),
                body={
                    "type": "object",
                    "properties": {
                        name: list_of(TEXT) | {"maxItems": MAX_ROWS}
                        for name in ("texts", "labels", "pairs")
                    },
                    "required": ["texts", "labels"],
                },
            ),
        ),
        (("POST", "/login"), Described("Begins a session.", body=fields(token=TEXT))),
        (("POST", "/logout"), Described("Ends the session.")),
    )
)
"""What each route means, by method and path."""
