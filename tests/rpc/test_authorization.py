"""Every method, streams and reflection included, is called with a token that suffices or not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from mentor_service.backends.scripted import ScriptedBackend
from mentor_service.composition import MentorServer
from mentor_service.profiles import PROFILES
from mentorgrad import AsyncClient, AsyncMentorClient, Credentials, RunEvent
from mentorgrad.domain.advice import (
    AdviseOpen,
    Constraints,
    ProposalKind,
    ProposalRequest,
    ProposeInput,
    TaskCard,
)
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import (
    MentorgradError,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unsupported,
)
from mentorgrad.v1 import history_service_pb2 as history
from mentorgrad.v1 import history_service_pb2_grpc as history_rpc
from mentorgrad.wire.advise_stream import AdviseStream
from mentorgrad.wire.channels import stream_channel, unary_channel
from mentorgrad.wire.connection import Connection
from mentorgrad.wire.error_mapping import from_rpc_error
from run_store.temporary_store import TemporaryRunStore
from service_common import tokens
from service_common.callers import current_caller
from service_common.identity_tokens import MAX_TOKEN
from service_common.security import Security
from service_common.token_file import TokenFile
from service_common.tokens import Scope
from tests.support.identity_provider import Provider, claims, signed
from tests.support.served_runs import Worker, finished_run, queue_run, served

NAMES = ("none", "unknown", "expired", "revoked", *Scope)
REFUSED = {
    "none": "TOKEN_MISSING",
    "unknown": "TOKEN_UNKNOWN",
    "expired": "TOKEN_EXPIRED",
    "revoked": "TOKEN_REVOKED",
}
OPENED = AdviseOpen(
    session_id="s",
    card=TaskCard("function", "Minimise a function."),
    constraints=Constraints(kind=ProposalKind.NUMBERS, dimensions=2, lower=-1.0, upper=1.0),
)


@dataclass
class Guarded:
    """A service with tokens of all kinds."""

    address: str
    file: Path
    proofs: dict[str, Credentials]
    ids: dict[str, str]
    store: TemporaryRunStore
    finished: str
    running: str

    def client(self, name: str, **options: Any) -> AsyncClient:
        return AsyncClient(self.address, credentials=self.proofs[name], **options)


def made_tokens(file: Path) -> tuple[dict[str, Credentials], dict[str, str]]:
    proofs, ids = {"none": Credentials()}, {}
    for name in NAMES[1:]:
        scope = Scope(name) if name in set(Scope) else Scope.ADMIN
        lasts = timedelta(days=-1) if name == "expired" else None
        record, token = tokens.create(file, name, [scope], lasts)
        proofs[name], ids[name] = Credentials(token=token), record.token_id
    tokens.revoke(file, ids["revoked"])
    _, stranger = tokens.create(file.with_name("other.json"), "stranger", [Scope.ADMIN])
    proofs["unknown"] = Credentials(token=stranger)
    return proofs, ids


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    file = tmp_path / "tokens.json"
    proofs, ids = made_tokens(file)
    store = TemporaryRunStore()
    finished, running = finished_run(store), queue_run(store)
    Worker(store, running)
    async with served(store, security=Security(tokens=TokenFile(file))) as (server, address):
        server.grpc.add_generic_rpc_handlers((_Forgotten(),))
        yield Guarded(address, file, proofs, ids, store, finished, running)
    store.close()


class _Forgotten(grpc.GenericRpcHandler):
    """Methods that the table does not have."""

    def service(self, handler_call_details: Any) -> Any:
        async def answer(request: bytes, context: Any) -> bytes:
            return b"done"

        async def whose(request: bytes, context: Any) -> bytes:
            return current_caller().owner.encode()

        added = {
            "/mentorgrad.v1.NewService/Anything": answer,
            "/mentorgrad.v1.MentorService/Whose": whose,
        }
        if (serve := added.get(handler_call_details.method)) is None:
            return None
        return grpc.unary_unary_rpc_method_handler(serve)


async def looks(guarded: Guarded, name: str) -> None:
    async with guarded.client(name) as client:
        await client.get_run(guarded.finished)


async def streams(guarded: Guarded, name: str) -> None:
    async with guarded.client(name) as client:
        assert [event async for event in client.events(guarded.finished)]


async def downloads(guarded: Guarded, name: str) -> None:
    async with guarded.client(name) as client:
        assert await client.read_artifact(guarded.finished, "prompt.safetensors")


async def creates(guarded: Guarded, name: str) -> None:
    async with guarded.client(name) as client:
        await client.create_run(RunSpec(name="toy"))


async def imports(guarded: Guarded, name: str) -> None:
    """A client stream, which needs threads of its own to hear why it was refused."""
    other = TemporaryRunStore()
    events = list(other.events(finished_run(other)))
    other.close()
    async with guarded.client(name) as client:
        await client.import_run(events)


async def deletes(guarded: Guarded, name: str) -> None:
    async with guarded.client(name) as client:
        await client.delete_run(guarded.finished)


async def reflects(guarded: Guarded, name: str) -> None:
    async with stream_channel(guarded.address, guarded.proofs[name]) as channel:
        asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        assert [answer async for answer in stub.ServerReflectionInfo(asked, timeout=120)]


async def calls_what_is_new(guarded: Guarded, name: str) -> None:
    async with unary_channel(guarded.address, guarded.proofs[name]) as channel:
        method = channel.unary_unary("/mentorgrad.v1.NewService/Anything")
        assert await method(b"", timeout=120) == b"done"


Attempt = Callable[[Guarded, str], Any]


async def refusal(attempt: Attempt, guarded: Guarded, name: str) -> MentorgradError:
    try:
        await attempt(guarded, name)
    except grpc.RpcError as error:
        return from_rpc_error(error)
    except MentorgradError as error:
        return error
    raise AssertionError(f"{name} was let in")


@pytest.mark.parametrize(
    ("attempt", "scope"),
    [
        (looks, Scope.READ),
        (streams, Scope.READ),
        (downloads, Scope.READ),
        (reflects, Scope.READ),
        (creates, Scope.RUN),
        (imports, Scope.RUN),
        (deletes, Scope.ADMIN),
        (calls_what_is_new, Scope.ADMIN),
    ],
)
async def test_a_call_takes_a_token_that_counts_and_suffices(
    guarded: Guarded, attempt: Attempt, scope: Scope
) -> None:
    for name, reason in REFUSED.items():
        error = await refusal(attempt, guarded, name)
        assert (type(error), error.reason) == (Unauthenticated, reason)
    for name in Scope:
        if name.includes(scope):
            await attempt(guarded, name)
            return
        error = await refusal(attempt, guarded, name)
        assert (type(error), error.reason) == (PermissionDenied, "SCOPE_MISSING")
        assert error.metadata == {"scope": scope}


async def test_a_refusal_comes_before_the_request_is_read(guarded: Guarded) -> None:
    async with unary_channel(guarded.address) as channel:
        method = channel.unary_unary("/mentorgrad.v1.HistoryService/GetRun")
        with pytest.raises(grpc.RpcError) as caught:
            await method(b"\xff no message", timeout=120)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_health_answers_everybody(guarded: Guarded) -> None:
    async with unary_channel(guarded.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=120)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        call = stub.Watch(health_pb2.HealthCheckRequest(), timeout=120)
        assert (await call.read()).status == health_pb2.HealthCheckResponse.SERVING
        call.cancel()


async def test_what_is_not_there_is_not_there_for_anybody(guarded: Guarded) -> None:
    async with unary_channel(guarded.address, guarded.proofs["admin"]) as channel:
        method = channel.unary_unary("/mentorgrad.v1.HistoryService/Nothing")
        with pytest.raises(grpc.RpcError) as caught:
            await method(b"", timeout=120)
    assert isinstance(from_rpc_error(caught.value), Unsupported)


async def test_a_broken_or_doubled_header_is_no_token(guarded: Guarded) -> None:
    token = guarded.proofs["admin"].token
    good = ("authorization", f"bearer {token}")
    async with unary_channel(guarded.address) as channel:
        get = history_rpc.HistoryServiceStub(channel).GetRun
        request = history.GetRunRequest(run_id=guarded.finished)
        await get(request, metadata=(good,), timeout=120)
        for wrong in (
            (("authorization", token),),
            (("authorization", f"Basic {token}"),),
            (("authorization", "Bearer "),),
            (good, good),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                await get(request, metadata=wrong, timeout=120)
            assert from_rpc_error(caught.value).reason == "TOKEN_MISSING"


async def rest(events: AsyncIterator[RunEvent]) -> None:
    async with asyncio.timeout(120):
        async for _ in events:
            pass


async def test_a_stream_ends_when_its_token_is_revoked(guarded: Guarded) -> None:
    async with (
        guarded.client("read", resume_for=60) as client,
        aclosing(client.watch(guarded.running)) as events,
    ):
        await anext(events)
        tokens.revoke(guarded.file, guarded.ids["read"])
        with pytest.raises(Unauthenticated) as caught:
            await rest(events)
    assert caught.value.reason == "TOKEN_REVOKED"


async def test_a_stream_ends_with_the_token_of_an_identity_provider() -> None:
    provider, store = Provider(), TemporaryRunStore()
    running = queue_run(store)
    Worker(store, running)
    token = signed(claims(more="x" * 5_800))  # nearly as long as it may be
    assert MAX_TOKEN * 0.95 < len(token) <= MAX_TOKEN
    async with (
        served(store, security=Security(tokens=provider.tokens)) as (_, address),
        AsyncClient(address, credentials=Credentials(token=token), resume_for=60) as client,
        aclosing(client.watch(running)) as events,
    ):
        await anext(events)
        provider.now += timedelta(minutes=6)
        with pytest.raises(Unauthenticated) as caught:
            await rest(events)
    assert caught.value.reason == "TOKEN_EXPIRED"
    store.close()


async def test_a_token_is_renewed_beside_a_client(guarded: Guarded, tmp_path: Path) -> None:
    file = tmp_path / "mine"
    file.write_text(guarded.proofs["read"].token)
    async with AsyncClient(guarded.address, credentials=Credentials(token_file=file)) as client:
        await client.get_run(guarded.finished)
        tokens.revoke(guarded.file, guarded.ids["read"])
        with pytest.raises(Unauthenticated):
            await client.get_run(guarded.finished)
        file.write_text(guarded.proofs["run"].token)
        await client.get_run(guarded.finished)
        with pytest.raises(NotFound):
            await client.cancel_run("no-such-run")


async def test_a_mentor_asks_for_tokens_too(tmp_path: Path) -> None:
    file = tmp_path / "tokens.json"
    proofs, ids = made_tokens(file)
    backend = ScriptedBackend(lambda question: "1. 0.1 0.2\n")
    server = MentorServer(backend, PROFILES["small"], security=Security(tokens=TokenFile(file)))
    address = await server.start()
    try:
        async with AsyncMentorClient(address, credentials=proofs["read"]) as mentor:
            assert (await mentor.info()).model == "scripted"
            question = ProposeInput(OPENED, request=ProposalRequest(request_id="r", count=1))
            with pytest.raises(PermissionDenied):
                await mentor.propose(question)
        async with AsyncMentorClient(address, credentials=proofs["run"]) as mentor:
            assert (await mentor.propose(question)).proposals
        await _advises(address, proofs["run"], lambda: tokens.revoke(file, ids["run"]))
        await _is_refused_a_session(address, proofs["read"], PermissionDenied)
        await _is_refused_a_session(address, proofs["none"], Unauthenticated)
    finally:
        await server.stop(0.1)


async def test_a_service_asks_a_mentor_on_behalf_of_owners(guarded: Guarded) -> None:
    async def owner(name: str, on_behalf_of: str) -> str:
        proof = replace(guarded.proofs[name], on_behalf_of=on_behalf_of)
        async with unary_channel(guarded.address, proof) as channel:
            method = channel.unary_unary("/mentorgrad.v1.MentorService/Whose")
            return (await method(b"", timeout=120)).decode()

    assert await owner(Scope.SERVICE, "Zoë") == "Zoë"
    assert await owner(Scope.SERVICE, "") == "service"
    assert await owner(Scope.ADMIN, "Zoë") == "admin"
    for wrong in ("a\nb", "o" * 1001):
        with pytest.raises(grpc.RpcError) as caught:
            await owner(Scope.SERVICE, wrong)
        assert "1000 bytes of printable UTF-8" in from_rpc_error(caught.value).message


async def test_a_service_may_only_ask_mentors(guarded: Guarded) -> None:
    for attempt in (looks, creates, reflects):
        error = await refusal(attempt, guarded, Scope.SERVICE)
        assert (type(error), error.reason) == (PermissionDenied, "SCOPE_MISSING")


async def _advises(address: str, proof: Credentials, revoke: Callable[[], object]) -> None:
    """A session opens, and ends for good when its token is revoked."""
    link = AdviseStream(lambda: Connection(address, proof), OPENED)
    await link.start()
    await link.settled()
    assert link.accepted is not None
    revoke()
    async with asyncio.timeout(120):
        while link.outbox.refusal is None:
            await asyncio.sleep(0.05)
    assert link.outbox.refusal.reason == "TOKEN_REVOKED"
    await link.close()


async def _is_refused_a_session(
    address: str, proof: Credentials, kind: type[MentorgradError]
) -> None:
    link = AdviseStream(lambda: Connection(address, proof), OPENED)
    await link.start()
    with pytest.raises(kind):
        await link.settled()
    await link.close()
