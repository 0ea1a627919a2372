"""JSON Schemas of messages of the contract, as protobuf's JSON mapping writes them.

Names are in lower camel case, 64-bit integers are strings, numbers that are not finite are
``"NaN"``, ``"Infinity"`` and ``"-Infinity"``, and fields with their default may be left out.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from mentorgrad.v1 import (
    experiment_service_pb2,
    history_service_pb2,
    predict_service_pb2,
    trainer_service_pb2,
)

Schema = dict[str, Any]
"""A JSON Schema, draft 2020-12."""

REFERENCE = "#/components/schemas/"
"""Where schemas refer to each other."""

_NUMBER: Schema = {
    "anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}],
}
_KNOWN: dict[str, Schema] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?\d+(\.\d+)?s$"},
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.Value": {},
    "google.protobuf.ListValue": {"type": "array"},
}
"""Messages with a form of their own."""

_LONG: Schema = {"type": "string", "pattern": r"^-?\d+$"}
_SCALARS: dict[int, Schema] = {
    FieldDescriptor.CPPTYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.CPPTYPE_INT32: {"type": "integer"},
    FieldDescriptor.CPPTYPE_UINT32: {"type": "integer"},
    FieldDescriptor.CPPTYPE_INT64: _LONG,
    FieldDescriptor.CPPTYPE_UINT64: _LONG,
    FieldDescriptor.CPPTYPE_DOUBLE: _NUMBER,
    FieldDescriptor.CPPTYPE_FLOAT: _NUMBER,
}


_SERVICES = (
    trainer_service_pb2,
    history_service_pb2,
    experiment_service_pb2,
    predict_service_pb2,
)
"""They, and what they import, define the messages."""


def schemas_of(*names: str) -> dict[str, Schema]:
    """Schemas of messages, and of all that they contain, by their names.

    Args:
        *names: Names of messages, for example ``RunEvent``.

    Raises:
        KeyError: There is no such message.
    """
    pool = _SERVICES[0].DESCRIPTOR.pool
    found: dict[str, Schema] = {}
    waiting = [pool.FindMessageTypeByName(f"mentorgrad.v1.{name}") for name in names]
    while waiting:
        descriptor = waiting.pop()
        if descriptor.name in found:
            continue
        properties = {field.json_name: _of_field(field) for field in descriptor.fields}
        found[descriptor.name] = {"type": "object", "properties": properties}
        waiting += [inner for field in descriptor.fields for inner in _contained(field)]
    return dict(sorted(found.items()))


def _contained(field: Any) -> list[Descriptor]:
    """The messages of a field that have schemas of their own."""
    message = field.message_type
    if message is None or message.full_name in _KNOWN:
        return []
    return _contained(message.fields_by_name["value"]) if _is_map(message) else [message]


def _of_field(field: Any) -> Schema:
    message = field.message_type
    if message is not None and _is_map(message):
        return {
            "type": "object",
            "additionalProperties": _of_item(message.fields_by_name["value"]),
        }
    item = _of_item(field)
    return {"type": "array", "items": item} if _is_repeated(field) else item


def _of_item(field: Any) -> Schema:
    if field.message_type is not None:
        known = _KNOWN.get(field.message_type.full_name)
        return known if known is not None else {"$ref": REFERENCE + field.message_type.name}
    if field.enum_type is not None:
        return _of_enum(field.enum_type)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return {"type": "string", "contentEncoding": "base64"}
    return _SCALARS.get(field.cpp_type, {"type": "string"})


def _of_enum(enum: EnumDescriptor) -> Schema:
    return {"type": "string", "enum": [value.name for value in enum.values]}


def _is_map(message: Descriptor) -> bool:
    return bool(message.GetOptions().map_entry)


def _is_repeated(field: Any) -> bool:
    said = getattr(field, "is_repeated", None)  # newer versions of protobuf warn of `label`
    return bool(field.label == FieldDescriptor.LABEL_REPEATED if said is None else said)
