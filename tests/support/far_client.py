"""A client on another machine: reads orders from standard input, one line of JSON each.

It gets nothing from the tests but those lines, and what it names are files of its own home.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mentorgrad import Client, Credentials, Function, MentorChoice, MentorClient, RunSpec
from mentorgrad.domain.event import ProposalsReceived
from mentorgrad.errors import MentorgradError
from mentorgrad.wire.error_mapping import to_status


def look(client: Client, order: dict[str, Any]) -> Any:
    return [run.run_id for run in client.list_runs().runs]


def create(client: Client, order: dict[str, Any]) -> Any:
    spec = RunSpec(objective=Function(), mentor=MentorChoice("far"))
    made = client.create_run(spec)
    client.cancel_run(made.run.run_id)
    return list(made.warnings)


def delete(client: Client, order: dict[str, Any]) -> Any:
    return client.delete_run(order["run"])


def stream(client: Client, order: dict[str, Any]) -> Any:
    return [event.seq for event in client.events(order["run"])]


def advice(client: Client, order: dict[str, Any]) -> Any:
    """Who answered the questions of a run, with which model, and whether usably."""
    payloads = [event.payload for event in client.events(order["run"])]
    return [
        [record.mentor, record.model, payload.answer.status]
        for payload in payloads
        if isinstance(payload, ProposalsReceived)
        for record in payload.answer.records
    ]


ORDERS: dict[str, Callable[[Client, dict[str, Any]], Any]] = {
    "look": look,
    "create": create,
    "delete": delete,
    "stream": stream,
    "advice": advice,
}


def obey(order: dict[str, Any]) -> Any:
    given = order.get("credentials", {})
    paths = {name: Path(value) for name, value in given.items()}
    try:
        credentials = Credentials(**paths)
        if order["do"] == "mentor":
            with MentorClient(order["target"], credentials=credentials) as mentor:
                return mentor.info().backend
        with Client(order["target"], credentials=credentials) as client:
            return ORDERS[order["do"]](client, order)
    except MentorgradError as error:
        code = to_status(error).code.name
        return [type(error).__name__, code, error.reason, error.message]


for line in sys.stdin:
    print(json.dumps(obey(json.loads(line))), flush=True)
