"""The client of a trainer service: create, steer, watch and read runs and experiments.

`AsyncClient` is the implementation; `mentorgrad.client.Client` offers the same to code without an
event loop. Values are the dataclasses of `mentorgrad.domain` and `mentorgrad.responses`; errors
those of `mentorgrad.errors`.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np

from mentorgrad.domain.event import EventKind, Finished, RunEvent, StateChanged
from mentorgrad.domain.query import (
    CandidateFilter,
    CandidatePage,
    EventQuery,
    RunFilter,
    RunOrder,
    RunPage,
    View,
)
from mentorgrad.domain.run import Artifact, Run, Snapshot, Trajectory
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import (
    DataLoss,
    DeadlineExceeded,
    InvalidInput,
    Unavailable,
    Untrusted,
)
from mentorgrad.experiment_calls import ExperimentCalls
from mentorgrad.field_limits import check
from mentorgrad.responses import CreatedRun, RunComparison, TrainerInfo
from mentorgrad.v1 import history_service_pb2 as history
from mentorgrad.v1 import trainer_service_pb2 as trainer
from mentorgrad.v1.history_service_pb2_grpc import HistoryServiceStub
from mentorgrad.v1.trainer_service_pb2_grpc import TrainerServiceStub
from mentorgrad.wire import tensors
from mentorgrad.wire.codec import enum_number, fill, from_message, to_message
from mentorgrad.wire.connection import Closed, Connection, StreamLost, to_internal
from mentorgrad.wire.credentials import Credentials
from mentorgrad.wire.reconnect import ReconnectTimer

DEFAULT_TARGET = "127.0.0.1:50551"
"""Where a trainer service listens unless told otherwise."""

_FOLLOW_SECONDS = 600.0
"""Deadline of one following stream; a longer watch opens the next one where this one ended."""


class AsyncClient(ExperimentCalls):
    """A client of one trainer service, for one event loop.

    Safe to use from several tasks at once. Use as an asynchronous context manager, or `close` it.

    Args:
        target: ``HOST:PORT`` of the trainer service.
        timeout: Seconds that a unary call may take.
        stream_timeout: Seconds that one transfer (events, trajectory, artifact, export, import)
            may take; watching is not limited by it.
        resume_for: Seconds for which a watch tries to come back after a lost connection, counted
            from the loss; silence on a healthy connection does not count.
        credentials: Certificates and token; None: plaintext without a token.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        timeout: float = 30.0,
        stream_timeout: float = 600.0,
        resume_for: float = 60.0,
        credentials: Credentials | None = None,
    ) -> None:
        super().__init__(Connection(target, credentials))
        self._timeout = timeout
        self._stream_timeout = stream_timeout
        self._resume_for = resume_for

    async def _trainer(self, method: str, request: Any) -> Any:
        stub = self._connection.unary(TrainerServiceStub)
        return await self._connection.call(getattr(stub, method), request, self._timeout)

    async def _history(self, method: str, request: Any) -> Any:
        stub = self._connection.unary(HistoryServiceStub)
        return await self._connection.call(getattr(stub, method), request, self._timeout)

    async def _transfer(self, method: Any, request: Any) -> AsyncGenerator[Any, None]:
        """A server stream that is not resumed."""
        stream = self._connection.stream(method, request, self._stream_timeout)
        async with aclosing(stream):
            try:
                async for response in stream:
                    yield response
            except StreamLost as lost:
                raise lost.cause from None

    # -- steering -----------------------------------------------------------------------------

    async def create_run(self, spec: RunSpec, request_id: str = "") -> CreatedRun:
        """Validates a spec on the server and queues the run.

        Args:
            spec: What to run.
            request_id: The caller's key; the same key names the same run. Empty: one is made, so
                that a repeated attempt after a lost answer creates no second run.

        Raises:
            InvalidInput: The spec is wrong; the violations name its fields.
            AlreadyExists: The request_id names a run with another spec.
            ResourceExhausted: The queue is full.
        """
        key = request_id or f"client-{os.urandom(12).hex()}"
        request = trainer.CreateRunRequest(request_id=key, spec=to_message(check(spec, "spec")))
        return from_message(CreatedRun, await self._trainer("CreateRun", request))

    async def cancel_run(self, run_id: str) -> Run:
        """Asks to end a run; watch it to see it end."""
        response = await self._trainer("CancelRun", trainer.CancelRunRequest(run_id=run_id))
        return from_message(Run, response.run)

    async def pause_run(self, run_id: str) -> Run:
        """Asks to checkpoint a run and free its worker; watch it to see it pause."""
        response = await self._trainer("PauseRun", trainer.PauseRunRequest(run_id=run_id))
        return from_message(Run, response.run)

    async def resume_run(self, run_id: str) -> Run:
        """Queues a paused or interrupted run again; it goes on from its checkpoint."""
        response = await self._trainer("ResumeRun", trainer.ResumeRunRequest(run_id=run_id))
        return from_message(Run, response.run)

    async def delete_run(self, run_id: str) -> None:
        """Removes a run that is not running, with all that was recorded of it."""
        await self._trainer("DeleteRun", trainer.DeleteRunRequest(run_id=run_id))

    async def import_run(self, events: Iterable[RunEvent] | AsyncIterable[RunEvent]) -> Run:
        """Records a run that was executed elsewhere; the inverse of `export_run`.

        Args:
            events: The whole log in order of seq, raw tensors included. Read as it is sent, in
                a thread of its own unless it is asynchronous.

        Raises:
            InvalidInput: It is not the log of one finished run.
            AlreadyExists: The run_id or request_id names another run.
        """
        response = await self._connection.upload(
            TrainerServiceStub, "ImportRun", _import_requests(events), self._stream_timeout
        )
        return from_message(Run, response.run)

    async def trainer_info(self) -> TrainerInfo:
        """What the trainer offers: devices, objectives, tasks, optimizers, mentors."""
        response = await self._trainer("GetTrainerInfo", trainer.GetTrainerInfoRequest())
        return from_message(TrainerInfo, response)

    # -- watching -----------------------------------------------------------------------------

    async def watch(
        self,
        run_id: str,
        after_seq: int = 0,
        kinds: Sequence[EventKind] = (),
        view: View = View.SUMMARY,
    ) -> AsyncGenerator[RunEvent, None]:
        """Events as they are written, until the run reaches a final state; each exactly once.

        After a lost connection it goes on from the last event seen, with growing pauses.

        Args:
            run_id: The run.
            after_seq: Only events with a higher number.
            kinds: Any of these kinds; empty: all.
            view: Whether raw tensors are attached.

        Raises:
            NotFound: No such run.
            Unavailable: A lost connection did not come back within `resume_for`; names the last
                seq.
        """
        seen, reconnect = after_seq, ReconnectTimer(self._resume_for, _FOLLOW_SECONDS)
        while True:
            try:
                if reconnect.is_reopening:  # a stream says nothing while it connects; this does
                    await self.get_run(run_id)
                reconnect.opened()
                async with aclosing(self._follow(run_id, seen, kinds, view)) as events:
                    async for event in events:
                        seen = event.seq
                        reconnect.is_over()
                        yield event
                        if _is_end(event):
                            return
                if (await self.get_run(run_id)).state.is_final:
                    return  # the last event was not among `kinds`, or lies before `after_seq`
                reconnect.ended_well()
            except (Closed, Untrusted):
                raise
            except (StreamLost, Unavailable, DeadlineExceeded) as lost:
                cause = lost.cause if isinstance(lost, StreamLost) else lost
                if not reconnect.may_go_on(cause):
                    raise _lost(self.target, run_id, seen, cause.message) from None
            await asyncio.sleep(reconnect.pause())

    async def _follow(
        self, run_id: str, after_seq: int, kinds: Sequence[EventKind], view: View
    ) -> AsyncGenerator[RunEvent, None]:
        """One following stream; events that were seen already are left out."""
        request = history.StreamEventsRequest(
            run_id=run_id,
            after_seq=after_seq,
            kinds=[enum_number(kind) for kind in kinds],
            view=enum_number(view),
            follow=True,
        )
        stub = self._connection.streams(HistoryServiceStub)
        async with aclosing(
            self._connection.stream(stub.StreamEvents, request, _FOLLOW_SECONDS)
        ) as responses:
            async for response in responses:
                if response.HasField("closing"):
                    raise StreamLost(Unavailable(response.closing.reason))
                event = from_message(RunEvent, response.event)
                if event.seq > after_seq:
                    after_seq = event.seq
                    yield event

    # -- reading ------------------------------------------------------------------------------

    async def get_run(self, run_id: str) -> Run:
        """The run as it stands.

        Raises:
            NotFound: No such run (reason RUN_NOT_FOUND); so do all methods that name a run.
        """
        response = await self._history("GetRun", history.GetRunRequest(run_id=run_id))
        return from_message(Run, response.run)

    async def list_runs(
        self,
        run_filter: RunFilter | None = None,
        order: RunOrder = RunOrder.NEWEST,
        page_size: int = 50,
        page_token: str = "",
    ) -> RunPage:
        """Runs by filter, in pages.

        Raises:
            InvalidInput: `page_size` is not within 1..1000, or `page_token` is not of this query.
        """
        request = history.ListRunsRequest(
            filter=to_message(check(run_filter or RunFilter(), "filter")),
            order=enum_number(order),
            page_size=_page_size(page_size),
            page_token=page_token,
        )
        return from_message(RunPage, await self._history("ListRuns", request))

    async def events(
        self, run_id: str, query: EventQuery | None = None
    ) -> AsyncGenerator[RunEvent, None]:
        """What is recorded by now, in order, lazily; does not wait for more."""
        wanted = check(query or EventQuery())
        request = history.StreamEventsRequest(
            run_id=run_id,
            after_seq=wanted.after_seq,
            kinds=[enum_number(kind) for kind in wanted.kinds],
            view=enum_number(wanted.view),
            effective=wanted.effective,
        )
        stub = self._connection.streams(HistoryServiceStub)
        async with aclosing(self._transfer(stub.StreamEvents, request)) as responses:
            async for response in responses:
                yield from_message(RunEvent, response.event)

    async def export_run(self, run_id: str) -> AsyncGenerator[RunEvent, None]:
        """The whole log with raw tensors, as `import_run` takes it."""
        stub = self._connection.streams(HistoryServiceStub)
        request = history.ExportRunRequest(run_id=run_id)
        async with aclosing(self._transfer(stub.ExportRun, request)) as responses:
            async for response in responses:
                yield from_message(RunEvent, response.event)

    async def trajectory(
        self, run_id: str, max_points: int = 0, view: View = View.FULL
    ) -> Trajectory:
        """Effective snapshots in order of step, evenly thinned to `max_points` (0: all).

        Raises:
            InvalidInput: `max_points` is negative.
        """
        if not 0 <= max_points < 2**31:
            raise InvalidInput.field("max_points", f"must be at least 0, not {max_points}")
        request = history.GetTrajectoryRequest(
            run_id=run_id, max_points=max_points, view=enum_number(view)
        )
        stub = self._connection.streams(HistoryServiceStub)
        snapshots: list[Snapshot] = []
        stages: list[int] = []
        pieces: list[np.ndarray] = []
        async for response in self._transfer(stub.GetTrajectory, request):
            snapshots += [from_message(Snapshot, item) for item in response.snapshots]
            stages += [response.stage] * len(response.snapshots)
            if response.HasField("parameters"):
                pieces.append(tensors.decode(response.parameters))
        parameters = np.concatenate(pieces) if pieces else None
        if parameters is not None and len(parameters) != len(snapshots):
            raise to_internal(f"{len(parameters)} parameters for {len(snapshots)} snapshots")
        return Trajectory(run_id, tuple(snapshots), tuple(stages), parameters)

    async def list_candidates(
        self,
        run_id: str,
        candidate_filter: CandidateFilter | None = None,
        page_size: int = 50,
        page_token: str = "",
    ) -> CandidatePage:
        """Effective candidates, best first unless the filter says otherwise, in pages."""
        request = history.ListCandidatesRequest(
            run_id=run_id,
            filter=to_message(check(candidate_filter or CandidateFilter(), "filter")),
            page_size=_page_size(page_size),
            page_token=page_token,
        )
        return from_message(CandidatePage, await self._history("ListCandidates", request))

    async def compare_runs(self, run_ids: Sequence[str]) -> RunComparison:
        """Several runs side by side, with the fields in which their specs differ."""
        request = history.CompareRunsRequest(run_ids=run_ids)
        return from_message(RunComparison, await self._history("CompareRuns", request))

    # -- files --------------------------------------------------------------------------------

    async def artifacts(self, run_id: str) -> tuple[Artifact, ...]:
        """The files that a run left, by name."""
        request = history.ListArtifactsRequest(run_id=run_id)
        response = await self._history("ListArtifacts", request)
        return tuple(from_message(Artifact, item) for item in response.artifacts)

    async def read_artifact(self, run_id: str, name: str) -> bytes:
        """A file's bytes.

        Raises:
            NotFound: No such file (reason ARTIFACT_NOT_FOUND).
            DataLoss: The bytes do not match their digest.
        """
        return b"".join([chunk async for chunk in self._chunks(run_id, name)])

    async def download(self, run_id: str, name: str, path: str | os.PathLike[str]) -> Path:
        """Writes a file that a run left, aside and renamed when whole and right.

        Args:
            run_id: The run.
            name: For example ``prompt.safetensors``.
            path: Where to; a folder gets the file under its own name.

        Returns:
            The file that was written.

        Raises:
            NotFound: No such file (reason ARTIFACT_NOT_FOUND).
            DataLoss: The bytes do not match their digest.
            OSError: The file cannot be written.
        """
        place = Path(path)
        target = place / Path(name).name if place.is_dir() else place
        handle, aside = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                async for chunk in self._chunks(run_id, name):
                    file.write(chunk)
            os.replace(aside, target)
        except BaseException:
            os.unlink(aside)
            raise
        return target

    async def _chunks(self, run_id: str, name: str) -> AsyncGenerator[bytes, None]:
        """A file's bytes in order; raises at the end if they do not match their digest.

        A checkpoint comes without a digest; the server has compared it already.
        """
        stub = self._connection.streams(TrainerServiceStub)
        request = trainer.DownloadArtifactRequest(run_id=run_id, name=name)
        digest, expected = hashlib.sha256(), None
        async with aclosing(self._transfer(stub.DownloadArtifact, request)) as responses:
            async for response in responses:
                if response.HasField("artifact"):
                    expected = response.artifact.sha256
                digest.update(response.chunk)
                yield response.chunk
        if expected is not None and digest.hexdigest() != expected:
            raise DataLoss(f"the bytes of {name} of run {run_id} do not match their digest")


def _is_end(event: RunEvent) -> bool:
    payload = event.payload
    return isinstance(payload, (Finished, StateChanged)) and payload.state.is_final


def _lost(target: str, run_id: str, seen: int, why: str) -> Unavailable:
    return Unavailable(
        f"lost {target} while watching {run_id}, and it did not come back ({why}); "
        f"the last event seen is {seen}: watch again with after_seq={seen}",
        metadata={"last_seq": str(seen)},
    )


def _page_size(number: int) -> int:
    if not 1 <= number <= 1000:
        raise InvalidInput.field("page_size", f"must be within 1..1000, not {number}")
    return number


def _import_requests(events: Iterable[RunEvent] | AsyncIterable[RunEvent]) -> Any:
    """The events as requests, of the same kind of iteration."""
    if isinstance(events, AsyncIterable):
        return (_import_request(event) async for event in events)
    return map(_import_request, events)


def _import_request(event: RunEvent) -> trainer.ImportRunRequest:
    request = trainer.ImportRunRequest()
    fill(request.event, event)
    return request
