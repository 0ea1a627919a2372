"""gRPC servicer of experiments."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import grpc.aio
from structlog.contextvars import bind_contextvars

from mentorgrad.domain.experiment import Experiment, ExperimentSpec, ExperimentState
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import InvalidInput, Unavailable
from mentorgrad.v1 import experiment_service_pb2 as pb
from mentorgrad.v1 import experiment_service_pb2_grpc
from mentorgrad.wire import codec
from run_store.protocols import RunStore
from trainer_service.control_plane.mentor_registry import MentorRegistry
from trainer_service.control_plane.thread_calls import run_to_completion
from trainer_service.experiments.experiment_checks import check_mentors, check_specs, doubts
from trainer_service.experiments.progress import with_progress
from trainer_service.experiments.reader import ExperimentReader
from trainer_service.experiments.run_submission import cancel_runs

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["ExperimentService"].full_name
"""Full service name, for health checks and reflection."""

REPORTS_AT_ONCE = 2
"""Maximum concurrent reports; each holds all runs of its experiment in memory."""


class ExperimentServicer(experiment_service_pb2_grpc.ExperimentServiceServicer):
    """Creates, reads and cancels experiments; store calls run in threads.

    Args:
        store: Store of experiments and runs.
        mentors: Registry of the configured mentors.
        check_data: Checks the data and models that a run's spec refers to; raises `InvalidInput`.
            May be slow; called in a thread.
        wake: Wakes the coordinator and the scheduler.
    """

    def __init__(
        self,
        store: RunStore,
        mentors: MentorRegistry,
        check_data: Callable[[RunSpec], str],
        wake: Callable[[], None],
    ) -> None:
        self._store = store
        self._reader = ExperimentReader(store)
        self._mentors = mentors
        self._check_data = check_data
        self._wake = wake
        self._checking = asyncio.Semaphore(1)
        self._reporting = asyncio.Semaphore(REPORTS_AT_ONCE)
        self._draining = False

    def drain(self) -> None:
        """Refuses new experiments from now on; other calls still work."""
        self._draining = True

    async def CreateExperiment(  # noqa: N802
        self, request: pb.CreateExperimentRequest, context: grpc.aio.ServicerContext
    ) -> pb.CreateExperimentResponse:
        """Validates an experiment and stores it; the coordinator then executes it."""
        if len(request.request_id) > 200:
            raise InvalidInput.field("request_id", "must have at most 200 characters")
        spec = codec.from_message(ExperimentSpec, request.spec, "spec", checked=True)
        if (
            request.request_id
        ):  # existing experiments are returned without checking data and mentors
            find = partial(self._store.find_experiment, request.request_id, spec)
            known = await asyncio.to_thread(find)
            if known is not None:
                return pb.CreateExperimentResponse(
                    experiment=await self._message(known), created=False
                )
        if self._draining:
            raise Unavailable(
                "this trainer is shutting down and accepts no new experiments; try again later",
                reason="DRAINING",
            )
        await self._checking.acquire()
        await run_to_completion(
            partial(check_specs, spec, self._check_data), self._checking.release
        )
        warnings = [*await check_mentors(spec, self._mentors), *doubts(spec)]
        made, is_new = await asyncio.to_thread(
            self._store.create_experiment, spec, request.request_id
        )
        self._wake()
        bind_contextvars(experiment_id=made.experiment_id)
        return pb.CreateExperimentResponse(
            experiment=await self._message(made), created=is_new, warnings=warnings
        )

    async def GetExperiment(  # noqa: N802
        self, request: pb.GetExperimentRequest, context: grpc.aio.ServicerContext
    ) -> pb.GetExperimentResponse:
        """Returns an experiment with its progress."""
        found = await asyncio.to_thread(self._reader.get_experiment, request.experiment_id)
        return pb.GetExperimentResponse(experiment=codec.to_message(found))

    async def ListExperiments(  # noqa: N802
        self, request: pb.ListExperimentsRequest, context: grpc.aio.ServicerContext
    ) -> pb.ListExperimentsResponse:
        """Lists experiments, newest first, in pages."""
        page = await asyncio.to_thread(
            self._reader.list_experiments, request.page_size or 50, request.page_token
        )
        return pb.ListExperimentsResponse(
            experiments=[codec.to_message(item) for item in page.experiments],
            next_page_token=page.next_page_token,
        )

    async def CancelExperiment(  # noqa: N802
        self, request: pb.CancelExperimentRequest, context: grpc.aio.ServicerContext
    ) -> pb.CancelExperimentResponse:
        """Cancels an experiment, then its runs."""

        def cancel() -> Experiment:
            ended_now = self._store.set_experiment_state(
                request.experiment_id, ExperimentState.CANCELLED, "cancelled on request"
            )
            cancel_runs(self._store, request.experiment_id)
            return ended_now

        cancelled = await asyncio.to_thread(cancel)
        self._wake()
        return pb.CancelExperimentResponse(experiment=await self._message(cancelled))

    async def GetReport(  # noqa: N802
        self, request: pb.GetReportRequest, context: grpc.aio.ServicerContext
    ) -> pb.GetReportResponse:
        """Computes statistics over the runs that have ended so far."""

        def answer() -> pb.GetReportResponse:
            made = self._reader.get_report(request.experiment_id)
            return pb.GetReportResponse(report=codec.to_message(made))

        await self._reporting.acquire()
        return await run_to_completion(answer, self._reporting.release)

    async def _message(self, experiment: Experiment) -> Any:
        told = partial(with_progress, self._store, experiment)
        return codec.to_message(await asyncio.to_thread(told))
