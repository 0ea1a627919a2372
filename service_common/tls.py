"""Server certificates that are reloaded when their files change, for new connections."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

import grpc
import structlog

from mentorgrad.errors import InvalidInput
from mentorgrad.wire.credentials import read_authorities, read_pair

log = structlog.get_logger(__name__)

Stamp = tuple[tuple[int, int, int], ...]
"""Identifies the state of files; it changes when a file changes."""


def stamp(paths: Iterable[Path | None]) -> Stamp | None:
    """The current state of some files; None if one of them does not exist."""
    try:
        found = [path.stat() for path in paths if path is not None]
    except OSError:
        return None
    return tuple((state.st_mtime_ns, state.st_size, state.st_ino) for state in found)


class ServerCertificates:
    """The certificate of a server, and the CAs of its clients.

    gRPC requests them before every handshake, from its own thread. While certificate and key do not
    match, because only one of them has been replaced so far, the last valid pair is used.

    Args:
        certificate: PEM file of the certificate and its chain.
        key: PEM file of its key.
        client_ca: PEM file of CA certificates; if given, every client needs a certificate issued by
            one of them.

    Raises:
        InvalidInput: A file cannot be read or is invalid, or the key does not match.
    """

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None = None) -> None:
        self._certificate = certificate
        self._key = key
        self._client_ca = client_ca
        self._lock = threading.Lock()
        self._stamp = self._now()
        self._refused: Stamp | None = ()
        self._first = self._read()

    def credentials(self) -> grpc.ServerCredentials:
        """Credentials for a server's port."""
        return grpc.dynamic_ssl_server_credentials(
            self._first,
            self._renewed,  # type: ignore[arg-type]  # None is documented, and means: as before
            require_client_authentication=self._client_ca is not None,
        )

    def _renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """The files' content if it is new and valid; None: keep the current certificates."""
        with self._lock:
            now = self._now()
            if now == self._stamp:
                return None
            try:
                read = self._read()
            except InvalidInput as error:
                # Not remembered as read: the same files may become readable later.
                if now != self._refused:
                    self._refused = now
                    log.warning("certificates_kept", reason=error.message)
                return None
            if self._now() != now:  # replaced while being read: checked again at the next handshake
                return None
            self._stamp = now
        log.info("certificates_renewed", certificate=str(self._certificate))
        return read

    def _now(self) -> Stamp | None:
        return stamp((self._certificate, self._key, self._client_ca))

    def _read(self) -> grpc.ServerCertificateConfiguration:
        pair = read_pair(self._certificate, self._key, "tls_certificate", "tls_key")
        clients = (
            read_authorities(self._client_ca, "tls_client_ca")
            if self._client_ca is not None
            else None
        )
        return grpc.ssl_server_certificate_configuration([pair], clients)
