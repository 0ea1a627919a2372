"""Client methods for experiments: create, get, list, cancel, report."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from functools import partialmethod

from mentorgrad.domain.experiment import Experiment, ExperimentPage, ExperimentSpec, Report
from mentorgrad.domain.pages import MAX_PAGE, every_item_async
from mentorgrad.field_limits import check
from mentorgrad.responses import CreatedExperiment
from mentorgrad.v1 import experiment_service_pb2 as pb
from mentorgrad.v1.experiment_service_pb2_grpc import ExperimentServiceStub
from mentorgrad.wire.codec import from_message, to_message
from mentorgrad.wire.connection import ServiceClient, check_page_size
from mentorgrad.wire.requests import request_of

_LONG_SECONDS = 300.0
"""Minimum timeout of creating an experiment and of its report: both may read a lot of data."""


class ExperimentCalls(ServiceClient):
    """The experiment methods of `mentorgrad.async_client.AsyncClient`."""

    _experiments = partialmethod(ServiceClient._call, ExperimentServiceStub)

    async def create_experiment(
        self, spec: ExperimentSpec, request_id: str = ""
    ) -> CreatedExperiment:
        """Creates an experiment: the server validates and starts it.

        Args:
            spec: Spec of the experiment.
            request_id: Idempotency key; a repeated key with the same spec returns the same
                experiment, which continues if it was interrupted. Empty: a random key.

        Raises:
            InvalidInput: The spec is invalid; the violations name the fields.
            AlreadyExists: The request_id belongs to an experiment with another spec.
            PreconditionFailed: A required mentor is not available.
        """
        key = request_id or f"client-{os.urandom(12).hex()}"
        request = request_of(
            pb.CreateExperimentRequest, request_id=key, spec=to_message(check(spec, "spec"))
        )
        response = await self._experiments(
            "CreateExperiment", request, max(self._timeout, _LONG_SECONDS)
        )
        return from_message(CreatedExperiment, response)

    async def get_experiment(self, experiment_id: str) -> Experiment:
        """Returns the current state of an experiment.

        Raises:
            NotFound: No such experiment (reason EXPERIMENT_NOT_FOUND); so do all methods with an
                experiment_id.
        """
        request = request_of(pb.GetExperimentRequest, experiment_id=experiment_id)
        response = await self._experiments("GetExperiment", request)
        return from_message(Experiment, response.experiment)

    async def list_experiments(self, page_size: int = 50, page_token: str = "") -> ExperimentPage:
        """Lists experiments, newest first, one page per call.

        Raises:
            InvalidInput: `page_size` is not within 1..1000, or `page_token` is from another query.
        """
        size = check_page_size(page_size)
        request = request_of(pb.ListExperimentsRequest, page_size=size, page_token=page_token)
        return from_message(ExperimentPage, await self._experiments("ListExperiments", request))

    async def iter_experiments(self) -> AsyncGenerator[Experiment, None]:
        """Iterates over all experiments, newest first, page by page."""
        async for experiment in every_item_async(
            lambda token: self.list_experiments(MAX_PAGE, token)
        ):
            yield experiment

    async def cancel_experiment(self, experiment_id: str) -> Experiment:
        """Cancels an experiment and its unfinished runs.

        Raises:
            PreconditionFailed: It has ended already (TRANSITION_FORBIDDEN).
        """
        request = request_of(pb.CancelExperimentRequest, experiment_id=experiment_id)
        response = await self._experiments("CancelExperiment", request)
        return from_message(Experiment, response.experiment)

    async def get_report(self, experiment_id: str) -> Report:
        """Returns statistics over the runs finished so far."""
        request = request_of(pb.GetReportRequest, experiment_id=experiment_id)
        response = await self._experiments("GetReport", request, max(self._timeout, _LONG_SECONDS))
        return from_message(Report, response.report)
