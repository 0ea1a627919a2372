"""Experiments from a client: begin, look, end, report."""

from __future__ import annotations

import os
from typing import Any

from mentorgrad.domain.experiment import Experiment, ExperimentPage, ExperimentSpec, Report
from mentorgrad.errors import InvalidInput
from mentorgrad.field_limits import check
from mentorgrad.responses import CreatedExperiment
from mentorgrad.v1 import experiment_service_pb2 as pb
from mentorgrad.v1.experiment_service_pb2_grpc import ExperimentServiceStub
from mentorgrad.wire.codec import from_message, to_message
from mentorgrad.wire.connection import ServiceClient

_LONG_SECONDS = 300.0
"""Least time that is given to the checks of an experiment and to its report: both may read much."""


class ExperimentCalls(ServiceClient):
    """The part of `mentorgrad.async_client.AsyncClient` that is about experiments."""

    _timeout: float

    async def create_experiment(
        self, spec: ExperimentSpec, request_id: str = ""
    ) -> CreatedExperiment:
        """Validates an experiment on the server and begins it.

        Args:
            spec: What is compared.
            request_id: The caller's key; the same key with the same spec names the same experiment,
                which goes on where it was. Empty: one is made.

        Raises:
            InvalidInput: The spec is wrong; the violations name its fields.
            AlreadyExists: The request_id names an experiment with another spec.
            PreconditionFailed: A mentor is required and absent.
        """
        key = request_id or f"client-{os.urandom(12).hex()}"
        request = pb.CreateExperimentRequest(request_id=key, spec=to_message(check(spec, "spec")))
        response = await self._experiments("CreateExperiment", request, _LONG_SECONDS)
        return from_message(CreatedExperiment, response)

    async def get_experiment(self, experiment_id: str) -> Experiment:
        """The experiment as it stands.

        Raises:
            NotFound: No such experiment (reason EXPERIMENT_NOT_FOUND); so do all methods that name
                one.
        """
        request = pb.GetExperimentRequest(experiment_id=experiment_id)
        response = await self._experiments("GetExperiment", request)
        return from_message(Experiment, response.experiment)

    async def list_experiments(self, page_size: int = 50, page_token: str = "") -> ExperimentPage:
        """Experiments, newest first, in pages.

        Raises:
            InvalidInput: `page_size` is not within 1..1000, or `page_token` is not of this query.
        """
        if not 1 <= page_size <= 1000:
            raise InvalidInput.field("page_size", f"must be within 1..1000, not {page_size}")
        request = pb.ListExperimentsRequest(page_size=page_size, page_token=page_token)
        return from_message(ExperimentPage, await self._experiments("ListExperiments", request))

    async def cancel_experiment(self, experiment_id: str) -> Experiment:
        """Ends an experiment and those of its runs that have not ended.

        Raises:
            PreconditionFailed: It has ended already (TRANSITION_FORBIDDEN).
        """
        request = pb.CancelExperimentRequest(experiment_id=experiment_id)
        response = await self._experiments("CancelExperiment", request)
        return from_message(Experiment, response.experiment)

    async def get_report(self, experiment_id: str) -> Report:
        """Statistics over the runs that have ended so far."""
        request = pb.GetReportRequest(experiment_id=experiment_id)
        response = await self._experiments("GetReport", request, _LONG_SECONDS)
        return from_message(Report, response.report)

    async def _experiments(self, method: str, request: Any, least: float = 0.0) -> Any:
        stub = self._connection.unary(ExperimentServiceStub)
        seconds = max(self._timeout, least)
        return await self._connection.call(getattr(stub, method), request, seconds)
