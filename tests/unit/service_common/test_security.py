"""What a service needs before it listens where others reach it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from mentorgrad.errors import InvalidInput
from service_common import certificates, tokens
from service_common.security import protect
from service_common.settings import ListenerSettings
from trainer_service.composition import check_mentors
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
        ("", "TLS .* and tokens or a client CA"),
        ("tokens", "TLS"),
        ("tls", "tokens or a client CA"),
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


@pytest.mark.parametrize("address", ["", "localhost", "127.0.0.1:", "127.0.0.1:x", "h:99999"])
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
