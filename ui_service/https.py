"""TLS of the page; a renewed certificate takes effect without a restart."""

from __future__ import annotations

import ssl
from pathlib import Path

import structlog

from mentorgrad.errors import InvalidInput
from mentorgrad.wire.credentials import read_authorities, read_pair
from service_common.tls import stamp

log = structlog.get_logger(__name__)


class HttpsCertificates:
    """Makes the TLS context of a listener. It looks at the files before each handshake.

    While certificate and key do not match, because only one of them has been replaced so far, the
    last valid pair is used.

    Args:
        certificate: PEM file of the certificate and its chain.
        key: PEM file of its key.
        client_ca: PEM file of CA certificates; if given, every browser needs a certificate issued
            by one of them.

    Raises:
        InvalidInput: A file cannot be read or is invalid, or the key does not match.
    """

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None = None) -> None:
        self._files = (certificate, key, client_ca)
        self._stamp = stamp(self._files)
        self._context = self._read()
        self.context = self._read()
        """The listener's context; each connection gets the newest one."""
        self.context.sni_callback = self._renew

    def _renew(self, connection: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
        now = stamp(self._files)
        if now != self._stamp:
            self._stamp = now
            try:
                self._context = self._read()
                log.info("certificates_renewed", certificate=str(self._files[0]))
            except InvalidInput as error:
                log.warning("certificates_kept", reason=error.message)
        connection.context = self._context

    def _read(self) -> ssl.SSLContext:
        certificate, key, client_ca = self._files
        read_pair(certificate, key, "tls_certificate", "tls_key")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(certificate, key)
        if client_ca is not None:
            read_authorities(client_ca, "tls_client_ca")
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(client_ca)
        return context
