"""UpdateRun and the filters of ListRuns over real sockets: what is edited, refused and found."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest

from mentorgrad import AsyncClient, FieldFilter, RunFilter, TextSearch
from mentorgrad.errors import InvalidInput, NotFound
from mentorgrad.v1 import history_service_pb2 as history
from mentorgrad.v1 import query_pb2 as query
from mentorgrad.v1 import trainer_service_pb2 as trainer
from mentorgrad.v1.history_service_pb2_grpc import HistoryServiceStub
from mentorgrad.v1.run_pb2 import RunUpdate
from mentorgrad.v1.trainer_service_pb2_grpc import TrainerServiceStub
from mentorgrad.wire.channels import unary_channel
from mentorgrad.wire.error_mapping import from_rpc_error
from run_store.temporary_store import TemporaryRunStore
from tests.support.served_runs import finished_run, served


@pytest.fixture
async def address() -> AsyncIterator[tuple[str, str]]:
    store = TemporaryRunStore()
    run_id = finished_run(store)
    async with served(store) as (_, address):
        yield address, run_id
    store.close()


async def test_an_edited_run_is_found_exported_and_imported(address: tuple[str, str]) -> None:
    target, run_id = address
    async with AsyncClient(target) as client:
        before = await client.get_run(run_id)
        run = await client.update_run(run_id, {"Team": "Ünique"}, note="later", request_id="one")
        assert (run.labels, run.note) == ({**before.labels, "Team": "Ünique"}, "later")
        assert await client.get_run(run_id) == run
        page = await client.list_runs(RunFilter(text="ünIQUE", run_ids=(run_id, "unknown")))
        assert (page.runs, page.text_search) == ((run,), TextSearch.FULL_TEXT)
        assert (await client.list_runs()).text_search is None
        log = [event async for event in client.export_run(run_id)]
        await client.delete_run(run_id)
        again = await client.import_run(log)
        assert (again.labels, again.note) == (run.labels, "later")
        with pytest.raises(NotFound):
            await client.update_run("nobody", note="x")


@pytest.mark.parametrize(
    ("update", "field"),
    [
        (RunUpdate(labels={"": "x"}), "update.labels"),
        (RunUpdate(labels={f"k{n}": "" for n in range(65)}), "update.labels"),
        (RunUpdate(labels={"k": "x" * 2_001}), "update.labels['k']"),
        (RunUpdate(remove_labels=["x" * 2_001]), "update.remove_labels[0]"),
        (RunUpdate(note="x" * 10_001), "update.note"),
        (RunUpdate(note="\x00"), "update.note"),
    ],
)
async def test_a_bad_update_is_refused_by_its_path(
    address: tuple[str, str], update: RunUpdate, field: str
) -> None:
    async with unary_channel(address[0]) as channel:
        request = trainer.UpdateRunRequest(run_id=address[1], update=update)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await TrainerServiceStub(channel).UpdateRun(request, timeout=60)
    error = from_rpc_error(caught.value)
    assert isinstance(error, InvalidInput)
    assert [violation.field for violation in error.violations] == [field]


async def test_a_bad_filter_is_refused_by_its_path(address: tuple[str, str]) -> None:
    async with unary_channel(address[0]) as channel:
        for item, field, said in (
            (query.FieldFilter(), "filter.fields[0].field", "must not be empty"),
            (
                query.FieldFilter(field="spec.sed", equals="1"),
                "filter.fields[0].field",
                "spec.seed",
            ),
            (query.FieldFilter(field="spec.seed"), "filter.fields[0]", "must have `equals`"),
        ):
            request = history.ListRunsRequest(filter=query.RunFilter(fields=[item]))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await HistoryServiceStub(channel).ListRuns(request, timeout=60)
            error = from_rpc_error(caught.value)
            assert isinstance(error, InvalidInput)
            assert error.violations[0].field == field
            assert said in error.violations[0].description
    async with AsyncClient(address[0]) as client:
        with pytest.raises(InvalidInput, match="at most 100 entries"):
            await client.list_runs(RunFilter(run_ids=("x",) * 101))
        with pytest.raises(InvalidInput, match=r"did you mean spec\.optimizer\.name"):
            await client.list_runs(RunFilter(fields=(FieldFilter("optimizer.kind", "x"),)))
