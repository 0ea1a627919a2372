"""What each route of the page's API means: what it is given, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mentorgrad.domain.event import EventKind
from mentorgrad.domain.query import RunOrder
from mentorgrad.domain.run import RunState
from mentorgrad.wire.json_schema import REFERENCE, Schema
from ui_service import requests
from ui_service.positions import MAX_RUNS

DOCUMENT = "/openapi.json"
"""Path of the document that is made from this table."""

TEXT: Schema = {"type": "string"}
OBJECT: Schema = {"type": "object"}


@dataclass(frozen=True)
class Parameter:
    """A parameter of a query."""

    name: str
    """Name."""
    meaning: str
    """What it asks for."""
    schema: Schema
    """Its values; of a repeatable one, an array."""
    required: bool = False
    """Whether it must be given."""


@dataclass(frozen=True)
class Described:
    """What a route means."""

    summary: str
    """One line."""
    answer: Schema | None = None
    """Schema of the JSON that is answered; None: 204, without content."""
    parameters: tuple[Parameter, ...] = ()
    """Parameters of the query."""
    body: Schema | None = None
    """Schema of the JSON that is sent; None: an empty body."""
    media: str = "application/json"
    """Content type of the answer."""


def reference(name: str) -> Schema:
    """A reference to the schema of a message of the contract."""
    return {"$ref": REFERENCE + name}


def _list_of(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def _fields(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _one_of(kind: type[StrEnum]) -> Schema:
    return {"type": "string", "enum": [member.value for member in kind]}


def _number(lowest: int, highest: int, default: int) -> Schema:
    return {"type": "integer", "minimum": lowest, "maximum": highest, "default": default}


def _page(default: int = 50) -> tuple[Parameter, ...]:
    size = _number(1, requests.MAX_PAGE_SIZE, default)
    return (
        Parameter("page_size", "Maximum number of entries.", size),
        Parameter("page_token", "`nextPageToken` of the previous page.", TEXT),
    )


def _runs(meaning: str, item: Schema) -> Parameter:
    schema = _list_of(item) | {"minItems": 1, "maxItems": MAX_RUNS}
    return Parameter("run", meaning, schema, required=True)


def _get(path: str, described: Described) -> tuple[tuple[str, str], Described]:
    return ("GET", path), described


ERROR = _fields(error=_fields(reason=TEXT, message=TEXT, field=TEXT))
"""Schema of every error."""

_FIGURE: Schema = {"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]}
_POINT = _fields(
    step={"type": "integer"},
    stage={"type": "integer"},
    loss=_FIGURE,
    learningRate=_FIGURE,
    gradientNorm=_FIGURE,
    words=TEXT,
    isRestart={"type": "boolean"},
)
_STEP = {"type": "integer", "minimum": 0, "default": 0}

DESCRIBED: dict[tuple[str, str], Described] = dict(
    (
        _get(
            "/house",
            Described(
                "The trainer: its address, whether it answers, and what it offers.",
                _fields(
                    server=TEXT,
                    login={"type": "boolean"},
                    version=TEXT,
                    answers={"type": "boolean"},
                    trainer=_or_null(reference("GetTrainerInfoResponse")),
                ),
            ),
        ),
        _get(
            "/runs",
            Described(
                "A page of runs.",
                _fields(runs=_list_of(reference("Run")), nextPageToken=TEXT),
                (
                    Parameter("state", "Only runs in these states.", _list_of(_one_of(RunState))),
                    Parameter("label", "Only runs with these labels, NAME=VALUE.", _list_of(TEXT)),
                    Parameter("order", "Order.", _one_of(RunOrder) | {"default": "newest"}),
                    *_page(),
                    Parameter("text", "Part of the name.", TEXT),
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
                "A run, and the number of its last event.",
                _fields(run=reference("Run"), lastSeq={"type": "integer"}),
            ),
        ),
        _get(
            "/runs/{run_id}/events",
            Described(
                "A portion of a run's events, and the `after` of the next one; null: the last.",
                _fields(events=_list_of(reference("RunEvent")), next=_or_null({"type": "integer"})),
                (
                    Parameter("after", "Only events with a greater number.", _STEP),
                    Parameter(
                        "limit",
                        "Maximum number of events; a portion may have fewer.",
                        _number(1, requests.MAX_EVENTS, requests.MAX_EVENTS),
                    ),
                    Parameter("kind", "Only events of these kinds.", _list_of(_one_of(EventKind))),
                ),
            ),
        ),
        _get(
            "/runs/{run_id}/trajectory",
            Described(
                "Points of the loss curve, in order.",
                _fields(points=_list_of(_POINT)),
                (
                    Parameter(
                        "points", "Maximum number of points.", _number(2, requests.MAX_POINTS, 500)
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
            Described("The files of a run.", _fields(artifacts=_list_of(reference("Artifact")))),
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
            "/experiments",
            Described(
                "A page of experiments, newest first; of their specs, names alone.",
                _fields(experiments=_list_of(reference("Experiment")), nextPageToken=TEXT),
                _page(),
            ),
        ),
        _get(
            "/reports/{experiment_id}",
            Described(
                "An experiment, and the view of a report on its runs so far; null if it is of the "
                "version that is asked with.",
                _fields(experiment=reference("Experiment"), report=_or_null(OBJECT), version=TEXT),
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
        (("POST", "/login"), Described("Begins a session.", body=_fields(token=TEXT))),
        (("POST", "/logout"), Described("Ends the session.")),
    )
)
"""What each route means, by method and path."""
