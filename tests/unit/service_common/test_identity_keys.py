"""The keys of an identity provider: which are taken, how long they are kept, who is asked."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from mentorgrad.errors import InvalidInput, MentorgradError, Unavailable
from service_common import identity_keys
from service_common.identity_keys import (
    KEPT,
    IdentityKeys,
    discovered,
    fetched,
    is_protected,
    of_file,
    parse,
)
from tests.support.identity_provider import ISSUER, key_set, public_jwk

SECRET = {"kty": "oct", "kid": "s", "k": "c2VjcmV0", "alg": "HS256"}


@pytest.mark.parametrize(
    ("entry", "algorithms"),
    [
        (public_jwk(), {"ES256"}),
        (public_jwk(use=None, kid=None), {"ES256"}),
        (public_jwk("rsa", alg="PS256"), {"PS256"}),
        (
            public_jwk("rsa", key_ops=["verify"]),
            {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"},
        ),
    ],
)
def test_a_key_verifies_what_its_type_and_its_entry_allow(
    entry: dict[str, Any], algorithms: set[str]
) -> None:
    (key,) = parse(key_set(entry))
    assert (key.algorithms, key.key_id) == (algorithms, entry.get("kid"))


def test_keys_for_other_purposes_are_left_out() -> None:
    others = [
        SECRET,
        public_jwk(use="enc"),
        public_jwk(key_ops=["sign"]),
        public_jwk(alg="ES384"),
        public_jwk(alg="RSA-OAEP"),
        public_jwk(alg="none"),
        public_jwk(crv="secp256k1"),
        public_jwk(x="AA"),
        public_jwk(kid=7),
        {"kty": "new"},
        {"kty": {}, "crv": []},
    ]
    assert [key.key_id for key in parse(key_set(*others, public_jwk(), SECRET))] == ["ec"]
    assert parse(key_set()) == ()


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (b"", "not a JWK set"),
        (b"\xff", "not a JWK set"),
        (b"[]", "not a JWK set"),
        (b'{"keys": 3}', "not a JWK set"),
        (b'{"keys": ["a"]}', "not a JWK set"),
        (b'{"keys": [{"kid": "no type"}]}', "not a JWK set"),
        (b'{"keys": [{"kty": "RSA", "alg": []}]}', "not a JWK set"),
        (b"[" * 50_000, "not a JWK set"),
        (key_set(*[SECRET] * 101), "more than 100 keys"),
        (key_set(public_jwk(d="AA")), "private key"),
    ],
)
def test_what_is_no_set_of_public_keys_is_refused(document: bytes, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        parse(document)


def test_a_file_is_read_up_to_a_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "keys.json"
    file.write_bytes(key_set(public_jwk()))
    assert parse(of_file(file))
    monkeypatch.setattr(identity_keys, "_MAX_BYTES", 10)
    with pytest.raises(InvalidInput, match="more than 10 bytes"):
        of_file(file)
    with pytest.raises(InvalidInput, match="cannot be read"):
        of_file(tmp_path)


class Source:
    """A provider that a test switches off, and a clock."""

    def __init__(self) -> None:
        self.answer: bytes | Exception = key_set(public_jwk())
        self.now = 0.0

    def read(self) -> bytes:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_keys_stay_valid_for_a_day_while_the_provider_is_away() -> None:
    source = Source()
    keys = IdentityKeys(source.read, lambda: source.now)
    with pytest.raises(Unavailable) as caught:
        keys.current()
    assert caught.value.reason == "IDENTITY_KEYS_MISSING"
    keys.attempt()
    first = keys.current()
    source.now = KEPT
    keys.attempt()
    assert keys.current() is first
    for away in (Unavailable("away"), b"<html>", ZeroDivisionError()):
        source.answer = away  # type: ignore[assignment]
        keys.attempt()
        assert keys.current() is first
    source.now += KEPT + 1
    with pytest.raises(Unavailable):
        keys.current()
    source.answer = key_set(public_jwk("other"))
    keys.attempt()
    assert [key.key_id for key in keys.current()] == ["other"]


def test_a_failure_is_logged_once() -> None:
    source = Source()
    source.answer = Unavailable("away")
    keys = IdentityKeys(source.read, lambda: source.now)
    with capture_logs() as logged:
        for answer in (Unavailable("away"),) * 2 + (key_set(),) * 2 + (Unavailable("away"),) * 2:
            source.answer = answer  # type: ignore[assignment]
            keys.attempt()
    said = [(line["event"], line.get("has_others")) for line in logged]
    failed = "identity_keys_not_read"
    assert said == [(failed, False), ("identity_keys_read", None), (failed, True)]


def test_a_start_waits_for_the_first_keys() -> None:
    keys = IdentityKeys(Source().read)
    keys.start()
    assert keys.current()


def test_an_issuer_names_its_keys() -> None:
    url, asked = "https://keys.example.org/set", []
    documents = {
        f"{ISSUER}/.well-known/openid-configuration": {"issuer": ISSUER, "jwks_uri": url},
        url: {"keys": []},
    }

    def fetch(url: str) -> bytes:
        asked.append(url)
        return json.dumps(documents[url]).encode()

    assert discovered(ISSUER, fetch) == key_set()
    assert asked == list(documents)
    first = asked[0]
    for wrong in (
        {"issuer": ISSUER + "/", "jwks_uri": url},
        {"issuer": ISSUER, "jwks_uri": "http://keys.example.org/set"},
        {"issuer": ISSUER, "jwks_uri": ["https://keys.example.org/set"]},
        {"issuer": ISSUER},
        [],
    ):
        documents[first] = wrong  # type: ignore[assignment]
        with pytest.raises(Unavailable):
            discovered(ISSUER, fetch)
    assert asked[2:] == [first] * 5


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://example.org/keys", True),
        ("http://127.0.0.1:8080/keys", True),
        ("http://[::1]/keys", True),
        ("http://localhost/keys", True),
        ("http://example.org/keys", False),
        ("http://127.0.0.1.example.org/keys", False),
        ("http://127.0.0.1@example.org/keys", False),
        ("ftp://127.0.0.1/keys", False),
        ("file:///etc/passwd", False),
        ("https://", False),
        ("https://example.org:port/", False),
        ("", False),
    ],
)
def test_only_what_nobody_on_the_way_can_change_is_read(url: str, expected: bool) -> None:
    assert is_protected(url) is expected


class Pages(BaseHTTPRequestHandler):
    """A set of keys, a redirect, and too much."""

    def do_GET(self) -> None:
        self.send_response({"/keys": 200, "/moved": 302, "/endless": 200}.get(self.path, 404))
        self.send_header("Location", "/keys")
        self.end_headers()
        body = b"x" * 300_000 if self.path == "/endless" else key_set(public_jwk())
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def pages() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.slow
def test_a_document_is_read_as_it_is_or_not_at_all(pages: str) -> None:
    assert parse(fetched(f"{pages}/keys"))
    for wrong, said in (
        (f"{pages}/moved", "status 302"),
        (f"{pages}/none", "status 404"),
        (f"{pages}/endless", "too much"),
        ("http://127.0.0.1:1/", "ConnectError"),
        ("http://", "cannot be read"),
    ):
        with pytest.raises(MentorgradError, match=said):
            fetched(wrong)
