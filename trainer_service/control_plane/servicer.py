"""The gRPC servicer of TrainerService: converts messages and calls the control plane."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from typing import Any

import grpc.aio
from structlog.contextvars import bind_contextvars

import mentorgrad
from mentorgrad.domain.annotation import RunUpdate
from mentorgrad.domain.event import RunEvent
from mentorgrad.domain.run import Run
from mentorgrad.domain.spec import CONTROLS, RunSpec
from mentorgrad.responses import MentorEntry, TrainerInfo
from mentorgrad.uploads import DataUpload
from mentorgrad.v1 import trainer_service_pb2 as pb
from mentorgrad.v1 import trainer_service_pb2_grpc
from mentorgrad.wire import codec
from run_store.protocols import RunStore, SeenStore
from service_common.decoding import DecodedRequests, validated
from trainer_service.control_plane import run_lifecycle
from trainer_service.control_plane.importing import Importer
from trainer_service.control_plane.mentor_registry import MentorRegistry
from trainer_service.control_plane.run_creation import RunCreation
from trainer_service.control_plane.uploading import UploadMessages, Uploads
from trainer_service.objectives.function import FUNCTION_BOUNDS
from trainer_service.objectives.table import OBJECTIVES
from trainer_service.optimizers.table import OPTIMIZERS

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["TrainerService"].full_name
"""Full name of the gRPC service, for health checks and reflection."""

CHUNK_BYTES = 256 * 1024
"""Size of the pieces in which an artifact is downloaded."""

_BYTES_AN_ENTRY = 64
"""Bytes of the import limit per list entry of an import. An empty entry takes two bytes on the
wire, and some hundred times as much as an object."""


class TrainerServicer(trainer_service_pb2_grpc.TrainerServiceServicer):
    """Implements TrainerService: validates, queues and controls runs. Calls of the store run in
    threads.

    Args:
        seen: Returns the part of the run store that the present caller sees.
        mentors: The mentors known by name.
        creation: Creates runs.
        wake: Wakes the scheduler after a run was resumed or is to stop.
        importer: Imports runs.
        offered: This trainer's devices, tasks and limits.
        uploads: Takes data files.
    """

    def __init__(
        self,
        seen: SeenStore,
        mentors: MentorRegistry,
        creation: RunCreation,
        wake: Callable[[], None],
        importer: Importer,
        offered: TrainerInfo,
        uploads: Uploads,
    ) -> None:
        self._seen = seen
        self._mentors = mentors
        self._creation = creation
        self._wake = wake
        self._importer = importer
        self._offered = offered
        self._uploads = uploads

    async def CreateRun(  # noqa: N802
        self, request: pb.CreateRunRequest, context: grpc.aio.ServicerContext
    ) -> pb.CreateRunResponse:
        """Validates the whole spec and queues the run."""
        spec = await validated(RunSpec, request.spec, "spec")
        made = await self._creation.create(self._seen(), spec, request.request_id)
        bind_contextvars(run_id=made.run.run_id)
        return codec.fill(pb.CreateRunResponse(), made)

    async def CancelRun(  # noqa: N802
        self, request: pb.CancelRunRequest, context: grpc.aio.ServicerContext
    ) -> pb.CancelRunResponse:
        """Cancels a run."""
        return pb.CancelRunResponse(run=await self._steer(run_lifecycle.cancel, request.run_id))

    async def FinishRun(  # noqa: N802
        self, request: pb.FinishRunRequest, context: grpc.aio.ServicerContext
    ) -> pb.FinishRunResponse:
        """Ends a run early with a result."""
        return pb.FinishRunResponse(run=await self._steer(run_lifecycle.finish, request.run_id))

    async def PauseRun(  # noqa: N802
        self, request: pb.PauseRunRequest, context: grpc.aio.ServicerContext
    ) -> pb.PauseRunResponse:
        """Pauses a run."""
        return pb.PauseRunResponse(run=await self._steer(run_lifecycle.pause, request.run_id))

    async def ResumeRun(  # noqa: N802
        self, request: pb.ResumeRunRequest, context: grpc.aio.ServicerContext
    ) -> pb.ResumeRunResponse:
        """Queues a paused or interrupted run again."""
        resume = partial(run_lifecycle.resume, max_queued=self._offered.queue_limit)
        return pb.ResumeRunResponse(run=await self._steer(resume, request.run_id))

    async def _steer(self, how: Callable[[RunStore, str], Run], run_id: str) -> Any:
        run = await asyncio.to_thread(how, self._seen(), run_id)
        self._wake()
        return codec.to_message(run)

    async def UpdateRun(  # noqa: N802
        self, request: pb.UpdateRunRequest, context: grpc.aio.ServicerContext
    ) -> pb.UpdateRunResponse:
        """Edits the labels and the note of a run."""
        update = await validated(RunUpdate, request.update, "update")
        run = await asyncio.to_thread(
            self._seen().update_run, request.run_id, update, request.request_id
        )
        return pb.UpdateRunResponse(run=codec.to_message(run))

    async def DeleteRun(  # noqa: N802
        self, request: pb.DeleteRunRequest, context: grpc.aio.ServicerContext
    ) -> pb.DeleteRunResponse:
        """Deletes a run."""
        await asyncio.to_thread(self._seen().delete, request.run_id)
        return pb.DeleteRunResponse()

    async def ImportRun(  # noqa: N802
        self,
        request_iterator: DecodedRequests[pb.ImportRunRequest],
        context: grpc.aio.ServicerContext,
    ) -> pb.ImportRunResponse:
        """Imports a run that was executed elsewhere, atomically."""
        room = codec.Room(self._importer.max_bytes // _BYTES_AN_ENTRY, "import")

        def read(raw: bytes, index: int) -> RunEvent:
            event, path = request_iterator.read(raw).event, f"events[{index}]"
            return codec.from_message(RunEvent, event, path, checked=True, whole=room)

        run = await self._importer.take(self._seen(), request_iterator.raw, read)
        return pb.ImportRunResponse(run=codec.to_message(run))

    async def UploadData(  # noqa: N802
        self,
        request_iterator: AsyncIterator[pb.UploadDataRequest],
        context: grpc.aio.ServicerContext,
    ) -> pb.UploadDataResponse:
        """Stores a data file that specs may name."""
        stored = await self._uploads.take(self._seen(), _upload_parts(request_iterator))
        return pb.UploadDataResponse(sha256=stored.sha256, size_bytes=stored.size_bytes)

    async def DownloadArtifact(  # noqa: N802
        self, request: pb.DownloadArtifactRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[pb.DownloadArtifactResponse]:
        """Streams an artifact in chunks; the first message also describes the artifact."""
        store = self._seen()
        known = await asyncio.to_thread(store.artifacts, request.run_id)
        data = await asyncio.to_thread(store.read_artifact, request.run_id, request.name)
        artifact = next((item for item in known if item.name == request.name), None)
        first = codec.to_message(artifact) if artifact is not None else None
        yield pb.DownloadArtifactResponse(artifact=first, chunk=data[:CHUNK_BYTES])
        for start in range(CHUNK_BYTES, len(data), CHUNK_BYTES):
            yield pb.DownloadArtifactResponse(chunk=data[start : start + CHUNK_BYTES])

    async def GetTrainerInfo(  # noqa: N802
        self, request: pb.GetTrainerInfoRequest, context: grpc.aio.ServicerContext
    ) -> pb.GetTrainerInfoResponse:
        """The trainer's devices, objectives, tasks, optimizers, mentors and queue length."""
        states = await self._mentors.states()
        queued = await asyncio.to_thread(self._seen().queued)
        entries = [
            MentorEntry(name, info is not None, info.model if info is not None else "")
            for name, info in states.items()
        ]
        entries += [MentorEntry(control, True, "control") for control in CONTROLS]
        info = replace(
            self._offered,
            version=mentorgrad.__version__,
            objectives=tuple(OBJECTIVES),
            functions=tuple(FUNCTION_BOUNDS),
            optimizers=tuple(OPTIMIZERS),
            mentors=tuple(entries),
            queued_runs=queued,
            upload_limit_bytes=self._uploads.max_bytes,
        )
        return codec.fill(pb.GetTrainerInfoResponse(), info)


async def _upload_parts(requests: AsyncIterator[pb.UploadDataRequest]) -> UploadMessages:
    async for request in requests:
        upload = None
        if request.HasField("upload"):
            upload = await validated(DataUpload, request.upload, "upload")
        yield upload, request.chunk
