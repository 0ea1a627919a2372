"""What protobuf's JSON does not say of a spec's fields, for the page: `python -m
tests.support.page_fields` writes it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from mentorgrad.v1 import run_pb2

FILE = Path(__file__).parents[2] / "ui/src/data/spec_fields.json"

_STRUCT = "google.protobuf.Struct"


def page_fields() -> dict[str, Any]:
    """``integers``: paths of 64-bit integers, which are strings in JSON; ``enums``: path → prefix
    of its members; ``whole``: paths of maps, whose keys are no fields."""
    fields = list(_fields(run_pb2.RunSpec.DESCRIPTOR, ""))
    return {
        "integers": sorted(
            path for path, field in fields if field.cpp_type == FieldDescriptor.CPPTYPE_INT64
        ),
        "enums": {
            path: field.enum_type.values[0].name.removesuffix("UNSPECIFIED")
            for path, field in fields
            if field.enum_type is not None
        },
        "whole": sorted(path for path, field in fields if _is_map(field)),
    }


def _fields(message: Descriptor, before: str) -> Iterator[tuple[str, FieldDescriptor]]:
    for field in message.fields:
        path = f"{before}.{field.name}" if before else field.name
        yield path, field
        is_own = (
            field.message_type is not None
            and field.message_type.file.package == message.file.package
        )
        if is_own and not _is_map(field):
            yield from _fields(field.message_type, path)


def _is_map(field: FieldDescriptor) -> bool:
    kind = field.message_type
    return kind is not None and (kind.full_name == _STRUCT or kind.GetOptions().map_entry)


def text() -> str:
    """The file's text."""
    return json.dumps(page_fields(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
