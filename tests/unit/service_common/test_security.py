"""What a service needs before it listens where others reach it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from mentorgrad.errors import InvalidInput, Unauthenticated
from service_common import certificates, tokens
from service_common.security import protect
from service_common.settings import ListenerSettings, load
from service_common.tokens import Scope
from tests.support.identity_provider import AUDIENCE, ISSUER, claims, key_set, public_jwk, signed
from trainer_service.agent.jobs import check_mentors
from trainer_service.settings import TrainerSettings

ABROAD = "0.0.0.0:50551"


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("given")
    made = certificates.make(folder, (), 1)
    tokens.create(folder / "tokens.json", "alice", [tokens.Scope.READ])
    _, token = tokens.create(folder / "tokens.json", "trainer", [tokens.Scope.RUN])
    (folder / "token").write_text(token)
    return {
        "tls_certificate": made.server,
        "tls_key": made.server_key,
        "tls_client_ca": made.ca,
        "tokens": folder / "tokens.json",
        "ca": made.ca,
        "client": made.client,
        "client_key": made.client_key,
        "token": folder / "token",
    }


def some(given: dict[str, Path], names: str) -> dict[str, Any]:
    whole = {"tls": ["tls_certificate", "tls_key"], "client": ["tls_client_ca"]}
    keys = [key for name in names.split() for key in whole.get(name, [name])]
    return {key: given[key] for key in keys}


@pytest.mark.parametrize("address", ["127.0.0.1:0", "localhost:50551", "[::1]:50551"])
def test_this_machine_needs_nothing(address: str) -> None:
    security = protect(ListenerSettings(listen=address))
    assert (security.certificates, security.tokens) == (None, None)


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        ("", "TLS .* and tokens, a client CA"),
        ("tokens", "TLS"),
        ("tls", "tokens, a client CA"),
        ("tls tokens", ""),
        ("tls client", ""),
        ("tls client tokens", ""),
    ],
)
@pytest.mark.parametrize("address", [ABROAD, "[::]:1", "example.org:50551"])
def test_others_are_let_in_by_tls_and_a_proof_or_where_it_is_said_and_logged(
    given: dict[str, Path], names: str, missing: str, address: str
) -> None:
    settings = some(given, names)
    if missing:
        with pytest.raises(InvalidInput, match=f"{missing}.*--insecure"):
            protect(ListenerSettings(listen=address, **settings))
    with capture_logs() as logged:
        security = protect(ListenerSettings(listen=address, insecure=bool(missing), **settings))
    assert (security.certificates is not None) == ("tls" in names)
    assert (security.tokens is not None) == ("tokens" in names)
    assert [line["event"] for line in logged] == ["listening_insecurely"] * bool(missing)


@pytest.fixture
def provided(tmp_path: Path) -> dict[str, Any]:
    """Settings for the tokens of an identity provider, with its keys in a file."""
    file = tmp_path / "keys.json"
    file.write_bytes(key_set(public_jwk()))
    named = {"oidc_issuer": ISSUER, "oidc_audience": AUDIENCE, "oidc_keys": str(file)}
    return {**named, "oidc_scope": {"trainers": "run"}}


def test_tokens_of_an_identity_provider_let_in_beside_those_of_the_file(
    given: dict[str, Path], provided: dict[str, Any]
) -> None:
    now = int(datetime.now(UTC).timestamp())
    foreign = signed(claims(iat=now, exp=now + 600))
    own = given["token"].read_text()
    for extra, accepted in (({}, {foreign}), (some(given, "tokens"), {foreign, own})):
        settings = {**some(given, "tls"), **provided, **extra}
        security = protect(ListenerSettings(listen=ABROAD, **settings))
        assert security.tokens is not None
        for token in (foreign, own):
            if token in accepted:
                assert security.tokens.authenticate(token).scopes == (Scope.RUN,)
            else:
                with pytest.raises(Unauthenticated):
                    security.tokens.authenticate(token)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"oidc_issuer": ""}, "oidc_issuer"),
        ({"oidc_issuer": "http://login.example.org"}, "oidc_issuer"),
        ({"oidc_issuer": "login.example.org"}, "oidc_issuer"),
        ({"oidc_audience": ""}, "oidc_audience"),
        ({"oidc_scope": {}}, "oidc_scope"),
        ({"oidc_algorithm": ()}, "oidc_algorithm"),
        ({"oidc_keys": "http://login.example.org/keys"}, "oidc_keys"),
        ({"oidc_keys": "ftp://login.example.org/keys"}, "oidc_keys"),
        ({"oidc_keys": "/no/such/file"}, "oidc_keys"),
        ({"oidc_keys": __file__}, "oidc_keys"),
    ],
)
def test_what_is_wrong_about_an_identity_provider_is_named(
    provided: dict[str, Any], changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        protect(ListenerSettings(**{**provided, **changes}))
    assert caught.value.violations[0].field == field


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ('oidc_algorithm = ["RS256", "none"]', "oidc_algorithm.1"),
        ('oidc_algorithm = ["HS256"]', "oidc_algorithm.0"),
        ('oidc_scope = {trainers = "runs"}', "oidc_scope.trainers"),
        ('oidc_scope = ["trainers"]', "oidc_scope"),
        ("oidc_clock_skew = 301", "oidc_clock_skew"),
        ('oidc_scopes = {trainers = "run"}', "oidc_scopes"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_with_its_path(
    tmp_path: Path, line: str, field: str
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(line)
    with pytest.raises(InvalidInput) as caught:
        load(ListenerSettings, file, {})
    assert [violation.field for violation in caught.value.violations] == [field]


def test_rules_are_given_by_flags_and_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    flags = {"oidc_scope": ["https://example.org/run=run", "a=read"]}
    monkeypatch.setenv("MENTORGRAD_OIDC_ALGORITHM", "ES384, EdDSA")
    settings = load(ListenerSettings, None, flags)
    assert settings.oidc_scope == {"https://example.org/run": Scope.RUN, "a": Scope.READ}
    assert settings.oidc_algorithm == ("ES384", "EdDSA")


@pytest.mark.parametrize(
    "address", ["", "localhost", "127.0.0.1:", "h:99999", "::1:0", "\ufeff[::1]:0"]
)
def test_a_malformed_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidInput, match="HOST:PORT"):
        protect(ListenerSettings(listen=address, insecure=True))


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"tls_certificate": "tls_certificate"}, "tls_key"),
        ({"tls_key": "tls_key"}, "tls_key"),
        ({"tls_client_ca": "tls_client_ca"}, "tls_client_ca"),
        ({"tls_certificate": "tls_certificate", "tls_key": "client_key"}, "tls_key"),
        ({"tls_certificate": "tokens", "tls_key": "tls_key"}, "tls_certificate"),
        ({"tokens": "ca"}, "tokens"),
    ],
)
def test_what_is_wrong_with_the_files_is_named(
    given: dict[str, Path], settings: dict[str, str], field: str
) -> None:
    paths: dict[str, Any] = {name: given[value] for name, value in settings.items()}
    with pytest.raises(InvalidInput) as caught:
        protect(ListenerSettings(**paths))
    assert caught.value.violations[0].field == field


def test_a_trainer_knows_at_once_that_it_cannot_reach_its_mentors_safely(
    given: dict[str, Path],
) -> None:
    far = {"mentor": {"big": "10.0.0.5:50552"}}
    token = {"mentor_token_file": given["token"]}
    check_mentors(TrainerSettings(**far))
    check_mentors(TrainerSettings(**far, **token, mentor_ca=given["ca"]))
    check_mentors(TrainerSettings(mentor={"near": "127.0.0.1:1"}, **token))
    with pytest.raises(InvalidInput, match="unencrypted") as caught:
        check_mentors(TrainerSettings(**far, **token))
    assert caught.value.violations[0].field == "mentor_token"
    with capture_logs() as logged:
        check_mentors(TrainerSettings(**far, **token, insecure=True))
    assert [line["event"] for line in logged] == ["token_unprotected"]
    wrong = {"mentor_ca": given["ca"], "mentor_certificate": given["client"]}
    with pytest.raises(InvalidInput) as caught:
        check_mentors(TrainerSettings(**wrong, mentor_key=given["tls_key"]))
    assert caught.value.violations[0].field == "mentor_key"
