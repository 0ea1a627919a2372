"""An identity provider: its keys, and tokens that it signs."""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from service_common.identity_keys import IdentityKeys
from service_common.identity_tokens import IdentityRules, IdentityTokens
from service_common.tokens import Scope

ISSUER = "https://login.example.org/realms/lab"
AUDIENCE = "mentorgrad"
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
RULES = IdentityRules(
    ISSUER, AUDIENCE, ("RS256", "ES256"), {"trainers": Scope.RUN, "viewers": Scope.READ}
)


@functools.cache
def private_key(name: str = "ec") -> Any:
    """A key that is made once: RSA for names that begin with ``rsa``, whose making takes long."""
    if name.startswith("rsa"):
        return rsa.generate_private_key(65537, int(name[3:] or 2048))
    return ec.generate_private_key(ec.SECP256R1())


def algorithm_of(name: str) -> str:
    return "RS256" if name.startswith("rsa") else "ES256"


def public_jwk(name: str = "ec", **changes: Any) -> dict[str, Any]:
    """The public key as an entry of a JWK set, with its name as ``kid``; None removes a field."""
    algorithm = jwt.get_algorithm_by_name(algorithm_of(name))
    entry = algorithm.to_jwk(private_key(name).public_key(), as_dict=True)
    return present({**entry, "kid": name, "use": "sig", **changes})


def key_set(*entries: Mapping[str, Any]) -> bytes:
    return json.dumps({"keys": entries}).encode()


def claims(**changes: Any) -> dict[str, Any]:
    """Claims of a valid token; None removes one."""
    valid = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "4711",
        "iat": int(NOW.timestamp()),
        "exp": int((NOW + timedelta(minutes=5)).timestamp()),
        "scope": "openid trainers",
    }
    return present({**valid, **changes})


def present(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def signed(
    said: Mapping[str, Any] | None = None, key: str = "ec", algorithm: str = "", **headers: Any
) -> str:
    """A token. Its ``kid`` is the key's name, unless that is given; None omits it."""
    payload = json.dumps(claims() if said is None else said).encode()
    named = present({"kid": key, **headers})
    return jwt.PyJWS().encode(payload, private_key(key), algorithm or algorithm_of(key), named)


def joined(*parts: Mapping[str, Any] | bytes) -> str:
    """A token of any header, claims and signature."""
    raw = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in parts]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in raw)


class Provider:
    """A provider whose keys and clock a test sets."""

    def __init__(self, rules: IdentityRules = RULES) -> None:
        self.document = key_set(public_jwk(), public_jwk("rsa"))
        self.now = NOW
        self.keys = IdentityKeys(lambda: self.document, lambda: self.now.timestamp())
        self.keys.refresh()
        self.tokens = IdentityTokens(rules, self.keys, lambda: self.now)
