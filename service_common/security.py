"""TLS and authentication of a service, and the check that its address is protected enough."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from mentorgrad.errors import InvalidInput
from mentorgrad.wire.credentials import is_loopback
from service_common.settings import ListenerSettings
from service_common.tls import ServerCertificates
from service_common.token_file import TokenFile

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Security:
    """TLS and authentication of a server. Without both: plaintext, open to any client."""

    certificates: ServerCertificates | None = None
    """Server certificates for TLS; None: plaintext."""
    tokens: TokenFile | None = None
    """The accepted tokens; None: no authentication by token."""
    owner_call_rate: float | None = None
    """Maximum calls per second of one owner; None: no limit."""


def protect(settings: ListenerSettings) -> Security:
    """Reads certificates and tokens, and rejects an address that is reachable without protection.

    Raises:
        InvalidInput: A setting or a file is invalid, or the address requires TLS or authentication.
    """
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is None or key is None:
        if certificate is not None or key is not None:
            raise InvalidInput.field("tls_key", "a certificate and its key must be given together")
        if settings.tls_client_ca is not None:
            raise InvalidInput.field("tls_client_ca", "also needs tls_certificate and tls_key")
        certificates = None
    else:
        certificates = ServerCertificates(certificate, key, settings.tls_client_ca)
    tokens = TokenFile(settings.tokens) if settings.tokens is not None else None
    missing = []
    if certificates is None:
        missing.append("TLS (tls_certificate, tls_key)")
    if tokens is None and settings.tls_client_ca is None:
        missing.append("tokens or a client CA (tls_client_ca)")
    check_listen(settings.listen, settings.insecure, missing)
    return Security(certificates, tokens, settings.owner_call_rate)


def check_listen(address: str, insecure: bool, missing: list[str]) -> None:
    """Rejects an address that other machines can reach, unless it is protected.

    Args:
        address: ``HOST:PORT``.
        insecure: Allow an unprotected address.
        missing: Protection that is required but not configured.

    Raises:
        InvalidInput: The address is malformed, or other machines can reach it unprotected.
    """
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdigit() or int(port) > 65535:
        raise InvalidInput.field("listen", f"must be HOST:PORT, not {address!r}")
    if not missing or is_loopback(address):
        return
    if not insecure:
        raise InvalidInput.field(
            "listen",
            f"{host} is reachable from other machines: set {' and '.join(missing)}, "
            "listen on 127.0.0.1, or pass --insecure if the network is trusted",
        )
    log.warning("listening_insecurely", address=address, missing=missing)
