"""Page tokens: opaque to the caller; encode the end of the last page and a digest of its query."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any

from mentorgrad.errors import InvalidInput

_MAX_TOKEN = 2_000
Key = int | float | str | bool


def digest(*parts: Any) -> str:
    """Short digest of a query, given as JSON-serializable values without the page size."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def encode(position: Sequence[Key], query: str) -> str:
    """The token of the page after `position` in the query with this digest."""
    text = json.dumps([query, *position], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(token: str, query: str, types: Sequence[type]) -> tuple[Any, ...] | None:
    """The position after which the page starts; None for the first page.

    Args:
        token: Token from the previous page, or empty.
        query: Digest of the query.
        types: Types of the position's parts.

    Raises:
        InvalidInput: The token is malformed or belongs to another query (reason BAD_PAGE_TOKEN).
    """
    if not token:
        return None
    parts = _parse(token)
    if not parts or not isinstance(parts[0], str):
        raise _bad("was not issued by this service")
    if parts[0] != query:
        raise _bad("belongs to another query; start again from the first page")
    if len(parts) != len(types) + 1 or not all(
        _fits(part, kind) for part, kind in zip(parts[1:], types, strict=True)
    ):
        raise _bad("was not issued by this service")
    return tuple(parts[1:])


def _parse(token: str) -> list[Any] | None:
    if len(token) > _MAX_TOKEN:
        return None
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        parts = json.loads(raw)
    except (binascii.Error, ValueError, RecursionError):
        return None
    return parts if isinstance(parts, list) else None


def _fits(part: Any, kind: type) -> bool:
    """Whether a part of a token, which the caller may have forged, is safe in a query."""
    if type(part) is not kind:
        return False
    if isinstance(part, float):
        return math.isfinite(part)
    if isinstance(part, int):
        return -(2**63) <= part < 2**63
    return str(part).isprintable()


def _bad(description: str) -> InvalidInput:
    return InvalidInput.field("page_token", description, reason="BAD_PAGE_TOKEN")
