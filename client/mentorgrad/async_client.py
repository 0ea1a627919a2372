"""Asyncio client of a trainer service: create, control, watch and read runs and experiments.

`AsyncClient` is the implementation; `mentorgrad.client.Client` is its blocking counterpart. Values
are the dataclasses of `mentorgrad.domain` and `mentorgrad.responses`; errors
those of `mentorgrad.errors`.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from functools import partialmethod
from pathlib import Path
from typing import Any

import numpy as np

from mentorgrad.domain.agent import AgentList
from mentorgrad.domain.annotation import RunUpdate
from mentorgrad.domain.audit import AuditFilter, AuditPage
from mentorgrad.domain.event import EventKind, Finished, RunEvent, StateChanged
from mentorgrad.domain.pages import MAX_PAGE, every_item_async
from mentorgrad.domain.query import (
    CandidateFilter,
    CandidatePage,
    EventQuery,
    RunFilter,
    RunOrder,
    RunPage,
    Thinning,
    TrajectoryQuery,
    View,
)
from mentorgrad.domain.run import Artifact, Candidate, Run, Snapshot, Trajectory
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import (
    DataLoss,
    DeadlineExceeded,
    Unavailable,
    Untrusted,
)
from mentorgrad.experiment_calls import ExperimentCalls
from mentorgrad.field_limits import check
from mentorgrad.files import replacing
from mentorgrad.numbers import real_of
from mentorgrad.paths import expanded
from mentorgrad.responses import CreatedRun, RunComparison, TrainerInfo
from mentorgrad.uploads import DataUpload, check_size, upload_name
from mentorgrad.v1 import event_pb2
from mentorgrad.v1 import history_service_pb2 as history
from mentorgrad.v1 import trainer_service_pb2 as trainer
from mentorgrad.v1.history_service_pb2_grpc import HistoryServiceStub
from mentorgrad.v1.trainer_service_pb2_grpc import TrainerServiceStub
from mentorgrad.wire import tensors
from mentorgrad.wire.codec import enum_number, fill, from_message, to_message
from mentorgrad.wire.connection import (
    Closed,
    Connection,
    ServiceClient,
    StreamLost,
    check_page_size,
    to_internal,
)
from mentorgrad.wire.credentials import Credentials
from mentorgrad.wire.reconnect import ReconnectTimer
from mentorgrad.wire.requests import request_of

DEFAULT_TARGET = "127.0.0.1:50551"
"""Default address of a trainer service."""

_CHUNK_BYTES = 256 * 1024
"""Size of the pieces in which a file is uploaded."""

_MAX_FILE_BYTES = 256 * 1024 * 1024
"""Maximum size of a file whose size the server does not say: that of the largest file of a run."""

_FOLLOW_SECONDS = 600.0
"""Deadline of one stream of `watch`; afterwards it opens the next one at the same position."""


class AsyncClient(ExperimentCalls):
    """Asyncio client of one trainer service, for one event loop.

    Safe to use from several tasks at once. Use as an async context manager, or call `close`.

    Args:
        target: ``HOST:PORT`` of the trainer service.
        timeout: Timeout of a unary call, seconds.
        stream_timeout: Timeout of one transfer (events, trajectory, artifact, export, import),
            seconds; does not limit `watch`.
        resume_for: How long `watch` tries to reconnect after a lost connection, seconds; an idle
            connection does not count as lost.
        credentials: TLS certificates and token; None: plaintext without a token.
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
        super().__init__(Connection(target, credentials), timeout, stream_timeout)
        self._resume_for = real_of("resume_for", resume_for)

    _trainer = partialmethod(ServiceClient._call, TrainerServiceStub)
    _history = partialmethod(ServiceClient._call, HistoryServiceStub)

    # -- control ------------------------------------------------------------------------------

    async def create_run(self, spec: RunSpec, request_id: str = "") -> CreatedRun:
        """Creates a run: the server validates the spec and queues the run.

        Args:
            spec: Spec of the run.
            request_id: Idempotency key; a repeated key returns the same run. Empty: a random key,
                so that automatic retries create no second run.

        Raises:
            InvalidInput: The spec is invalid; the violations name the fields.
            AlreadyExists: The request_id belongs to a run with another spec.
            ResourceExhausted: The queue is full.
        """
        key = request_id or f"client-{os.urandom(12).hex()}"
        request = request_of(
            trainer.CreateRunRequest, request_id=key, spec=to_message(check(spec, "spec"))
        )
        return from_message(CreatedRun, await self._trainer("CreateRun", request))

    async def cancel_run(self, run_id: str) -> Run:
        """Requests cancellation of a run; `watch` shows when it ends."""
        response = await self._trainer(
            "CancelRun", request_of(trainer.CancelRunRequest, run_id=run_id)
        )
        return from_message(Run, response.run)

    async def finish_run(self, run_id: str) -> Run:
        """Requests that a running run ends early with a result: no further step, the baselines, and
        the test of its best candidate so far; `watch` shows when it has. If its worker is lost
        before that, the run goes on when it is resumed.

        Raises:
            PreconditionFailed: The run is not running (reason TRANSITION_FORBIDDEN).
        """
        response = await self._trainer(
            "FinishRun", request_of(trainer.FinishRunRequest, run_id=run_id)
        )
        return from_message(Run, response.run)

    async def pause_run(self, run_id: str) -> Run:
        """Requests that a run saves a checkpoint and pauses; `watch` shows when it has."""
        response = await self._trainer(
            "PauseRun", request_of(trainer.PauseRunRequest, run_id=run_id)
        )
        return from_message(Run, response.run)

    async def resume_run(self, run_id: str) -> Run:
        """Queues a paused or interrupted run; it continues from its checkpoint."""
        response = await self._trainer(
            "ResumeRun", request_of(trainer.ResumeRunRequest, run_id=run_id)
        )
        return from_message(Run, response.run)

    async def update_run(
        self,
        run_id: str,
        labels: Mapping[str, str] | None = None,
        *,
        remove_labels: Sequence[str] = (),
        note: str | None = None,
        request_id: str = "",
    ) -> Run:
        """Edits the labels and the note of a run, in any state. Repeating a call changes nothing.

        Args:
            run_id: The run.
            labels: Labels to add, or to give another value.
            remove_labels: Keys of labels to remove.
            note: The new note; empty: none. None: the note stays.
            request_id: Id of the request for the audit.

        Raises:
            InvalidInput: A label or the note is too long, or the run would have too many labels, or
                a label tells where the run belongs in its experiment (reason RESERVED_LABEL).
        """
        update = check(RunUpdate(labels or {}, tuple(remove_labels), note), "update")
        request = request_of(
            trainer.UpdateRunRequest,
            run_id=run_id,
            update=to_message(update),
            request_id=request_id,
        )
        return from_message(Run, (await self._trainer("UpdateRun", request)).run)

    async def delete_run(self, run_id: str) -> None:
        """Deletes a run that is not active, with all its records."""
        await self._trainer("DeleteRun", request_of(trainer.DeleteRunRequest, run_id=run_id))

    async def import_run(self, events: Iterable[RunEvent] | AsyncIterable[RunEvent]) -> Run:
        """Imports a finished run from its log; the inverse of `export_run`.

        Args:
            events: The complete log in order of seq, with raw tensors. Consumed lazily; a
                synchronous iterable is consumed in another thread.

        Raises:
            InvalidInput: `events` is not the log of one finished run.
            AlreadyExists: The run_id or request_id belongs to another run.
        """
        response = await self._connection.upload(
            TrainerServiceStub, "ImportRun", _import_requests(events), self._stream_timeout
        )
        return from_message(Run, response.run)

    async def upload_data(self, path: str | os.PathLike[str]) -> str:
        """Uploads a data file to the trainer.

        The trainer deletes it with the last run that uses it, or after some time without one.

        Args:
            path: CSV, TSV, JSONL, JSON, parquet, Arrow or Excel file; its suffix tells the format.

        Returns:
            Name of the file in a spec's `DataFiles`: ``upload:`` and its SHA-256.

        Raises:
            InvalidInput: The file is too large for the trainer, of an unknown format, or changes
                while it is sent.
            ResourceExhausted: Too many files are being uploaded.
            OSError: The file cannot be read.
        """
        file = expanded(Path(path), "path")
        limit = (await self.trainer_info()).upload_limit_bytes
        upload = await asyncio.to_thread(_described, file, limit)
        response = await self._connection.upload(
            TrainerServiceStub, "UploadData", _upload_requests(file, upload), self._stream_timeout
        )
        return upload_name(response.sha256)

    async def trainer_info(self) -> TrainerInfo:
        """Describes the trainer: devices, objectives, tasks, optimizers, mentors."""
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
        """Follows a run's events until it reaches a final state; each event exactly once. Events of
        kinds that only a newer trainer knows are left out.

        After a lost connection it reconnects with exponential backoff and continues after the last
        event seen.

        Args:
            run_id: The run.
            after_seq: Only events with a greater seq.
            kinds: Only events of these kinds; empty: all.
            view: `View.FULL` includes raw tensors.

        Raises:
            NotFound: No such run.
            Unavailable: The connection was lost for longer than `resume_for`; the message and the
                metadata ``last_seq`` give the last seq.
        """
        seen, reconnect = after_seq, ReconnectTimer(self._resume_for, _FOLLOW_SECONDS)
        while True:
            try:
                if reconnect.is_reopening:  # unlike a stream, this call fails while disconnected
                    await self.get_run(run_id)
                reconnect.opened()
                async with aclosing(self._follow(run_id, seen, kinds, view)) as events:
                    async for event in events:
                        seen = event.seq
                        reconnect.recovered()
                        yield event
                        if _is_end(event):
                            return
                if (await self.get_run(run_id)).state.is_final:
                    return  # the last event was not among `kinds`, or lies before `after_seq`
                pause = reconnect.ended_well()
            except (Closed, Untrusted):
                raise
            except (StreamLost, Unavailable, DeadlineExceeded) as lost:
                cause = lost.cause if isinstance(lost, StreamLost) else lost
                again = reconnect.failed(cause)
                if again is None:
                    raise _lost(self.target, run_id, seen, cause.message) from None
                pause = again
            await asyncio.sleep(pause)

    async def _follow(
        self, run_id: str, after_seq: int, kinds: Sequence[EventKind], view: View
    ) -> AsyncGenerator[RunEvent, None]:
        """One stream of `watch`; skips events that were already seen."""
        query = check(EventQuery(after_seq, tuple(kinds), view))
        request = fill(request_of(history.StreamEventsRequest, run_id=run_id, follow=True), query)
        stub = self._connection.streams(HistoryServiceStub)
        async with aclosing(
            self._connection.stream(stub.StreamEvents, request, _FOLLOW_SECONDS)
        ) as responses:
            async for response in responses:
                if response.HasField("closing"):
                    raise StreamLost(Unavailable(response.closing.reason))
                if response.event.seq > after_seq and _is_known(response.event):
                    event = from_message(RunEvent, response.event)
                    after_seq = event.seq
                    yield event

    # -- reading ------------------------------------------------------------------------------

    async def get_run(self, run_id: str) -> Run:
        """Returns the current state of a run.

        Raises:
            NotFound: No such run (reason RUN_NOT_FOUND); so do all methods with a run_id.
        """
        response = await self._history("GetRun", request_of(history.GetRunRequest, run_id=run_id))
        return from_message(Run, response.run)

    async def list_runs(
        self,
        run_filter: RunFilter | None = None,
        order: RunOrder = RunOrder.NEWEST,
        page_size: int = 50,
        page_token: str = "",
    ) -> RunPage:
        """Lists runs by filter, one page per call.

        Raises:
            InvalidInput: `page_size` is not within 1..1000, or `page_token` is from another query.
        """
        request = request_of(
            history.ListRunsRequest,
            filter=to_message(check(run_filter or RunFilter(), "filter")),
            order=enum_number(order),
            page_size=check_page_size(page_size),
            page_token=page_token,
        )
        return from_message(RunPage, await self._history("ListRuns", request))

    async def iter_runs(
        self, run_filter: RunFilter | None = None, order: RunOrder = RunOrder.NEWEST
    ) -> AsyncGenerator[Run, None]:
        """Iterates over all runs that match a filter, page by page."""
        async for run in every_item_async(
            lambda token: self.list_runs(run_filter, order, MAX_PAGE, token)
        ):
            yield run

    async def list_audit(
        self, audit_filter: AuditFilter | None = None, page_size: int = 50, page_token: str = ""
    ) -> AuditPage:
        """Lists who changed what and who was refused, newest first, one page per call.

        Raises:
            PermissionDenied: The token lacks the scope ``admin``.
            InvalidInput: `page_size` is not within 1..1000, or `page_token` is from another query.
        """
        request = request_of(
            history.ListAuditRequest,
            filter=to_message(check(audit_filter or AuditFilter(), "filter")),
            page_size=check_page_size(page_size),
            page_token=page_token,
        )
        return from_message(AuditPage, await self._history("ListAudit", request))

    async def list_workers(self) -> AgentList:
        """Lists the agents that execute runs: the trainer services and workers of the store."""
        request = history.ListWorkersRequest()
        return from_message(AgentList, await self._history("ListWorkers", request))

    async def events(
        self, run_id: str, query: EventQuery | None = None
    ) -> AsyncGenerator[RunEvent, None]:
        """Iterates over the recorded events in order; does not wait for new ones. Events of kinds
        that only a newer trainer knows are left out."""
        wanted = check(query or EventQuery())
        request = fill(request_of(history.StreamEventsRequest, run_id=run_id), wanted)
        async with aclosing(self._transfer(HistoryServiceStub, "StreamEvents", request)) as found:
            async for response in found:
                if _is_known(response.event):
                    yield from_message(RunEvent, response.event)

    async def export_run(self, run_id: str) -> AsyncGenerator[RunEvent, None]:
        """Iterates over the complete log with raw tensors, as `import_run` accepts it."""
        request = request_of(history.ExportRunRequest, run_id=run_id)
        async with aclosing(self._transfer(HistoryServiceStub, "ExportRun", request)) as found:
            async for response in found:
                yield from_message(RunEvent, response.event)

    async def trajectory(
        self,
        run_id: str,
        max_points: int = 0,
        view: View = View.FULL,
        *,
        first_step: int = 0,
        last_step: int = 0,
        thinning: Thinning = Thinning.EVEN,
    ) -> Trajectory:
        """Effective snapshots in order of step, of a range of steps or of all, thinned; with
        parameters only if every snapshot has them.

        Args:
            run_id: Id of the run.
            max_points: Maximum number of snapshots; 0: all.
            view: Whether raw parameters are included.
            first_step: Lowest step; 0: no limit.
            last_step: Highest step, inclusive; 0: no limit.
            thinning: Which snapshots are left out if there are more than `max_points`.

        Raises:
            InvalidInput: A number is negative, the range is empty, or MIN_MAX has no `max_points`.
        """
        query = check(TrajectoryQuery(max_points, view, first_step, last_step, thinning))
        request = fill(request_of(history.GetTrajectoryRequest, run_id=run_id), query)
        snapshots: list[Snapshot] = []
        stages: list[int] = []
        pieces: list[np.ndarray] = []
        async for response in self._transfer(HistoryServiceStub, "GetTrajectory", request):
            snapshots += [from_message(Snapshot, item) for item in response.snapshots]
            stages += [response.stage] * len(response.snapshots)
            if response.HasField("parameters"):
                pieces.append(tensors.decode(response.parameters))
                if len(pieces[-1]) != len(response.snapshots):
                    raise to_internal(
                        f"{len(pieces[-1])} rows of parameters for {len(response.snapshots)} "
                        "snapshots"
                    )
        is_whole = sum(map(len, pieces)) == len(snapshots)
        is_whole = is_whole and len({piece.shape[1:] for piece in pieces}) == 1
        parameters = np.concatenate(pieces) if is_whole else None
        return Trajectory(run_id, tuple(snapshots), tuple(stages), parameters)

    async def list_candidates(
        self,
        run_id: str,
        candidate_filter: CandidateFilter | None = None,
        page_size: int = 50,
        page_token: str = "",
    ) -> CandidatePage:
        """Lists effective candidates, by default best first, one page per call."""
        request = request_of(
            history.ListCandidatesRequest,
            run_id=run_id,
            filter=to_message(check(candidate_filter or CandidateFilter(), "filter")),
            page_size=check_page_size(page_size),
            page_token=page_token,
        )
        return from_message(CandidatePage, await self._history("ListCandidates", request))

    async def iter_candidates(
        self, run_id: str, candidate_filter: CandidateFilter | None = None
    ) -> AsyncGenerator[Candidate, None]:
        """Iterates over all effective candidates that match a filter, page by page."""
        async for candidate in every_item_async(
            lambda token: self.list_candidates(run_id, candidate_filter, MAX_PAGE, token)
        ):
            yield candidate

    async def compare_runs(self, run_ids: Sequence[str]) -> RunComparison:
        """Compares runs, with the fields in which their specs differ."""
        request = request_of(history.CompareRunsRequest, run_ids=run_ids)
        return from_message(RunComparison, await self._history("CompareRuns", request))

    # -- artifacts ----------------------------------------------------------------------------

    async def artifacts(self, run_id: str) -> tuple[Artifact, ...]:
        """Lists the artifacts of a run by name."""
        request = request_of(history.ListArtifactsRequest, run_id=run_id)
        response = await self._history("ListArtifacts", request)
        return tuple(from_message(Artifact, item) for item in response.artifacts)

    async def read_artifact(self, run_id: str, name: str) -> bytes:
        """Returns the bytes of an artifact.

        Raises:
            NotFound: No such artifact (reason ARTIFACT_NOT_FOUND).
            DataLoss: The bytes do not match their SHA-256 digest, or are more than announced.
        """
        return b"".join([chunk async for chunk in self._chunks(run_id, name)])

    async def download(
        self, run_id: str, name: str, path: str | os.PathLike[str], max_bytes: int | None = None
    ) -> Path:
        """Downloads an artifact to a temporary file, verifies it and renames it to its target.

        Args:
            run_id: The run.
            name: Name of the artifact, for example ``prompt.safetensors``.
            path: Target file; in a folder, the file gets the artifact's name.
            max_bytes: Maximum size; None: what the server says in the first message.

        Returns:
            Path of the file.

        Raises:
            NotFound: No such artifact (reason ARTIFACT_NOT_FOUND).
            DataLoss: The bytes do not match their SHA-256 digest, or are more than that.
            OSError: The file cannot be written.
        """
        place = expanded(Path(path), "path")
        target = place / Path(name).name if place.is_dir() else place
        with replacing(target) as file:
            async for chunk in self._chunks(run_id, name, max_bytes):
                file.write(chunk)
        return target

    async def _chunks(
        self, run_id: str, name: str, max_bytes: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Yields an artifact's bytes; raises at the end if they do not match their digest, and
        before if they do not end.

        A checkpoint has neither size nor digest here; the server has verified it.
        """
        request = request_of(trainer.DownloadArtifactRequest, run_id=run_id, name=name)
        digest, expected, size = hashlib.sha256(), None, 0
        limit = _MAX_FILE_BYTES if max_bytes is None else max_bytes
        call = self._transfer(TrainerServiceStub, "DownloadArtifact", request)
        async with aclosing(call) as responses:
            async for response in responses:
                if response.HasField("artifact"):
                    expected = response.artifact.sha256
                    limit = min(limit, response.artifact.size_bytes)
                size += len(response.chunk)
                if size > limit:
                    raise DataLoss(f"{name} of run {run_id} has more than {limit} bytes")
                digest.update(response.chunk)
                yield response.chunk
        if expected is not None and digest.hexdigest() != expected:
            raise DataLoss(f"the bytes of {name} of run {run_id} do not match their digest")


def _is_known(event: event_pb2.RunEvent) -> bool:
    """Whether an event is of a kind that this version knows; a trainer may be newer."""
    return event.WhichOneof("payload") is not None


def _is_end(event: RunEvent) -> bool:
    payload = event.payload
    return isinstance(payload, (Finished, StateChanged)) and payload.state.is_final


def _lost(target: str, run_id: str, seen: int, why: str) -> Unavailable:
    return Unavailable(
        f"lost the connection to {target} while watching {run_id} and could not reconnect ({why}); "
        f"the last event seen is {seen}: watch again with after_seq={seen}",
        metadata={"last_seq": str(seen)},
    )


def _described(file: Path, limit: int) -> DataUpload:
    """A file as it is announced; one above the limit, if there is one, is not read."""
    with file.open("rb") as content:
        if limit:
            check_size(os.fstat(content.fileno()).st_size, limit)
        digest = hashlib.file_digest(content, "sha256").hexdigest()
        return DataUpload(file.suffix.lower(), content.tell(), digest)


def _upload_requests(file: Path, upload: DataUpload) -> Iterator[trainer.UploadDataRequest]:
    first = trainer.UploadDataRequest()
    fill(first.upload, upload)
    yield first
    with file.open("rb") as content:
        while chunk := content.read(_CHUNK_BYTES):
            yield trainer.UploadDataRequest(chunk=chunk)


def _import_requests(events: Iterable[RunEvent] | AsyncIterable[RunEvent]) -> Any:
    """Converts events to requests; stays asynchronous if `events` is."""
    if isinstance(events, AsyncIterable):
        return (_import_request(event) async for event in events)
    return map(_import_request, events)


def _import_request(event: RunEvent) -> trainer.ImportRunRequest:
    request = trainer.ImportRunRequest()
    fill(request.event, event)
    return request
