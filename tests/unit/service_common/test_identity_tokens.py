"""Which tokens of an identity provider are accepted, and what they permit."""

from __future__ import annotations

import functools
import hmac
from dataclasses import replace
from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from structlog.contextvars import bound_contextvars, get_contextvars

from mentorgrad.errors import PermissionDenied, Unauthenticated
from service_common import identity_tokens
from service_common.identity_tokens import MAX_TOKEN
from service_common.tokens import Scope
from tests.support.identity_provider import (
    AUDIENCE,
    ISSUER,
    NOW,
    RULES,
    Provider,
    claims,
    joined,
    key_set,
    private_key,
    public_jwk,
    signed,
)

LATER = int(NOW.timestamp()) + 31


def reason(provider: Provider, token: str) -> str:
    with pytest.raises(Unauthenticated) as caught:
        provider.tokens.authenticate(token)
    assert caught.value.message in (
        "unknown token",
        "the token is not valid yet",
    ) or caught.value.message.endswith("has expired")
    return caught.value.reason


def test_a_token_says_whose_it_is_and_what_it_permits() -> None:
    rules = replace(RULES, project_claim="team")
    record = Provider(rules).tokens.authenticate(signed(claims(team="vision", azp="web")))
    assert (record.owner, record.project) == (f"{ISSUER} 4711", "vision")
    assert record.scopes == (Scope.RUN,)
    assert (record.queue_limit, record.session_limit, record.call_rate) == (None, None, None)
    assert record.expires == NOW + timedelta(minutes=5, seconds=30)
    assert (record.created, len(record.token_id)) == (NOW, 8)


@pytest.mark.parametrize(
    "token",
    [
        signed(),
        signed(claims(aud=["other", AUDIENCE])),
        signed(claims(scope=["viewers", "trainers"])),
        signed(claims(iat=None)),
        signed(claims(iat=LATER - 1, nbf=LATER - 1)),
        signed(claims(exp=NOW.timestamp() + 0.5)),
        signed(claims(exp=LATER - 60)),
    ],
)
def test_what_a_provider_may_write_is_accepted(token: str) -> None:
    assert Scope.RUN in Provider().tokens.authenticate(token).scopes


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "other"},
        {"aud": ["other"]},
        {"aud": None},
        {"aud": {AUDIENCE: 1}},
        {"iss": ISSUER + "/"},
        {"iss": ISSUER[:-1]},
        {"iss": None},
        {"iss": [ISSUER]},
        {"exp": None},
        {"exp": "9999999999"},
        {"exp": True},
        {"exp": float("nan")},
        {"exp": 1e300},
        {"exp": -1},
        {"nbf": "soon"},
        {"iat": [0]},
        {"sub": None},
        {"sub": 4711},
        {"sub": " "},
        {"sub": "a\nb"},
        {"sub": "\ud800"},
        {"sub": "x" * 1000},
        {"scope": {"trainers": True}},
        {"scope": ["trainers", 1]},
        {"team": ["a", "b"]},
        {"team": ""},
        {"team": "x" * 101},
    ],
)
def test_claims_that_do_not_fit_are_those_of_an_unknown_token(changes: dict[str, Any]) -> None:
    provider = Provider(replace(RULES, project_claim="team"))
    assert reason(provider, signed(claims(**changes))) == "TOKEN_UNKNOWN"


def test_other_algorithms_and_keys_are_refused() -> None:
    provider = Provider()
    head, body = {"alg": "none", "typ": "JWT"}, claims()
    public = (
        private_key("rsa")
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    symmetric = joined({"alg": "HS256", "kid": "rsa"}, body)
    forged = symmetric + joined(b"", hmac.digest(public, symmetric.encode(), "sha256"))
    for wrong in (
        joined(head, body, b""),
        joined(head, body, b"x"),
        joined({**head, "alg": "None"}, body, b"x"),
        joined({**head, "alg": ["RS256"]}, body, b"x"),
        joined({**head, "alg": "RS256", "kid": 1}, body, b"x"),
        joined(b"[" * 5000, body, b"x"),
        forged,
        signed(key="rsa", algorithm="RS384"),
        signed(key="rsa", algorithm="PS256"),
        signed(kid="rsa"),
        signed(key="rsa", kid="ec"),
        signed(key="other", kid="ec"),
        signed(kid="another"),
        signed(kid="k" * 201),
        signed(key="other", jwk=public_jwk("other"), kid=None),
        signed(crit=["exp"]),
        "",
        "a.b",
        "mentorgrad_12345678_" + "x" * 43,
        signed() + "=",
        signed() + ".x",
    ):
        assert reason(provider, wrong) == "TOKEN_UNKNOWN", wrong
    for right in (signed(), signed(key="rsa")):
        assert provider.tokens.authenticate(right)


def test_a_key_of_few_bits_verifies_nothing() -> None:
    provider = Provider()
    provider.document = key_set(public_jwk("rsa1024"))
    provider.keys.refresh()
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        weak = signed(key="rsa1024")
    assert reason(provider, weak) == "TOKEN_UNKNOWN"


def test_a_token_without_kid_needs_a_single_fitting_key() -> None:
    provider = Provider()
    unnamed = signed(kid=None)
    assert provider.tokens.authenticate(unnamed)
    provider.document = key_set(public_jwk(), public_jwk("other"))
    provider.keys.refresh()
    assert reason(provider, unnamed) == "TOKEN_UNKNOWN"


def test_a_token_is_as_long_as_metadata_may_be() -> None:
    provider = Provider()
    most = MAX_TOKEN - len(signed(claims(more="")))
    fits = signed(claims(more="x" * (most * 3 // 4 - 4)))
    assert len(fits) > MAX_TOKEN - 10
    assert provider.tokens.authenticate(fits)
    assert reason(provider, signed(claims(more="x" * most))) == "TOKEN_UNKNOWN"


provider = functools.cache(Provider)
both = functools.cache(lambda: (signed(), signed(key="rsa")))


@given(position=st.integers(0, 2**20), letter=st.characters(min_codepoint=1, max_codepoint=126))
def test_a_token_must_be_right_in_every_letter(position: int, letter: str) -> None:
    for token in both():
        place = position % len(token)
        changed = token[:place] + letter + token[place + 1 :]
        if changed != token:
            assert reason(provider(), changed) == "TOKEN_UNKNOWN"


def test_time_counts_with_the_skew_of_two_clocks() -> None:
    provider = Provider()
    assert reason(provider, signed(claims(nbf=LATER))) == "TOKEN_NOT_YET_VALID"
    assert reason(provider, signed(claims(iat=LATER))) == "TOKEN_NOT_YET_VALID"
    assert reason(provider, signed(claims(exp=LATER - 61))) == "TOKEN_EXPIRED"
    token = signed()
    provider.now = NOW + timedelta(minutes=5, seconds=29)
    assert provider.tokens.authenticate(token)
    provider.now += timedelta(seconds=1)
    assert reason(provider, token) == "TOKEN_EXPIRED"


def test_a_signature_is_verified_once_as_long_as_the_keys_are_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    provider, token = Provider(), signed()
    record = provider.tokens.authenticate(token)
    with monkeypatch.context() as patch:
        patch.setattr(identity_tokens.jwt, "decode", None)
        provider.keys.refresh()
        assert provider.tokens.authenticate(token) is record
    provider.document = key_set(public_jwk("other"))
    provider.keys.refresh()
    assert reason(provider, token) == "TOKEN_UNKNOWN"


def test_only_so_many_tokens_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity_tokens, "_KNOWN", 2)
    provider = Provider()
    tokens = [signed(claims(sub=str(i))) for i in range(3)]
    first, *_ = [provider.tokens.authenticate(token) for token in tokens]
    again = provider.tokens.authenticate(tokens[0])
    assert again == first
    assert again is not first


@pytest.mark.parametrize("scope", [None, "", "openid run admin", []])
def test_a_token_without_a_scope_of_ours_may_do_nothing(scope: Any) -> None:
    record = Provider().tokens.authenticate(signed(claims(scope=scope)))
    with pytest.raises(PermissionDenied, match="has none") as caught:
        record.require(Scope.PREDICT, "Predict")
    assert caught.value.reason == "SCOPE_MISSING"


def test_another_claim_may_name_the_owner_and_the_scopes() -> None:
    rules = replace(RULES, owner_claim="preferred_username", scope_claim="groups")
    said = claims(preferred_username="zoë", groups=["viewers"])
    record = Provider(rules).tokens.authenticate(signed(said))
    assert (record.owner, record.scopes) == (f"{ISSUER} zoë", (Scope.READ,))


def test_the_log_line_of_the_call_says_why() -> None:
    with bound_contextvars():
        reason(Provider(), signed(claims(aud="other")))
        assert "udience" in get_contextvars()["token_refused"]
