"""Bearer tokens, stored as hashes in a JSON file.

A token is ``mentorgrad_ID_SECRET``: a public ID, used to list and revoke it, and 256 random bits.
The file holds the SHA-256 of the whole token; random bits need no slower hash. Only the owner can
read the file. It is replaced atomically, so a concurrent reader sees the old or the new version.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from mentorgrad.errors import InvalidInput, NotFound, PermissionDenied, Unauthenticated
from mentorgrad.files import replacing
from mentorgrad.serialization import from_dict, to_dict

MAX_NAME = 100
MAX_OWNER_BYTES = 1_000
"""Maximum bytes of an owner that a token file does not name."""
PREFIX = "mentorgrad_"
"""Start of each token; no other kind of token begins with it."""
_TOKEN = re.compile(rf"{PREFIX}([0-9a-f]{{8}})_[A-Za-z0-9_-]{{43}}", re.ASCII)


class Scope(StrEnum):
    """Permissions of a token; each scope includes those before it, but for `SERVICE`."""

    PREDICT = "predict"
    """Predict with a tuned classifier."""
    READ = "read"
    """Read history, events and service information."""
    RUN = "run"
    """Create and control runs, and ask mentors."""
    ADMIN = "admin"
    """Delete runs; see and change the runs of every owner."""
    SERVICE = "service"
    """Ask a mentor on behalf of the owners of runs, as a trainer service does, and nothing else."""

    def includes(self, other: Scope) -> bool:
        """Whether this scope includes the other one."""
        if Scope.SERVICE in (self, other):
            return self is other
        order = tuple(Scope)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True)
class TokenRecord:
    """A token's entry in the file, or what a token of an identity provider says."""

    token_id: str
    """Public ID; of a provider's token the first digits of its SHA-256."""
    name: str
    """Whom or what it is for."""
    scopes: tuple[Scope, ...]
    """Its scopes."""
    sha256: str
    """SHA-256 of the token, in hexadecimal."""
    created: datetime
    """Creation time, UTC."""
    expires: datetime | None = None
    """Expiry time, UTC; None: it does not expire."""
    revoked: datetime | None = None
    """Time of revocation, UTC; None: not revoked."""
    owner: str = ""
    """Whose runs it creates and sees; several tokens may have the same owner."""
    project: str = ""
    """Whose runs it sees, too; empty: none."""
    queue_limit: int | None = None
    """Maximum queued runs of the owner; None: the service's."""
    experiment_limit: int | None = None
    """Maximum running experiments of the owner; None: the service's."""
    session_limit: int | None = None
    """Maximum open sessions of the owner with a mentor; None: the service's."""
    call_rate: float | None = None
    """Maximum calls per second of the owner; None: the service's."""
    run_limit: int | None = None
    """Maximum runs that the owner keeps; None: the service's."""
    size_limit_mib: int | None = None
    """Maximum size of the owner's ended runs, in MiB; None: the service's."""

    def check(self, now: datetime) -> None:
        """Checks that the token is valid at this time.

        Raises:
            Unauthenticated: It is not valid (TOKEN_REVOKED, TOKEN_EXPIRED).
        """
        if self.revoked is not None:
            raise Unauthenticated(f"the token {self.token_id} was revoked", reason="TOKEN_REVOKED")
        if self.expires is not None and now >= self.expires:
            raise Unauthenticated(f"the token {self.token_id} has expired", reason="TOKEN_EXPIRED")

    def require(self, scope: Scope, what: str) -> None:
        """Checks that the token has a scope.

        Raises:
            PermissionDenied: It does not have the scope (SCOPE_MISSING).
        """
        if not any(own.includes(scope) for own in self.scopes):
            raise PermissionDenied(
                f"{what} needs the scope {scope}; the token {self.token_id} has "
                f"{', '.join(self.scopes) or 'none'}",
                reason="SCOPE_MISSING",
                metadata={"scope": scope.value},
            )


class AcceptedTokens(Protocol):
    """Knows which tokens are valid. Asked at each call, and every second of a long one."""

    def authenticate(self, token: str) -> TokenRecord:
        """The record of a valid token.

        Raises:
            Unauthenticated: It is not valid.
            Unavailable: That cannot be found out at present.
        """
        ...


def find(records: Sequence[TokenRecord], token: str) -> TokenRecord:
    """The record of a token, valid or not.

    Raises:
        Unauthenticated: There is none (TOKEN_UNKNOWN).
    """
    digest = _sha256(token)
    match = _TOKEN.fullmatch(token)
    for record in records:
        is_meant = match is not None and record.token_id == match[1]
        if is_meant and hmac.compare_digest(record.sha256, digest):
            return record
    raise Unauthenticated("unknown token", reason="TOKEN_UNKNOWN")


# -- the file -------------------------------------------------------------------------------------


def load(path: Path) -> tuple[TokenRecord, ...]:
    """All tokens of a file, in order of creation.

    Raises:
        InvalidInput: The file cannot be read or is not a token file: names the entry's field that
            is unknown or invalid. What is not understood may be a limit of the token, and writing
            the file again would lose it.
    """
    try:
        document = json.loads(path.read_bytes())
        entries = document.pop("tokens")
        for name in document:
            raise InvalidInput.field(name, "is not known here; known: tokens")
        records = tuple(_record(entry, f"tokens[{i}]") for i, entry in enumerate(entries))
        _check_once(records)
        return records
    except OSError as error:
        raise InvalidInput.field("tokens", f"{path} cannot be read: {error.strerror}") from None
    except InvalidInput as error:
        raise InvalidInput.field("tokens", f"{path} is not a token file: {error.message}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InvalidInput.field(
            "tokens", f"{path} is not a token file; create one with `mentorgrad tokens create`"
        ) from None


def create(
    path: Path,
    name: str,
    scopes: Sequence[Scope],
    lasts: timedelta | None = None,
    *,
    owner: str = "",
    project: str = "",
    queue_limit: int | None = None,
    experiment_limit: int | None = None,
    session_limit: int | None = None,
    call_rate: float | None = None,
    run_limit: int | None = None,
    size_limit_mib: int | None = None,
) -> tuple[TokenRecord, str]:
    """Creates a token and adds it to the file; creates the file if it does not exist.

    Args:
        path: The token file.
        name: Whom or what the token is for.
        scopes: Scopes of the token.
        lasts: Time until it expires; None: it does not expire.
        owner: Whose runs it creates and sees; empty: those of its name.
        project: Whose runs it sees, too; empty: none.
        queue_limit: See `TokenRecord`; so are the others.
        experiment_limit: See `TokenRecord`.
        session_limit: See `TokenRecord`.
        call_rate: See `TokenRecord`.
        run_limit: See `TokenRecord`.
        size_limit_mib: See `TokenRecord`.

    Returns:
        Its record, and the token itself, which cannot be recovered later.

    Raises:
        InvalidInput: A name or the scopes are invalid, or the file is not a token file.
    """
    owner = owner or name
    for field, text in (("name", name), ("owner", owner), ("project", project or "none")):
        if not text.strip() or not text.isprintable() or len(text) > MAX_NAME:
            raise InvalidInput.field(field, f"must be 1 to {MAX_NAME} printable characters")
    if not scopes:
        raise InvalidInput.field("scope", "a token needs at least one scope")
    now = datetime.now(UTC)
    with _changing(path) as records:
        _check_distinct(records, owner, project)
        taken = {record.token_id for record in records}
        token_id = next(i for i in iter(lambda: secrets.token_hex(4), None) if i not in taken)
        token = f"{PREFIX}{token_id}_{secrets.token_urlsafe(32)}"
        ordered = tuple(scope for scope in Scope if scope in scopes)
        expires = now + lasts if lasts is not None else None
        record = TokenRecord(
            *(token_id, name, ordered, _sha256(token), now, expires),
            owner=owner,
            project=project,
            queue_limit=queue_limit,
            experiment_limit=experiment_limit,
            session_limit=session_limit,
            call_rate=call_rate,
            run_limit=run_limit,
            size_limit_mib=size_limit_mib,
        )
        records.append(record)
    return record, token


def _check_distinct(records: Sequence[TokenRecord], owner: str, project: str) -> None:
    """Refuses a name for both an owner and a project: it would not say whose runs are meant."""
    if project and project in {owner, *(record.owner for record in records)}:
        raise InvalidInput.field("project", f"{project!r} is the name of an owner")
    if owner in {record.project for record in records}:
        raise InvalidInput.field("owner", f"{owner!r} is the name of a project")


def revoke(path: Path, token_id: str) -> TokenRecord:
    """Revokes a token; revoking it again changes nothing.

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
    """Yields the records, to be changed in place, while holding a lock on the file."""
    import fcntl  # not available on all systems, and not needed for reading

    path = Path(os.path.realpath(path))  # the lock is that of all who change the file
    folder = path.parent
    if not folder.is_dir():
        raise InvalidInput.field("tokens", f"directory {folder} does not exist")
    if not os.access(folder, os.W_OK | os.X_OK):
        said = f"{path} cannot be written: no write permission in the folder {folder}"
        raise InvalidInput.field("tokens", said)
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        records = list(load(path)) if must_exist or path.exists() else []
        yield records
        _write(path, records)
    finally:
        os.close(lock)


def _check_once(records: Sequence[TokenRecord]) -> None:
    """Refuses a token with two entries: revoking one of them would leave the other."""
    seen: set[str] = set()
    for index, record in enumerate(records):
        if record.token_id in seen:
            said = f"{record.token_id!r} has an entry already"
            raise InvalidInput.field(f"tokens[{index}].id", said)
        seen.add(record.token_id)


def _write(path: Path, records: Sequence[TokenRecord]) -> None:
    document = json.dumps({"tokens": [_entry(record) for record in records]}, indent=2)
    there = path.stat() if path.exists() else None
    write_private(path, document.encode() + b"\n", like=there)


def write_private(
    path: Path, content: bytes, mode: int = 0o600, like: os.stat_result | None = None
) -> None:
    """Writes a file atomically (temporary file, rename); only its owner can read it by default.

    Args:
        path: The file.
        content: What is written.
        mode: Its permissions.
        like: A file whose owner, group and permissions it gets instead, so that a service that
            could read that one can read it, too; owner and group only if this user may give it
            away.
    """
    with replacing(path) as file:
        if like is not None:
            mode = stat.S_IMODE(like.st_mode)
            with contextlib.suppress(PermissionError):
                os.fchown(file.fileno(), like.st_uid, like.st_gid)
        is_file = stat.S_ISREG(os.fstat(file.fileno()).st_mode)  # not a pipe or a device
        if is_file:
            os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        if is_file:
            os.fsync(file.fileno())


def _entry(record: TokenRecord) -> dict[str, Any]:
    fields = to_dict(record)
    return {"id": fields.pop("token_id"), **fields}


def _record(entry: dict[str, Any], path: str) -> TokenRecord:
    fields = dict(entry)
    fields["token_id"] = fields.pop("id")
    fields["owner"] = fields.get("owner") or fields["name"]  # earlier versions name no owners
    record = from_dict(TokenRecord, fields, path)
    if not record.scopes:
        raise InvalidInput.field(f"{path}.scopes", "must contain at least one scope")
    return record


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
