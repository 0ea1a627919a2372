"""JSON Schemas of the contract's messages."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from google.protobuf import json_format

from mentorgrad.wire.codec import to_message
from mentorgrad.wire.json_schema import schemas_of
from tests.support.toy_run import toy_log, toy_run


def validator(name: str) -> Any:
    schemas = schemas_of(name)
    for schema in schemas.values():
        schema["additionalProperties"] = False
    wanted = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}}
    return jsonschema.Draft202012Validator(wanted)


def test_messages_in_json_have_the_schema_and_no_field_beside_it() -> None:
    validator("Run").validate(json_format.MessageToDict(to_message(toy_run())))
    of_events = validator("RunEvent")
    for event in toy_log():
        of_events.validate(json_format.MessageToDict(to_message(event)))


@pytest.mark.parametrize(
    "wrong",
    [{"runId": 1}, {"attempt": 1}, {"state": "running"}, {"createdAt": 5}, {"spec": {"a": 1}}],
)
def test_what_is_no_message_is_refused(wrong: dict[str, Any]) -> None:
    assert not validator("Run").is_valid(wrong)


def test_each_kind_of_field_has_its_form() -> None:
    schemas = schemas_of("Run", "RunEvent")
    run = schemas["Run"]["properties"]
    assert run["lastSeq"] == {"type": "string", "pattern": r"^-?\d+$"}
    assert run["createdAt"]["format"] == "date-time"
    assert run["labels"] == {"type": "object", "additionalProperties": {"type": "string"}}
    assert "RUN_STATE_QUEUED" in run["state"]["enum"]
    spec = schemas["RunSpec"]["properties"]
    assert spec["webhooks"] == {"type": "array", "items": {"type": "string"}}
    assert spec["objective"] == {"$ref": "#/components/schemas/Objective"}
    assert schemas["MentorChoice"]["properties"]["options"] == {"type": "object"}
    assert "pattern" in schemas["MentorChoice"]["properties"]["timeout"]
    assert schemas["Tensor"]["properties"]["data"]["contentEncoding"] == "base64"
    with pytest.raises(KeyError):
        schemas_of("NoSuchMessage")
