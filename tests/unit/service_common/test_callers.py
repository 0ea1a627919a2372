from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from service_common import callers, tokens
from service_common.callers import LOCAL, Caller
from service_common.tokens import Scope


class Connection:
    """What grpc says about the connection of a call."""

    def __init__(self, **known: Sequence[bytes]) -> None:
        self._known = known

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        return self._known


@pytest.mark.parametrize(
    ("known", "caller"),
    [
        ({}, LOCAL),
        # TLS without a client certificate.
        ({"transport_security_type": [b"ssl"]}, LOCAL),
        ({"x509_pem_cert": [b"-"], "x509_subject": [b"CN=alice"]}, Caller("CN=alice")),
        (
            {
                "x509_pem_cert": [b"-"],
                "x509_subject": [b""],
                "x509_subject_alternative_name": [b"spiffe://lan/alice", b"other"],
            },
            Caller("spiffe://lan/alice"),
        ),
        # Never an administrator, nor an owner without a name, whose runs all see.
        ({"x509_pem_cert": [b"-"], "x509_subject": [b""]}, Caller("a certificate without names")),
    ],
)
def test_a_connection_is_its_certificates(known: Any, caller: Caller) -> None:
    assert callers.of_connection(cast(Any, Connection(**known))) == caller


def test_a_service_calls_on_behalf_of_owners(tmp_path: Path) -> None:
    def of(scope: Scope, on_behalf_of: str = "") -> Caller:
        record, _ = tokens.create(tmp_path / "tokens.json", "gpu1", [scope])
        return callers.of_token(record, on_behalf_of)

    assert of(Scope.SERVICE, "alice") == Caller("alice", is_relayed=True)
    assert of(Scope.SERVICE) == Caller("gpu1", is_service=True)
    # Nobody else is believed.
    assert of(Scope.RUN, "alice") == Caller("gpu1")
    assert of(Scope.ADMIN, "alice") == Caller("gpu1", is_admin=True)


def test_nobody_calls_outside_of_a_call() -> None:
    with pytest.raises(LookupError):
        callers.current_caller()
