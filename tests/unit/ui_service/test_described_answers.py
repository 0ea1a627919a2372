"""Answers that the document of the page's API describes, with all that they can hold."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from mentorgrad.domain.agent import Agent
from mentorgrad.domain.run import Run, RunState
from mentorgrad.errors import NotFound
from tests.support.told_trainer import ToldTrainer
from ui_service import messages, openapi
from ui_service.route_meanings import DESCRIBED
from ui_service.services_work import ServicesWork


def check(route: tuple[str, str], answer: Any) -> None:
    """Checks an answer: a message has the fields of its schema, and no others."""
    schemas = openapi.document([])["components"]["schemas"]
    closed = {name: {**one, "additionalProperties": False} for name, one in schemas.items()}
    wanted = {**(DESCRIBED[route].answer or {}), "components": {"schemas": closed}}
    jsonschema.Draft202012Validator(wanted).validate(answer)


async def test_the_services_work_is_described() -> None:
    trainer = ToldTrainer()
    trainer.agents = (Agent("gpu1", "worker", slots=2, refused={"a": "no GPU"}),)
    states = {"a": RunState.QUEUED, "b": RunState.RUNNING, "c": RunState.FAILED}
    trainer.runs = {run_id: Run(run_id, state=state) for run_id, state in states.items()}
    found = json.loads(await ServicesWork(trainer).read())
    assert all(found[name] for name in ("agents", "running", "waiting"))
    check(("GET", "/services/work"), found)
    for missing in ("isAlive", "waits"):
        part = found["agents" if missing == "isAlive" else "waiting"][0]
        kept = part.pop(missing)
        with pytest.raises(jsonschema.ValidationError):
            check(("GET", "/services/work"), found)
        part[missing] = kept


def test_the_results_of_actions_are_described() -> None:
    changed = {"runId": "a", "run": messages.of_run(Run("a"))}
    refused = {"runId": "b"} | messages.of_error(NotFound("no run b"))
    check(("POST", "/actions"), {"results": [changed, refused]})
    with pytest.raises(jsonschema.ValidationError):
        check(("POST", "/actions"), {"results": [changed | refused]})
