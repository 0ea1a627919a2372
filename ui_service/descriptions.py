"""How a route of the page's API is described: its parameters, body and answer as JSON Schemas."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mentorgrad.wire.json_schema import REFERENCE, Schema

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


def list_of(item: Schema) -> Schema:
    """A list of such items."""
    return {"type": "array", "items": item}


def fields(**properties: Schema) -> Schema:
    """An object with these fields, all of which are there."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def closed(**properties: Schema) -> Schema:
    """An object with these fields and no others."""
    return fields(**properties) | {"additionalProperties": False}


def or_null(schema: Schema) -> Schema:
    """Such a value, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def one_of(kind: type[StrEnum]) -> Schema:
    """A member of the enumeration."""
    return {"type": "string", "enum": [member.value for member in kind]}


def number(lowest: int, highest: int, default: int) -> Schema:
    """An integer in a range."""
    return {"type": "integer", "minimum": lowest, "maximum": highest, "default": default}
