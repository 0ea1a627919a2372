"""Tokens of an identity provider: JWTs (RFC 7519) that it has signed, such as the access tokens of
OpenID Connect."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from structlog.contextvars import bind_contextvars

from mentorgrad.errors import Unauthenticated
from service_common.identity_keys import IdentityKeys, PublicKey
from service_common.tokens import MAX_NAME, MAX_OWNER_BYTES, Scope, TokenRecord

MAX_TOKEN = 8 * 1024
"""Maximum characters of a token."""

_MAX_KEY_ID = 200

_LAST_SECOND = 250_000_000_000
"""A time claim beyond it is no time: it is in the year 9892."""

_KNOWN = 1_024
"""Maximum tokens whose verification is remembered."""

_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)


@dataclass(frozen=True)
class IdentityRules:
    """Which tokens of a provider are accepted, and what they permit."""

    issuer: str
    """The provider: the claim ``iss``."""
    audience: str
    """This service: the claim ``aud``, or one of its items."""
    algorithms: Sequence[str]
    """Names of the allowed signature algorithms."""
    scopes: Mapping[str, Scope]
    """Value of the scope claim → our scope; other values give none."""
    owner_claim: str = "sub"
    """Claim that names the owner among those of the issuer."""
    project_claim: str = ""
    """Claim with the project; empty: none."""
    scope_claim: str = "scope"
    """Claim with the scopes: words in a string, or a list of strings."""
    clock_skew: timedelta = timedelta(seconds=30)
    """Accepted difference between the provider's clock and this one's."""


class IdentityTokens:
    """Accepts the tokens of an identity provider. Not for several threads.

    A token's signature is verified once, as long as the keys remain the same; its time is checked
    at each call.

    Args:
        rules: What is accepted.
        keys: The provider's keys.
        now: The present time, UTC.
    """

    def __init__(
        self,
        rules: IdentityRules,
        keys: IdentityKeys,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._rules = rules
        self._keys = keys
        self._now = now
        self._known: dict[str, TokenRecord] = {}
        self._known_by: tuple[PublicKey, ...] = ()

    def authenticate(self, token: str) -> TokenRecord:
        """What a valid token says, as a record of a token of our own. Its owner is the issuer, a
        space, and the name of the subject; its limits are the service's.

        Raises:
            Unauthenticated: It is not valid (TOKEN_UNKNOWN, TOKEN_NOT_YET_VALID, TOKEN_EXPIRED).
            Unavailable: There are no keys (IDENTITY_KEYS_MISSING).
        """
        keys = self._keys.current()
        if keys is not self._known_by:
            self._known, self._known_by = {}, keys
        digest = hashlib.sha256(token.encode()).hexdigest()
        record = self._known.get(digest) or self._verified(token, digest, keys)
        record.check(self._now())
        if digest not in self._known:
            if len(self._known) >= _KNOWN:
                del self._known[next(iter(self._known))]
            self._known[digest] = record
        return record

    def _verified(self, token: str, digest: str, keys: Sequence[PublicKey]) -> TokenRecord:
        try:
            return self._record(self._claims(token, keys), digest)
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            # For the operator, in the log line of the call: the caller could be anybody.
            bind_contextvars(token_refused=str(error)[:200])
            raise Unauthenticated("unknown token", reason="TOKEN_UNKNOWN") from None

    def _claims(self, token: str, keys: Sequence[PublicKey]) -> dict[str, Any]:
        """What a token with a valid signature of the issuer says to this service."""
        if len(token) > MAX_TOKEN or not _FORM.fullmatch(token):
            raise ValueError(f"not a JWT of at most {MAX_TOKEN} characters")
        header = jwt.get_unverified_header(token)
        algorithm, key_id = str(header.get("alg")), header.get("kid")
        if algorithm not in self._rules.algorithms:
            raise ValueError("its algorithm is not allowed")
        if key_id is not None and len(key_id) > _MAX_KEY_ID:
            raise ValueError(f"its kid has more than {_MAX_KEY_ID} characters")
        fitting = [key for key in keys if algorithm in key.algorithms]
        # Without a name it is clear only if there is just one.
        meant = [key for key in fitting if key_id is None or key.key_id == key_id]
        if len(meant) != 1:
            raise ValueError(f"{len(meant)} keys have its kid and algorithm")
        return jwt.decode(
            token,
            meant[0].public,
            algorithms=[algorithm],
            audience=self._rules.audience,
            issuer=self._rules.issuer,
            options={
                "require": ["exp", "iss", "aud"],
                "enforce_minimum_key_length": True,
                # Checked below, by the clock of this object, and as numbers.
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
            },
        )

    def _record(self, claims: Mapping[str, Any], digest: str) -> TokenRecord:
        rules, now = self._rules, self._now()
        starts = [_time(claims, name) for name in ("nbf", "iat") if name in claims]
        if any(start - rules.clock_skew > now for start in starts):
            raise Unauthenticated("the token is not valid yet", reason="TOKEN_NOT_YET_VALID")
        owner = f"{rules.issuer} {_text(claims, rules.owner_claim)}"
        if len(owner.encode()) > MAX_OWNER_BYTES:
            raise ValueError(f"its owner has more than {MAX_OWNER_BYTES} bytes")
        named = rules.project_claim and rules.project_claim in claims
        project = _text(claims, rules.project_claim) if named else ""
        if len(project) > MAX_NAME:
            raise ValueError(f"its project has more than {MAX_NAME} characters")
        given = {rules.scopes.get(word) for word in _words(claims, rules.scope_claim)}
        return TokenRecord(
            digest[:8],
            owner,
            tuple(scope for scope in Scope if scope in given),
            digest,
            _time(claims, "iat") if "iat" in claims else now,
            _time(claims, "exp") + rules.clock_skew,
            owner=owner,
            project=project,
        )


def _time(claims: Mapping[str, Any], name: str) -> datetime:
    value = claims[name]
    if type(value) not in (int, float) or not 0 <= value <= _LAST_SECOND:
        raise ValueError(f"its claim {name} is not a time")
    return datetime.fromtimestamp(value, UTC)


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ValueError(f"its claim {name} is not a printable text")
    return value


def _words(claims: Mapping[str, Any], name: str) -> list[str]:
    value = claims.get(name, [])
    words = value.split() if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError(f"its claim {name} is neither a string nor a list of strings")
    return words
