"""The public keys of an identity provider, by which its tokens are verified.

A thread of its own reads them at the start and every minute, and nothing else does: no call waits
for the provider, and no token makes a service ask it.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import httpx
import jwt
import structlog

from mentorgrad.errors import InvalidInput, MentorgradError, Unavailable
from mentorgrad.outside_text import without_secrets
from mentorgrad.wire.addresses import is_loopback
from service_common.http_proxy import proxy_for
from service_common.settings import Algorithm

log = structlog.get_logger(__name__)

_ALGORITHMS: Mapping[str, frozenset[str]] = {
    "RSA": frozenset(name for name in get_args(Algorithm) if name[:2] in ("RS", "PS")),
    "P-256": frozenset({"ES256"}),
    "P-384": frozenset({"ES384"}),
    "P-521": frozenset({"ES512"}),
    "Ed25519": frozenset({"EdDSA"}),
}
"""Key type, or curve of a key → what it can verify."""

_AGAIN = 60.0
"""Interval at which the keys are read, seconds."""

KEPT = 24 * 3600.0
"""Time for which the last keys remain valid while no others can be read, seconds."""

_FIRST = 5.0
"""Time that a start waits for the first keys, seconds."""

_READING = 10.0
"""Time limit for reading a document, seconds."""

_MAX_BYTES = 256 * 1024
"""Maximum size of a document."""

_MAX_KEYS = 100

_DISCOVERY = "/.well-known/openid-configuration"

Fetch = Callable[[str], bytes]
"""Reads the document of a URL. Raises `Unavailable`."""


@dataclass(frozen=True)
class PublicKey:
    """A public key."""

    key_id: str | None
    """What tokens call it (``kid``); None: it has no name."""
    algorithms: frozenset[str]
    """Names of the algorithms that it may verify signatures of."""
    public: Any
    """The key, as package `cryptography` has it."""


def parse(document: bytes) -> tuple[PublicKey, ...]:
    """The keys of a JWK set (RFC 7517). Those that verify no signatures, or of unknown types, are
    left out.

    Raises:
        InvalidInput: It is not a JWK set, has too many keys, or a private one.
    """
    try:
        entries = json.loads(document)["keys"]
        found = [_key(entry) for entry in entries[: _MAX_KEYS + 1]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InvalidInput("this is not a JWK set") from None
    if len(found) > _MAX_KEYS:
        raise InvalidInput(f"the JWK set has more than {_MAX_KEYS} keys")
    return tuple(key for key in found if key is not None)


def _key(entry: Mapping[str, Any]) -> PublicKey | None:
    if "d" in entry and entry["kty"] != "oct":
        raise InvalidInput("the JWK set has a private key; give only public ones")
    can_verify = "verify" in entry.get("key_ops", ["verify"])
    if entry.get("use", "sig") != "sig" or not can_verify:
        return None
    kind = "RSA" if entry["kty"] == "RSA" else str(entry.get("crv"))
    algorithms = _ALGORITHMS.get(kind, frozenset())
    if "alg" in entry:
        algorithms &= {entry["alg"]}
    if not algorithms:
        return None
    key_id = entry.get("kid")
    try:
        public = jwt.PyJWK(dict(entry)).key
    except jwt.PyJWTError:
        return None
    return PublicKey(key_id, algorithms, public) if isinstance(key_id, str | None) else None


def of_file(path: Path) -> bytes:
    """The JWK set of a file.

    Raises:
        InvalidInput: It cannot be read, or is too large.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > _MAX_BYTES:
        raise InvalidInput(f"{path} has more than {_MAX_BYTES} bytes")
    return content


def discovered(issuer: str, fetch: Fetch) -> bytes:
    """The JWK set that an issuer names (OpenID Connect Discovery 1.0).

    Raises:
        Unavailable: A document cannot be read, or is not the issuer's.
    """
    try:
        document = json.loads(fetch(issuer.rstrip("/") + _DISCOVERY))
        named, url = document["issuer"], document["jwks_uri"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Unavailable(f"{issuer}{_DISCOVERY} does not name an issuer and its keys") from None
    if named != issuer or not isinstance(url, str) or not is_protected(url):
        raise Unavailable(f"{issuer}{_DISCOVERY} is of another issuer, or names no https URL")
    return fetch(url)


def is_protected(url: str) -> bool:
    """Whether nobody on the way can change what a URL returns: https, or http to loopback."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    near = parsed.scheme == "http" and is_loopback(f"{parsed.host}:0")
    return bool(parsed.host) and (parsed.scheme == "https" or near)


def fetched(url: str) -> bytes:
    """The document of a URL; follows no redirects, since these could lead anywhere.

    Raises:
        Unavailable: There is none, or it is too large, or takes too long.
    """
    until = time.monotonic() + _READING
    body = bytearray()
    try:
        with (
            httpx.Client(
                timeout=_READING,
                proxy=proxy_for(httpx.URL(url)),
                trust_env=False,  # `proxy_for` reads the proxies
                verify=httpx.create_ssl_context(),
            ) as client,
            client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as response,
        ):
            if response.status_code != 200:
                raise Unavailable(f"{url} answers with status {response.status_code}")
            for piece in response.iter_raw():
                body += piece
                if len(body) > _MAX_BYTES or time.monotonic() > until:
                    raise Unavailable(f"{url} sends too much, or too slowly")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unavailable(f"{url} cannot be read ({type(error).__name__})") from None
    return bytes(body)


class IdentityKeys:
    """The present keys of a provider.

    Args:
        read: Reads the JWK set. Raises `MentorgradError`.
        clock: Seconds since any moment.
    """

    def __init__(
        self, read: Callable[[], bytes], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._clock = clock
        self._document = b""
        self._present: tuple[tuple[PublicKey, ...], float] | None = None
        self._said = ""

    def current(self) -> tuple[PublicKey, ...]:
        """The keys; the same object until they change.

        Raises:
            Unavailable: There have been none yet, or none for too long (IDENTITY_KEYS_MISSING).
        """
        present = self._present
        if present is None or self._clock() - present[1] > KEPT:
            raise Unavailable(
                "the keys of the identity provider are not available; try again in a minute",
                reason="IDENTITY_KEYS_MISSING",
            )
        return present[0]

    def refresh(self) -> None:
        """Reads the keys.

        Raises:
            MentorgradError: They cannot be read; the present ones remain.
        """
        document = self._read()
        if self._present is not None and document == self._document:
            self._present = (self._present[0], self._clock())
            return
        keys = parse(document)
        self._present, self._document = (keys, self._clock()), document
        log.info("identity_keys_read", keys=len(keys))

    def start(self) -> None:
        """Starts reading the keys in the background, and waits a little for the first ones. The
        thread ends with the process."""
        tried = threading.Event()
        threading.Thread(target=self._follow, args=(tried,), daemon=True).start()
        tried.wait(_FIRST)

    def _follow(self, tried: threading.Event) -> None:
        while True:
            self.attempt()
            tried.set()
            time.sleep(_AGAIN)

    def attempt(self) -> None:
        """Reads the keys; logs if that fails, once for each reason."""
        try:
            self.refresh()
        except MentorgradError as error:
            said = error.message
        except Exception as error:  # the thread has to go on
            said = repr(error)
        else:
            said = ""
        if said and said != self._said:
            has_others = self._present is not None
            log.error("identity_keys_not_read", reason=without_secrets(said), has_others=has_others)
        self._said = said
