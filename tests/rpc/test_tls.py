"""TLS and mutual TLS on real sockets: who is refused, in which words, and renewal while serving."""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from mentorgrad import AsyncClient, Credentials, Unavailable, Untrusted
from mentorgrad.domain.advice import AdviseOpen
from mentorgrad.domain.spec import RunSpec
from mentorgrad.wire.advise_stream import AdviseStream
from mentorgrad.wire.channels import upload_channel
from mentorgrad.wire.connection import Connection
from run_store.temporary_store import TemporaryRunStore
from service_common import certificates
from service_common.places import Holder, Places
from service_common.security import Security
from service_common.tls import ServerCertificates
from tests.support.served_runs import Worker, finished_run, queue_run, served


class Authority:
    """A folder of certificates."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made = certificates.make(folder, (), 1)

    @property
    def client(self) -> Credentials:
        return Credentials(self.made.ca, self.made.client, self.made.client_key)

    def renewed(self, days: int = 1) -> certificates.Made:
        """Certificates of the same authority, in a folder of their own."""
        folder = self.folder / f"renewed{len(list(self.folder.iterdir()))}"
        shutil.copytree(self.folder, folder, ignore=shutil.ignore_patterns("renewed*"))
        return certificates.make(folder, (), days)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("theirs"))


class Secured:
    """A service whose certificates lie in files that a test may replace."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        self.certificate, self.key = folder / "server.pem", folder / "server.key"
        self.clients = folder / "clients.pem"
        self.install(authority.made)
        shutil.copy(authority.made.ca, self.clients)
        self.security = Security(ServerCertificates(self.certificate, self.key, self.clients))
        self.address = ""
        self.finished = ""
        self.running = ""
        self.places = Places()

    def install(self, made: certificates.Made) -> None:
        shutil.copy(made.server, self.certificate)
        shutil.copy(made.server_key, self.key)

    async def ask(self, credentials: Credentials, address: str = "") -> None:
        async with AsyncClient(address or self.address, credentials=credentials) as client:
            # By a stream: unary calls are tried again for a while.
            assert [event async for event in client.events(self.finished)]


@pytest.fixture
async def secured(tmp_path: Path, ours: Authority) -> AsyncIterator[Secured]:
    store = TemporaryRunStore()
    service = Secured(tmp_path, ours)
    service.finished, service.running = finished_run(store), queue_run(store)
    Worker(store, service.running)
    async with served(store, "127.0.0.1:0", service.security) as (server, service.address):
        service.places = server.admission.places
        yield service
    store.close()


async def test_both_sides_prove_themselves(secured: Secured, ours: Authority) -> None:
    await secured.ask(ours.client)
    await secured.ask(ours.client, secured.address.replace("127.0.0.1", "localhost"))


async def test_what_a_client_makes_belongs_to_the_subject_of_its_certificate(
    secured: Secured, ours: Authority
) -> None:
    async with AsyncClient(secured.address, credentials=ours.client) as client:
        run = (await client.create_run(RunSpec(name="toy"))).run
        assert "mentorgrad client" in run.owner
        assert (await client.get_run(run.run_id)).owner == run.owner


async def test_the_subject_of_a_certificate_has_the_places(
    secured: Secured, ours: Authority
) -> None:
    async with (
        AsyncClient(secured.address, credentials=ours.client) as client,
        aclosing(client.watch(secured.running)) as events,
    ):
        await anext(events)
        holders = {holder for _, holder in secured.places._taken if isinstance(holder, Holder)}
    assert holders == {Holder("CN=mentorgrad client")}


async def test_a_client_that_is_not_of_the_authority_is_told_what_it_may_be(
    secured: Secured, ours: Authority, theirs: Authority
) -> None:
    expired = ours.renewed(days=-1)
    for credentials in (
        Credentials(),
        Credentials(ca=ours.made.ca),
        Credentials(ours.made.ca, theirs.made.client, theirs.made.client_key),
        Credentials(ours.made.ca, expired.client, expired.client_key),
        # A server's certificate is no client's.
        Credentials(ours.made.ca, ours.made.server, ours.made.server_key),
    ):
        with pytest.raises(Unavailable, match=r"closes every connection.* client certificate"):
            await secured.ask(credentials)


async def test_a_session_without_tls_is_told_the_same(secured: Secured) -> None:
    link = AdviseStream(lambda: Connection(secured.address, Credentials()), AdviseOpen())
    unasked = link.outbox._trouble
    await link.start()
    async with asyncio.timeout(120):
        while link.outbox._trouble == unasked:
            await asyncio.sleep(0.05)
    assert link.outbox._trouble.startswith("it closes every connection immediately")
    await link.close()


async def test_a_service_of_another_authority_is_not_trusted_in_any_kind_of_call(
    secured: Secured, ours: Authority, theirs: Authority
) -> None:
    misled = Credentials(theirs.made.ca, ours.made.client, ours.made.client_key)
    words = f"{secured.address}: the TLS handshake failed: .*not from a trusted CA"
    async with AsyncClient(secured.address, credentials=misled, resume_for=600) as client:
        with pytest.raises(Untrusted, match=words):
            await client.get_run(secured.finished)
        with pytest.raises(Untrusted, match=words):
            await anext(client.events(secured.finished))
        with pytest.raises(Untrusted, match=words):
            await client.import_run([])
        async with aclosing(client.watch(secured.running)) as events:
            with pytest.raises(Untrusted, match=words):  # at once: waiting changes nothing
                async with asyncio.timeout(120):
                    await anext(events)


async def test_a_certificate_for_other_hosts_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "LOCAL", ())
    made = certificates.make(tmp_path, ("elsewhere.example.org",), 1)
    security = Security(ServerCertificates(made.server, made.server_key))
    store = TemporaryRunStore()
    proof = Credentials(ca=made.ca)
    async with (
        served(store, security=security) as (_, address),
        AsyncClient(address, credentials=proof) as client,
    ):
        with pytest.raises(Untrusted, match="other host names"):
            await client.list_runs()
    store.close()


async def test_a_service_without_tls_is_not_trusted(ours: Authority) -> None:
    store = TemporaryRunStore()
    async with (
        served(store) as (_, address),
        AsyncClient(address, credentials=ours.client) as client,
    ):
        with pytest.raises(Untrusted, match="does not speak TLS"):
            await client.list_runs()
    store.close()


async def test_certificates_are_renewed_while_serving(secured: Secured, ours: Authority) -> None:
    async with AsyncClient(secured.address, credentials=ours.client) as before:
        await before.get_run(secured.finished)
        secured.install(ours.renewed(days=-1))
        with pytest.raises(Untrusted, match="certificate has expired"):
            await secured.ask(ours.client)
        await before.get_run(secured.finished)  # a connection outlives its certificate
        renewed = ours.renewed()
        secured.install(renewed)
        await secured.ask(ours.client)
    assert await shown(secured.address, ours) == renewed.server.read_text()


async def test_half_of_a_renewal_changes_nothing(secured: Secured, ours: Authority) -> None:
    before, renewed = await shown(secured.address, ours), ours.renewed()
    shutil.copy(renewed.server, secured.certificate)
    with capture_logs() as logged:
        assert await shown(secured.address, ours) == before
        assert await shown(secured.address, ours) == before
    assert [line["event"] for line in logged] == ["certificates_kept"]
    assert "is not the key of" in logged[0]["reason"]
    os.truncate(secured.certificate, 100)
    assert await shown(secured.address, ours) == before
    secured.certificate.unlink()
    assert await shown(secured.address, ours) == before
    secured.install(renewed)
    assert await shown(secured.address, ours) == renewed.server.read_text()


async def test_a_key_that_may_be_read_only_later_is_used_then(
    secured: Secured, ours: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rights are no part of what a change of the files is told by."""
    before, renewed = await shown(secured.address, ours), ours.renewed()
    secured.install(renewed)
    read = Path.read_bytes

    def not_the_key(path: Path) -> bytes:
        if path == secured.key:
            raise PermissionError(13, "Permission denied")
        return read(path)

    with monkeypatch.context() as patch, capture_logs() as logged:
        patch.setattr(Path, "read_bytes", not_the_key)
        assert await shown(secured.address, ours) == before
        assert await shown(secured.address, ours) == before
    assert [line["event"] for line in logged] == ["certificates_kept"]
    assert await shown(secured.address, ours) == renewed.server.read_text()


async def test_the_authority_of_the_clients_is_renewed_too(
    secured: Secured, ours: Authority, theirs: Authority
) -> None:
    newcomer = Credentials(ours.made.ca, theirs.made.client, theirs.made.client_key)
    secured.clients.write_bytes(ours.made.ca.read_bytes() + theirs.made.ca.read_bytes())
    await secured.ask(newcomer)
    await secured.ask(ours.client)
    shutil.copy(theirs.made.ca, secured.clients)
    await secured.ask(newcomer)
    with pytest.raises(Unavailable):
        await secured.ask(ours.client)


async def test_an_upload_channel_is_as_secure(secured: Secured, ours: Authority) -> None:
    with upload_channel(secured.address, ours.client) as channel:
        method = channel.unary_unary("/grpc.health.v1.Health/Check")
        assert await asyncio.to_thread(method, b"", timeout=120) == b"\x08\x01"


async def shown(address: str, authority: Authority) -> str:
    """The certificate that a service proves itself with."""
    context = ssl.create_default_context(cafile=authority.made.ca)
    context.load_cert_chain(authority.made.client, authority.made.client_key)
    context.set_alpn_protocols(["h2"])
    host, _, port = address.rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return ssl.DER_cert_to_PEM_cert(found)
