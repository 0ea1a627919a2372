"""gRPC servicer of experiments."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import grpc.aio
from structlog.contextvars import bind_contextvars

from mentorgrad.domain.experiment import ExperimentSpec
from mentorgrad.v1 import experiment_service_pb2 as pb
from mentorgrad.v1 import experiment_service_pb2_grpc
from mentorgrad.wire import codec
from run_store.protocols import SeenStore
from service_common.decoding import validated
from trainer_service.control_plane.thread_calls import run_limited
from trainer_service.experiments.experiment_creation import ExperimentCreation
from trainer_service.experiments.reader import ExperimentReader
from trainer_service.experiments.run_submission import cancel_experiment

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["ExperimentService"].full_name
"""Full service name, for health checks and reflection."""

REPORTS_AT_ONCE = 2
"""Maximum concurrent reports; each holds all runs of its experiment in memory."""


class ExperimentServicer(experiment_service_pb2_grpc.ExperimentServiceServicer):
    """Creates, reads and cancels experiments; store calls run in threads.

    Args:
        seen: Returns the part of the run store that the present caller sees.
        creation: Creates experiments.
        wake: Wakes the coordinator and the scheduler.
    """

    def __init__(
        self,
        seen: SeenStore,
        creation: ExperimentCreation,
        wake: Callable[[], None],
    ) -> None:
        self._seen = seen
        self._creation = creation
        self._wake = wake
        self._reporting = asyncio.Semaphore(REPORTS_AT_ONCE)

    async def CreateExperiment(  # noqa: N802
        self, request: pb.CreateExperimentRequest, context: grpc.aio.ServicerContext
    ) -> pb.CreateExperimentResponse:
        """Validates an experiment and stores it; the coordinator then executes it."""
        spec = await validated(ExperimentSpec, request.spec, "spec")
        made = await self._creation.create(self._seen(), spec, request.request_id)
        bind_contextvars(experiment_id=made.experiment.experiment_id)
        return codec.fill(pb.CreateExperimentResponse(), made)

    async def GetExperiment(  # noqa: N802
        self, request: pb.GetExperimentRequest, context: grpc.aio.ServicerContext
    ) -> pb.GetExperimentResponse:
        """Returns an experiment with its progress."""
        reader = ExperimentReader(self._seen())
        found = await asyncio.to_thread(reader.get_experiment, request.experiment_id)
        return pb.GetExperimentResponse(experiment=codec.to_message(found))

    async def ListExperiments(  # noqa: N802
        self, request: pb.ListExperimentsRequest, context: grpc.aio.ServicerContext
    ) -> pb.ListExperimentsResponse:
        """Lists experiments, newest first, in pages."""
        reader = ExperimentReader(self._seen())
        page = await asyncio.to_thread(
            reader.list_experiments, request.page_size or 50, request.page_token
        )
        return codec.fill(pb.ListExperimentsResponse(), page)

    async def CancelExperiment(  # noqa: N802
        self, request: pb.CancelExperimentRequest, context: grpc.aio.ServicerContext
    ) -> pb.CancelExperimentResponse:
        """Cancels an experiment, then its runs."""

        cancelled = await asyncio.to_thread(cancel_experiment, self._seen(), request.experiment_id)
        self._wake()
        return pb.CancelExperimentResponse(experiment=codec.to_message(cancelled))

    async def GetReport(  # noqa: N802
        self, request: pb.GetReportRequest, context: grpc.aio.ServicerContext
    ) -> pb.GetReportResponse:
        """Computes statistics over the runs that have ended so far."""

        reader = ExperimentReader(self._seen())

        def answer() -> pb.GetReportResponse:
            made = reader.get_report(request.experiment_id)
            return pb.GetReportResponse(report=codec.to_message(made))

        return await run_limited(answer, self._reporting)
