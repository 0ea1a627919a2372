"""Every method answers about another owner's record exactly as about one that does not exist."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from mentorgrad import AsyncClient, Credentials
from mentorgrad.domain.audit import AuditEntry, AuditFilter
from mentorgrad.domain.experiment import Arm, ExperimentSpec, ExperimentState
from mentorgrad.domain.objective import Function
from mentorgrad.domain.spec import DataFiles, RunSpec, Task
from mentorgrad.errors import (
    AlreadyExists,
    InvalidInput,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
)
from mentorgrad.ids import new_run_id
from mentorgrad.v1.run_pb2 import RunUpdate
from mentorgrad.wire.channels import unary_channel
from run_store.temporary_store import TemporaryRunStore
from run_store.visibility import OnBehalf
from service_common import tokens
from service_common.security import Security
from service_common.token_file import TokenFile
from service_common.tokens import Scope
from tests.support.served_runs import finished_run, queue_run, served

SPEC = ExperimentSpec(
    base=RunSpec(Function()), tasks=(Task("a"),), arms=(Arm("none"), Arm("other")), seeds=(0, 1)
)
CALLERS = {
    "alice": (Scope.RUN, "", "vision"),
    "desk": (Scope.RUN, "alice", ""),
    "mate": (Scope.RUN, "", "vision"),
    "root": (Scope.ADMIN, "", ""),
    "bob": (Scope.RUN, "", ""),
}
"""Token → its scope, owner and project. Alice owns the records, and all but Bob see them."""

KEEP_RECORDS = ("trainer", "history", "experiment")
"""Services that keep records. A mentor and a predictor keep none."""

NAMES_NONE = {
    "CreateRun",
    "ImportRun",
    "UploadData",
    "GetTrainerInfo",
    "ListRuns",
    "CreateExperiment",
    "ListExperiments",
    "ListAudit",
    "ListWorkers",
}
"""Methods whose requests name no record; tests of their own follow."""

MORE: dict[str, list[dict[str, Any]]] = {
    "StreamEvents": [{}, {"follow": True}],
    "UpdateRun": [{"update": RunUpdate(note="mine", labels={"a": "b"})}, {}],
    "DownloadArtifact": [{"name": "prompt.safetensors"}],
}
"""Further fields of a method's requests."""


def methods() -> Iterator[MethodDescriptor]:
    """All methods that name a record; those that end it come last."""
    found = []
    for name in KEEP_RECORDS:
        file = importlib.import_module(f"mentorgrad.v1.{name}_service_pb2").DESCRIPTOR
        for service in file.services_by_name.values():
            found += [method for method in service.methods if method.name not in NAMES_NONE]
    yield from sorted(found, key=lambda method: method.name == "DeleteRun")


@dataclass
class Shared:
    """A service of several owners."""

    address: str
    store: TemporaryRunStore
    tokens: TokenFile
    proofs: dict[str, Credentials]
    run: str
    experiment: str

    def client(self, name: str) -> AsyncClient:
        return AsyncClient(self.address, credentials=self.proofs[name])

    def theirs(self, field: str) -> str:
        return self.experiment if field == "experiment_id" else self.run


@pytest.fixture
async def shared(tmp_path: Path) -> AsyncIterator[Shared]:
    file = tmp_path / "tokens.json"
    proofs = {}
    for name, (scope, owner, project) in CALLERS.items():
        limit = 2 if name == "desk" else None
        names = {"owner": owner, "project": project}
        _, token = tokens.create(file, name, [scope], **names, queue_limit=limit)
        proofs[name] = Credentials(token=token)
    store = TemporaryRunStore()
    alice = store.seen_by(OnBehalf("alice", "vision"))
    experiment = alice.create_experiment(SPEC)[0].experiment_id
    store.set_experiment_state(experiment, ExperimentState.FINISHED)
    run = finished_run(alice)
    accepted = TokenFile(file)
    async with served(store, security=Security(tokens=accepted)) as (_, address):
        yield Shared(address, store, accepted, proofs, run, experiment)
    store.close()


Outcome = tuple[str, str, bytes]


async def outcome(
    channel: grpc.aio.Channel, method: MethodDescriptor, request: Any, token: str, record: str
) -> Outcome:
    """Status, message and details of a call, without the name of the record."""
    call_of = channel.unary_stream if method.server_streaming else channel.unary_unary
    call: Any = call_of(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=GetMessageClass(method.input_type).SerializeToString,
    )(request, metadata=(("authorization", f"Bearer {token}"),), timeout=60)
    try:
        if method.server_streaming:
            assert [response async for response in call]
        else:
            await call
    except grpc.aio.AioRpcError as error:
        details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
        assert isinstance(details, bytes)
        name = record.encode()
        return (
            error.code().name,
            (error.details() or "").replace(record, ""),
            details.replace(name, b""),
        )
    return "OK", "", b""


def requests(method: MethodDescriptor, shared: Shared) -> Iterator[tuple[Any, Any, str, str]]:
    """Requests that name Alice's record and none, with these names."""
    fields = {"run_id", "run_ids", "experiment_id"} & set(method.input_type.fields_by_name)
    assert len(fields) == 1, f"{method.full_name} names no record: list and test it by itself"
    (field,) = fields
    for more in MORE.get(method.name, [{}]):
        made = []
        for name in (shared.theirs(field), new_run_id()):
            value: Any = [name] if field == "run_ids" else name
            request = GetMessageClass(method.input_type)(**{field: value}, **more)
            made.append((request, name))
        (theirs, their_name), (none, no_name) = made
        yield theirs, none, their_name, no_name


async def test_others_are_told_what_they_are_told_of_what_does_not_exist(shared: Shared) -> None:
    seen: dict[str, set[str]] = {name: set() for name in CALLERS}
    async with unary_channel(shared.address) as channel:
        for name in ("bob", *(name for name in CALLERS if name != "bob")):
            token = shared.proofs[name].token or ""
            for method in methods():
                for theirs, none, their_name, no_name in requests(method, shared):
                    found = await outcome(channel, method, theirs, token, their_name)
                    missing = await outcome(channel, method, none, token, no_name)
                    refused = method.name == "DeleteRun" and name != "root"
                    assert missing[0] == ("PERMISSION_DENIED" if refused else "NOT_FOUND")
                    if name == "bob" or refused:
                        assert found == missing, method.full_name
                    else:
                        assert found[0] in ("OK", "FAILED_PRECONDITION"), (name, method.full_name)
                        seen[name].add(method.name)
    assert not seen["bob"]
    assert seen["alice"] == seen["desk"] == seen["mate"] == seen["root"] - {"DeleteRun"}
    assert "GetReport" in seen["alice"]


async def test_lists_hold_what_their_caller_sees(shared: Shared) -> None:
    before = queue_run(shared.store)  # as if made before there were owners
    tokens_of_pages = {}
    for name in CALLERS:
        async with shared.client(name) as client:
            runs = await client.list_runs()
            listed = {run.run_id for run in runs.runs}
            assert listed == ({before} if name == "bob" else {before, shared.run})
            experiments = (await client.list_experiments()).experiments
            assert len(experiments) == (name != "bob")
            tokens_of_pages[name] = (await client.list_runs(page_size=1)).next_page_token
    async with shared.client("bob") as bob:
        assert not tokens_of_pages["bob"]
        with pytest.raises(InvalidInput, match="belongs to another query"):
            await bob.list_runs(page_size=1, page_token=tokens_of_pages["alice"])
        with pytest.raises(NotFound, match=shared.run):
            await bob.compare_runs([before, shared.run])


async def test_what_a_caller_makes_is_its_owners(shared: Shared) -> None:
    made = {}
    for name in ("desk", "mate", "bob"):
        async with shared.client(name) as client:
            spec = RunSpec(Function(), name=name)
            made[name] = (await client.create_run(spec, "the same request")).run
            await client.cancel_run(made[name].run_id)  # makes room in the queue
    owned = {name: (run.owner, run.project) for name, run in made.items()}
    assert owned == {"desk": ("alice", ""), "mate": ("mate", "vision"), "bob": ("bob", "")}
    async with shared.client("alice") as alice:
        with pytest.raises(AlreadyExists):
            await alice.create_run(RunSpec(Function(), name="other"), "the same request")
        log = [event async for event in alice.export_run(shared.run)]
        assert (await alice.import_run(log)).owner == "alice"
    async with shared.client("bob") as bob:
        with pytest.raises(AlreadyExists, match="another run with the id"):
            await bob.import_run(log)


async def test_a_file_is_named_by_those_who_have_uploaded_it(
    shared: Shared, tmp_path: Path
) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("text,label\nfine,good\n")
    reasons = {}
    async with shared.client("alice") as alice:
        name = await alice.upload_data(file)

    def spec(train: str) -> RunSpec:
        return RunSpec(task=Task("own", DataFiles(train), "what it is", ("good", "bad")))

    async with shared.client("bob") as bob:
        for train in (name, f"upload:{'0' * 64}"):
            with pytest.raises((NotFound, InvalidInput)) as caught:
                await bob.create_run(spec(train))
            digest = train.removeprefix("upload:")
            reasons[train] = (caught.value.reason, str(caught.value).replace(digest, ""))
        assert len(set(reasons.values())) == 1
        assert await bob.upload_data(file) == name
        assert (await bob.create_run(spec(name))).run.owner == "bob"
    async with shared.client("mate") as mate:
        assert (await mate.create_run(spec(name))).run.owner == "mate"


async def test_an_owner_leaves_room_for_others(shared: Shared) -> None:
    """The service has room for two runs, and an owner for one; `desk` has a limit of its own."""
    spec = RunSpec(Function())
    async with shared.client("alice") as alice, shared.client("desk") as desk:
        first = (await alice.create_run(spec)).run.run_id
        with pytest.raises(ResourceExhausted) as caught:
            await alice.create_run(spec)
        assert (caught.value.reason, caught.value.retry_after) == ("OWNER_QUEUE_FULL", 5.0)
        await alice.pause_run(first)
        second = (await alice.create_run(spec)).run.run_id
        with pytest.raises(ResourceExhausted, match="alice has no more room"):
            await alice.resume_run(first)
        await desk.resume_run(first)
        async with shared.client("root") as root:
            with pytest.raises(ResourceExhausted, match="the queue is full"):
                await root.create_run(spec)
            await root.pause_run(second)
            await root.create_run(spec)
            with pytest.raises(ResourceExhausted, match="the queue is full"):
                await root.resume_run(second)


async def test_the_audit_has_changes_and_refusals_of_known_callers(shared: Shared) -> None:
    refused: list[AuditEntry] = []
    security = Security(tokens=shared.tokens)
    async with served(shared.store, security=security, refused=refused.append) as (_, address):
        there = replace(shared, address=address)
        async with there.client("desk") as desk:
            created = (await desk.create_run(RunSpec(Function()), "r1")).run
            await desk.cancel_run(created.run_id)
            for call in (desk.delete_run(created.run_id), desk.list_audit()):
                with pytest.raises(PermissionDenied):
                    await call
        async with there.client("bob") as bob:
            with pytest.raises(NotFound):
                await bob.cancel_run(created.run_id)
            with pytest.raises(NotFound):  # no change, and not recorded
                await bob.get_run(created.run_id)
        async with there.client("root") as root:
            found = await root.list_audit(AuditFilter(record_id=created.run_id))
    assert [(e.action, e.caller, e.owner, e.address, e.request_id) for e in found.entries] == [
        ("CancelRun", "desk", "alice", "127.0.0.1", ""),
        ("CreateRun", "desk", "alice", "127.0.0.1", "r1"),
    ]
    assert all(entry.call_id for entry in found.entries)
    assert [(e.action, e.caller, e.owner, e.outcome, e.record_id) for e in refused] == [
        ("DeleteRun", "desk", "alice", "SCOPE_MISSING", ""),  # refused before it is read
        ("ListAudit", "desk", "alice", "SCOPE_MISSING", ""),
        ("CancelRun", "bob", "bob", "RUN_NOT_FOUND", created.run_id),
    ]
