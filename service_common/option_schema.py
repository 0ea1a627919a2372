"""Validation of a strategy's options against the JSON Schema that the strategy publishes."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema
import referencing
from referencing.exceptions import Unresolvable

from mentorgrad.errors import Violation
from mentorgrad.field_limits import within

_SENTENCES = {
    "type": "must be of type {limit}, not {value}",
    "enum": "must be one of: {limit}; not {value}",
    "minimum": "must be at least {limit}, not {value}",
    "exclusiveMinimum": "must be greater than {limit}, not {value}",
    "maximum": "must be at most {limit}, not {value}",
    "exclusiveMaximum": "must be less than {limit}, not {value}",
}
"""Keyword of the schema → sentence; other keywords have the library's."""


def option_violations(
    options: Mapping[str, Any], schema: Mapping[str, Any], path: str
) -> list[Violation]:
    """Finds the violations of a JSON Schema (2020-12).

    Args:
        options: Option name → value.
        schema: The schema. References outside it are not followed.
        path: Path of the options in the request.

    Returns:
        The violations with full paths; one of `path` itself if the schema cannot be applied.
    """
    try:
        validator = _validator(json.dumps(schema))
        errors = list(validator.iter_errors(dict(options)))
    except (jsonschema.SchemaError, Unresolvable, RecursionError, re.error) as error:
        return [Violation(path, f"have an invalid schema: {str(error).splitlines()[0][:200]}")]
    return within(path, (violation for error in errors for violation in _violations(error)))


@functools.lru_cache(64)
def _validator(document: str) -> Any:
    """The validator of a schema; checking a schema takes longer than applying it."""
    schema = json.loads(document)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema, registry=referencing.Registry())


def _violations(error: jsonschema.ValidationError) -> Iterator[Violation]:
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
    where = "".join(parts).removeprefix(".")
    schema: Any = error.schema
    value: Any = error.instance
    limit: Any = error.validator_value
    if error.validator == "additionalProperties" and "patternProperties" not in schema:
        known = schema.get("properties", {})
        said = f"is not known here; known: {', '.join(known) or 'none'}"
        yield from within(where, (Violation(name, said) for name in value if name not in known))
    elif error.validator in _SENTENCES:
        shown = ", ".join(map(str, limit)) if isinstance(limit, list) else limit
        said = _SENTENCES[error.validator].format(limit=shown, value=repr(value)[:80])
        yield Violation(where, said)
    else:
        yield Violation(where, error.message[:200])
