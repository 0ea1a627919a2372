"""HistoryService: the gRPC service for the store's read interface."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from typing import Any, TypeVar

import grpc.aio

from mentorgrad.domain.audit import AuditFilter
from mentorgrad.domain.event import EventKind
from mentorgrad.domain.query import (
    CandidateFilter,
    EventQuery,
    RunFilter,
    RunOrder,
    Thinning,
    TrajectoryQuery,
    View,
)
from mentorgrad.errors import InvalidInput, Unavailable
from mentorgrad.field_limits import check
from mentorgrad.responses import spec_differences
from mentorgrad.schema import field_bounds
from mentorgrad.v1 import history_service_pb2 as pb
from mentorgrad.v1 import history_service_pb2_grpc
from mentorgrad.wire import codec, tensors
from run_store import trajectory
from run_store.event_pages import read_pages
from run_store.protocols import RunStore, SeenStore
from run_store.stored_events import StoredEvent
from run_store.tailer import Draining, Tailers

R = TypeVar("R")

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["HistoryService"].full_name
"""Full service name, for health and reflection."""

_PIECE_BYTES = 768 * 1024
"""Maximum bytes of raw parameters per message of a trajectory."""

_PIECE_SNAPSHOTS = 2_000
"""Maximum snapshots per message of a trajectory; their words stay within the same size."""

_MAX_COMPARED = 100
_MAX_COMPARED_BYTES = 3 * 1024 * 1024
"""Maximum bytes of all compared runs; the response also holds the differences, and must fit into
one message."""


class HistoryServicer(history_service_pb2_grpc.HistoryServiceServicer):
    """Serves the history from a store, called in threads so that no query blocks the event loop.

    Args:
        store: The run store; not closed by this class.
        seen: Returns the part of it that the present caller sees.
    """

    def __init__(self, store: RunStore, seen: SeenStore) -> None:
        self._seen = seen
        self._tailers = Tailers(store)

    def drain(self) -> None:
        """Ends all streams that follow a run, since the service is about to stop; other calls are
        still served."""
        self._tailers.drain()

    async def GetRun(  # noqa: N802
        self, request: pb.GetRunRequest, context: grpc.aio.ServicerContext
    ) -> pb.GetRunResponse:
        """The current state of a run."""
        run = await asyncio.to_thread(self._seen().get_run, request.run_id)
        return pb.GetRunResponse(run=codec.to_message(run))

    async def ListRuns(  # noqa: N802
        self, request: pb.ListRunsRequest, context: grpc.aio.ServicerContext
    ) -> pb.ListRunsResponse:
        """Lists runs by filter, in pages."""
        order = codec.enum_member(RunOrder, request.order, "order") or RunOrder.NEWEST

        def answer() -> pb.ListRunsResponse:
            run_filter = codec.from_message(RunFilter, request.filter, "filter", checked=True)
            size, token = request.page_size or 50, request.page_token
            page = self._seen().list_runs(run_filter, order, size, token)
            return codec.fill(pb.ListRunsResponse(), page)

        return await asyncio.to_thread(answer)

    async def StreamEvents(  # noqa: N802
        self, request: pb.StreamEventsRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[pb.StreamEventsResponse]:
        """Streams a run's events after a given seq; with `follow`, until the run has ended."""
        query = _event_query(request)
        batches = (
            self._follow(request.run_id, query)
            if request.follow
            else read_pages(self._seen(), request.run_id, query)
        )
        try:
            async with contextlib.aclosing(batches):
                async for batch in batches:
                    for response in await asyncio.to_thread(
                        _responses, pb.StreamEventsResponse, batch
                    ):
                        yield response
        except Draining as draining:
            why = "the service is shutting down"
            closing = pb.StreamClosing(resume_after_seq=draining.after_seq, reason=why)
            yield pb.StreamEventsResponse(closing=closing)
            # Status OK would mean that the run has ended.
            raise Unavailable(why, reason="DRAINING") from None

    async def _follow(
        self, run_id: str, query: EventQuery
    ) -> AsyncGenerator[list[StoredEvent], None]:
        await asyncio.to_thread(self._seen().progress, run_id)  # tailers serve all callers alike
        async with contextlib.aclosing(self._tailers.follow(run_id, query)) as batches:
            async for batch in batches:
                yield batch

    async def GetTrajectory(  # noqa: N802
        self, request: pb.GetTrajectoryRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[pb.GetTrajectoryResponse]:
        """Streams the snapshots of a run with their parameters, in pieces."""
        query = TrajectoryQuery(
            request.max_points,
            codec.enum_member(View, request.view, "view") or View.SUMMARY,
            request.first_step,
            request.last_step,
            codec.enum_member(Thinning, request.thinning, "thinning") or Thinning.EVEN,
        )
        seen, run_id = self._seen(), request.run_id
        found = await asyncio.to_thread(trajectory.pieces, seen, run_id, check(query))
        messages = _trajectory_messages(found)
        while (message := await asyncio.to_thread(next, messages, None)) is not None:
            yield message

    async def ListCandidates(  # noqa: N802
        self, request: pb.ListCandidatesRequest, context: grpc.aio.ServicerContext
    ) -> pb.ListCandidatesResponse:
        """Lists the candidates of a run, best or oldest first, in pages."""
        wanted = codec.from_message(CandidateFilter, request.filter, "filter", checked=True)
        page = await asyncio.to_thread(
            self._seen().list_candidates,
            request.run_id,
            wanted,
            request.page_size or 50,
            request.page_token,
        )
        return codec.fill(pb.ListCandidatesResponse(), page)

    async def CompareRuns(  # noqa: N802
        self, request: pb.CompareRunsRequest, context: grpc.aio.ServicerContext
    ) -> pb.CompareRunsResponse:
        """Returns several runs and the differences of their specs."""
        run_ids = list(request.run_ids)
        if not 1 <= len(run_ids) <= _MAX_COMPARED:
            raise InvalidInput.field(
                "run_ids", f"must name 1 to {_MAX_COMPARED} runs, not {len(run_ids)}"
            )
        return await asyncio.to_thread(self._compared, run_ids)

    def _compared(self, run_ids: Sequence[str]) -> pb.CompareRunsResponse:
        response, specs, size = pb.CompareRunsResponse(), [], 0
        for run_id in run_ids:
            run = self._seen().get_run(run_id)
            specs.append(run.spec)
            size += codec.fill(response.runs.add(), run).ByteSize()
            if size > _MAX_COMPARED_BYTES:
                raise InvalidInput.field(
                    "run_ids",
                    f"the runs exceed {_MAX_COMPARED_BYTES} bytes in total; compare fewer runs",
                )
        for item in spec_differences(specs):
            codec.fill(response.differences.add(), item)
        return response

    async def ListArtifacts(  # noqa: N802
        self, request: pb.ListArtifactsRequest, context: grpc.aio.ServicerContext
    ) -> pb.ListArtifactsResponse:
        """Lists the files of a run."""
        found = await asyncio.to_thread(self._seen().artifacts, request.run_id)
        return pb.ListArtifactsResponse(artifacts=[codec.to_message(item) for item in found])

    async def ExportRun(  # noqa: N802
        self, request: pb.ExportRunRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[pb.ExportRunResponse]:
        """Streams a run's complete log with raw tensors, in the form that ImportRun accepts."""
        query = EventQuery(view=View.FULL)
        async for batch in read_pages(self._seen(), request.run_id, query):
            for response in await asyncio.to_thread(_responses, pb.ExportRunResponse, batch):
                yield response

    async def ListAudit(  # noqa: N802
        self, request: pb.ListAuditRequest, context: grpc.aio.ServicerContext
    ) -> pb.ListAuditResponse:
        """Lists who changed what and who was refused, in pages."""
        wanted = codec.from_message(AuditFilter, request.filter, "filter", checked=True)
        size, token = request.page_size or 50, request.page_token
        page = await asyncio.to_thread(self._seen().list_audit, wanted, size, token)
        return codec.fill(pb.ListAuditResponse(), page)

    async def ListWorkers(  # noqa: N802
        self, request: pb.ListWorkersRequest, context: grpc.aio.ServicerContext
    ) -> pb.ListWorkersResponse:
        """Lists the agents that execute runs."""
        found = await asyncio.to_thread(self._seen().list_workers)
        return codec.fill(pb.ListWorkersResponse(), found)


def _responses(response: type[R], batch: list[StoredEvent]) -> list[R]:
    """The responses that carry one event each."""
    made: list[Any] = [response() for _ in batch]
    for message, event in zip(made, batch, strict=True):
        event.write(message.event)
    return made


def _event_query(request: pb.StreamEventsRequest) -> EventQuery:
    limit = field_bounds(EventQuery)["kinds"].max_length
    if limit is not None and len(request.kinds) > limit:  # before there is an object for each
        said = f"must have at most {limit} entries, not {len(request.kinds)}"
        raise InvalidInput.field("kinds", said)
    kinds = (
        codec.enum_member(EventKind, number, f"kinds[{index}]")
        for index, number in enumerate(request.kinds)
    )
    query = EventQuery(
        after_seq=request.after_seq,
        kinds=tuple(kind for kind in kinds if kind is not None),
        view=codec.enum_member(View, request.view, "view") or View.SUMMARY,
        effective=request.effective,
    )
    return check(query)


def _trajectory_messages(
    found: Iterator[trajectory.Piece],
) -> Iterator[pb.GetTrajectoryResponse]:
    """Splits the pieces into messages of limited size."""
    for piece in found:
        rows = len(piece.snapshots)
        if piece.parameters is not None and rows:
            a_row = max(piece.parameters.nbytes // rows, 1)
            size = max(min(_PIECE_BYTES // a_row, _PIECE_SNAPSHOTS), 1)
        else:
            size = _PIECE_SNAPSHOTS
        for start in range(0, rows, size):
            part = slice(start, start + size)
            message = pb.GetTrajectoryResponse(
                stage=piece.stage,
                snapshots=piece.snapshots[part],
            )
            if piece.parameters is not None:
                message.parameters.CopyFrom(tensors.encode(piece.parameters[part]))
            yield message
