"""Bearer tokens, kept as a JSON file of which nothing secret can be read back.

A token is ``mentorgrad_ID_SECRET``: a public id, by which it is listed and revoked, and 256 random
bits. The file holds the SHA-256 of the whole; random bits need no slower hash. It is for its owner
alone, and replaced as a whole, so a service that reads it while it changes sees the old or the new.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from mentorgrad.errors import InvalidInput, NotFound, PermissionDenied, Unauthenticated

MAX_NAME = 100
_TOKEN = re.compile(r"mentorgrad_([0-9a-f]{8})_[A-Za-z0-9_-]{43}", re.ASCII)


class Scope(StrEnum):
    """What a token may do; each includes those before it."""

    READ = "read"
    """Look: history, events, information."""
    RUN = "run"
    """Create and steer runs, and ask mentors."""
    ADMIN = "admin"
    """Destroy."""

    def includes(self, other: Scope) -> bool:
        """Whether who has this may do what needs the other."""
        order = tuple(Scope)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True)
class TokenRecord:
    """What the file holds of a token."""

    token_id: str
    """Public id."""
    name: str
    """Whom or what it is for."""
    scopes: tuple[Scope, ...]
    """What it may do."""
    sha256: str
    """Of the token, in hexadecimal."""
    created: datetime
    """When, in UTC."""
    expires: datetime | None = None
    """From when on it no longer counts; None: it counts until it is revoked."""
    revoked: datetime | None = None
    """When it was revoked."""

    def check(self, now: datetime) -> None:
        """Whether it counts at this moment.

        Raises:
            Unauthenticated: It does not (TOKEN_REVOKED, TOKEN_EXPIRED).
        """
        if self.revoked is not None:
            raise Unauthenticated(f"the token {self.token_id} was revoked", reason="TOKEN_REVOKED")
        if self.expires is not None and now >= self.expires:
            raise Unauthenticated(f"the token {self.token_id} has expired", reason="TOKEN_EXPIRED")

    def require(self, scope: Scope, what: str) -> None:
        """Whether it may do something.

        Raises:
            PermissionDenied: It may not (SCOPE_MISSING).
        """
        if not any(own.includes(scope) for own in self.scopes):
            raise PermissionDenied(
                f"{what} needs the scope {scope}; the token {self.token_id} has "
                f"{', '.join(self.scopes)}",
                reason="SCOPE_MISSING",
                metadata={"scope": scope.value},
            )


def find(records: Sequence[TokenRecord], token: str) -> TokenRecord:
    """The record of a token, whether it still counts or not.

    Raises:
        Unauthenticated: There is none (TOKEN_UNKNOWN).
    """
    digest = _sha256(token)
    match = _TOKEN.fullmatch(token)
    for record in records:
        is_meant = match is not None and record.token_id == match[1]
        if is_meant and hmac.compare_digest(record.sha256, digest):
            return record
    raise Unauthenticated("the token is not one of this service's", reason="TOKEN_UNKNOWN")


# -- the file -------------------------------------------------------------------------------------


def load(path: Path) -> tuple[TokenRecord, ...]:
    """All tokens of a file, in the order in which they were made.

    Raises:
        InvalidInput: It cannot be read or is no such file.
    """
    try:
        document = json.loads(path.read_bytes())
        return tuple(_record(entry) for entry in document["tokens"])
    except OSError as error:
        raise InvalidInput.field("tokens", f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InvalidInput.field(
            "tokens", f"{path} is no file of tokens; `mentorgrad tokens create` makes one"
        ) from None


def create(
    path: Path, name: str, scopes: Sequence[Scope], lasts: timedelta | None = None
) -> tuple[TokenRecord, str]:
    """Makes a token and adds it to the file, which is made if there is none.

    Args:
        path: The file.
        name: Whom or what it is for.
        scopes: What it may do.
        lasts: For how long; None: until it is revoked.

    Returns:
        Its record, and the token itself, which nobody can find out again.

    Raises:
        InvalidInput: A name or scopes that cannot be, or a file that is none.
    """
    if not name.strip() or not name.isprintable() or len(name) > MAX_NAME:
        raise InvalidInput.field("name", f"must be 1 to {MAX_NAME} printable characters")
    if not scopes:
        raise InvalidInput.field("scope", "a token needs at least one scope")
    now = datetime.now(UTC)
    with _changing(path) as records:
        taken = {record.token_id for record in records}
        token_id = next(i for i in iter(lambda: secrets.token_hex(4), None) if i not in taken)
        token = f"mentorgrad_{token_id}_{secrets.token_urlsafe(32)}"
        ordered = tuple(scope for scope in Scope if scope in scopes)
        expires = now + lasts if lasts is not None else None
        record = TokenRecord(token_id, name, ordered, _sha256(token), now, expires)
        records.append(record)
    return record, token


def revoke(path: Path, token_id: str) -> TokenRecord:
    """Has a token count no more; a second time is a no-op.

    Raises:
        NotFound: There is no such token.
        InvalidInput: The file cannot be read.
    """
    with _changing(path, must_exist=True) as records:
        for index, record in enumerate(records):
            if record.token_id == token_id:
                records[index] = replace(record, revoked=record.revoked or datetime.now(UTC))
                return records[index]
    raise NotFound(f"there is no token {token_id} in {path}", reason="TOKEN_NOT_FOUND")


@contextlib.contextmanager
def _changing(path: Path, must_exist: bool = False) -> Iterator[list[TokenRecord]]:
    """The records, to be changed in place; nobody else changes the file meanwhile."""
    import fcntl  # which only some systems have, and who merely reads a file does not need

    folder = path.absolute().parent
    if not folder.is_dir():
        raise InvalidInput.field("tokens", f"there is no folder {folder}")
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        records = list(load(path)) if must_exist or path.exists() else []
        yield records
        _write(path, records)
    finally:
        os.close(lock)


def _write(path: Path, records: Sequence[TokenRecord]) -> None:
    document = json.dumps({"tokens": [_entry(record) for record in records]}, indent=2)
    write_private(path, document.encode() + b"\n")


def write_private(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Writes a file that only its owner may read, or as `mode` says, aside and then renamed."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _entry(record: TokenRecord) -> dict[str, Any]:
    return {
        "id": record.token_id,
        "name": record.name,
        "scopes": list(record.scopes),
        "sha256": record.sha256,
        "created": record.created.isoformat(),
        "expires": record.expires.isoformat() if record.expires else None,
        "revoked": record.revoked.isoformat() if record.revoked else None,
    }


def _record(entry: dict[str, Any]) -> TokenRecord:
    return TokenRecord(
        token_id=str(entry["id"]),
        name=str(entry["name"]),
        scopes=tuple(Scope(scope) for scope in entry["scopes"]),
        sha256=str(entry["sha256"]),
        created=_moment(entry["created"]),
        expires=_moment(entry["expires"]) if entry.get("expires") else None,
        revoked=_moment(entry["revoked"]) if entry.get("revoked") else None,
    )


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
