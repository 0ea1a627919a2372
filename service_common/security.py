"""How a service is protected, by its settings, and which addresses that suffices for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog

from mentorgrad.errors import InvalidInput
from mentorgrad.wire.credentials import is_loopback
from service_common.tls import ServerCertificates
from service_common.token_file import TokenFile

log = structlog.get_logger(__name__)


class Listener(Protocol):
    """The settings that matter here; see `service_common.settings.ListenerSettings`."""

    listen: str
    tls_certificate: Path | None
    tls_key: Path | None
    tls_client_ca: Path | None
    tokens: Path | None
    insecure: bool


@dataclass(frozen=True)
class Security:
    """What protects a server. Nothing of it: plaintext, for whoever can reach the address."""

    certificates: ServerCertificates | None = None
    """For TLS."""
    tokens: TokenFile | None = None
    """Without one of these, nobody is let in; None: everybody is who connects."""


def protect(settings: Listener) -> Security:
    """Reads what the settings name, and refuses to be reached unprotected.

    Raises:
        InvalidInput: A setting or a file is wrong, or the address needs more.
    """
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is None or key is None:
        if certificate is not None or key is not None:
            raise InvalidInput.field("tls_key", "a certificate and its key are given together")
        if settings.tls_client_ca is not None:
            raise InvalidInput.field("tls_client_ca", "needs tls_certificate and tls_key too")
        certificates = None
    else:
        certificates = ServerCertificates(certificate, key, settings.tls_client_ca)
    tokens = TokenFile(settings.tokens) if settings.tokens is not None else None
    missing = []
    if certificates is None:
        missing.append("TLS (tls_certificate, tls_key)")
    if tokens is None and settings.tls_client_ca is None:
        missing.append("tokens or a client authority (tls_client_ca)")
    check_listen(settings.listen, settings.insecure, missing)
    return Security(certificates, tokens)


def check_listen(address: str, insecure: bool, missing: list[str]) -> None:
    """Refuses an address that others can reach, unless it is protected or told otherwise.

    Args:
        address: ``HOST:PORT``.
        insecure: Told otherwise.
        missing: What it would take and is not there.

    Raises:
        InvalidInput: The address is malformed, or others can reach it and something is missing.
    """
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdigit() or int(port) > 65535:
        raise InvalidInput.field("listen", f"must be HOST:PORT, not {address!r}")
    if not missing or is_loopback(address):
        return
    if not insecure:
        raise InvalidInput.field(
            "listen",
            f"{host} can be reached by others, which takes {' and '.join(missing)}; set that, "
            "listen on 127.0.0.1, or pass --insecure if the network is trusted",
        )
    log.warning("listening_insecurely", address=address, missing=missing)
