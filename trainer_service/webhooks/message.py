"""What is sent: a body that says what became of a run, and headers by which it can be verified.

The headers are those of Standard Webhooks (https://www.standardwebhooks.com), for which many
languages have libraries.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Sequence
from pathlib import Path

from mentorgrad.errors import InvalidInput
from run_store.outbox import Delivery

_PREFIX = "whsec_"
_FEWEST, _MOST = 24, 4096
"""Length of a secret, bytes."""


def body_of(delivery: Delivery, link: str) -> bytes:
    """The body of a message, as JSON. It has no prompts and no data.

    Args:
        delivery: What became of which run.
        link: Address of a run for people, with ``{run_id}``; empty: none.
    """
    data = {
        "event_id": delivery.event_id,
        "run_id": delivery.run_id,
        "sequence": delivery.seq,
        "state": delivery.state.value,
        "name": delivery.name,
        "owner": delivery.owner,
        "best_selection_loss": delivery.best_selection_loss,
    }
    if link:
        data["link"] = link.replace("{run_id}", delivery.run_id)
    said = {
        "type": f"run.{delivery.state.value}",
        "timestamp": delivery.time.isoformat().replace("+00:00", "Z"),
        "data": data,
    }
    return json.dumps(said, separators=(",", ":")).encode()


def headers_of(event_id: str, body: bytes, secrets: Sequence[bytes], now: int) -> dict[str, str]:
    """The headers of a message.

    ``webhook-signature`` has one signature per secret: HMAC-SHA256 over id, time and body.

    Args:
        event_id: Names what happened.
        body: The body.
        secrets: The secrets; none: it is not signed.
        now: Present time, seconds since 1970.
    """
    headers = {
        "content-type": "application/json",
        "webhook-id": event_id,
        "webhook-timestamp": str(now),
    }
    if secrets:
        signed = f"{event_id}.{now}.".encode() + body
        digests = (hmac.digest(secret, signed, hashlib.sha256) for secret in secrets)
        headers["webhook-signature"] = " ".join(
            f"v1,{base64.b64encode(digest).decode()}" for digest in digests
        )
    return headers


def secrets_of(file: Path) -> tuple[bytes, ...]:
    """The secrets of a file, one per line: more than one while a secret is being replaced.

    ``whsec_`` and base64 is a secret in the form of Standard Webhooks; any other line is one as it
    stands.

    Raises:
        InvalidInput: It cannot be read, is empty, or has a secret of less than 24 bytes.
    """
    try:
        lines = file.read_bytes()[: _MOST * 2].decode().split()
        found = tuple(map(_secret, lines))
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror}") from None
    except (UnicodeError, binascii.Error):
        raise InvalidInput(f"{file} has no secrets: text, or whsec_ and base64") from None
    if not found or any(not _FEWEST <= len(secret) <= _MOST for secret in found):
        raise InvalidInput(f"{file} must have secrets of at least {_FEWEST} bytes, one per line")
    return found


def _secret(line: str) -> bytes:
    if line.startswith(_PREFIX):
        return base64.b64decode(line.removeprefix(_PREFIX), validate=True)
    return line.encode()
