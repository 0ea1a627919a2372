"""What the page's API answers, in JSON: reads of the trainer, shared by all tabs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Any

from mentorgrad.domain.event import EventKind, RestartDecided
from mentorgrad.domain.query import EventQuery, Thinning, View
from mentorgrad.domain.run import RunState
from mentorgrad.errors import MentorgradError
from mentorgrad.installed import OURS, installed_version
from ui_service import messages
from ui_service.experiment_reports import ExperimentReports
from ui_service.grouped_curves import GroupedCurves
from ui_service.parameter_paths import ParameterPaths
from ui_service.recorded_events import RecordedEvents
from ui_service.requests import (
    EventsRequest,
    ExperimentsRequest,
    GroupsRequest,
    PointsRequest,
    RunsRequest,
)
from ui_service.services_work import ServicesWork
from ui_service.shared_reads import SharedReads
from ui_service.trainer import Trainer


class Reads:
    """Reads runs for all tabs. For one event loop.

    Args:
        trainer: The trainer.
        server: Its address, ``HOST:PORT``.
        recorded: Reads the logs of runs.
    """

    def __init__(self, trainer: Trainer, server: str, recorded: RecordedEvents) -> None:
        self._trainer, self._server, self._recorded = trainer, server, recorded
        self._shared: SharedReads[bytes] = SharedReads()
        self._reports = ExperimentReports(trainer)
        self._work = ServicesWork(trainer)
        self._paths = ParameterPaths(trainer)
        self._grouped = GroupedCurves(trainer)

    async def services(self, login: bool) -> bytes:
        """The trainer: its address, whether it answers (with the reason, if not), what it offers.

        Args:
            login: Whether the page requires a login.
        """

        async def read() -> bytes:
            found: dict[str, Any] = {"server": self._server, "login": login}
            found["version"] = installed_version(OURS) or ""
            try:
                info = await self._trainer.trainer_info()
            except MentorgradError as error:
                return messages.encoded(
                    found | {"answers": False, "trainer": None} | messages.of_error(error)
                )
            trainer = messages.of_trainer(info)
            return messages.encoded(found | {"answers": True, "trainer": trainer})

        return await self._shared.get("services", read)

    async def work(self) -> bytes:
        """Who executes runs, which wait and why, and how many end."""
        return await self._work.read()

    async def runs(self, request: RunsRequest) -> bytes:
        """A page of runs."""
        run_filter = request.run_filter

        async def read() -> bytes:
            page = await self._trainer.list_runs(
                run_filter, request.order, request.page_size, request.page_token
            )
            return await _written(lambda: messages.of_page(page))

        return await self._shared.get(request, read)

    async def run(self, run_id: str) -> bytes:
        """A run, and why nobody executes it; empty: it does not wait, or only for its turn."""

        async def read() -> bytes:
            run = await self._trainer.get_run(run_id)
            waits = ""
            if run.state in (RunState.QUEUED, RunState.INTERRUPTED):
                waits = await self._work.why_waiting(run)
            found = {"run": messages.of_run(run), "lastSeq": run.last_seq, "waits": waits}
            return messages.encoded(found)

        return await self._shared.get(("run", run_id), read)

    async def compared(self, run_ids: Sequence[str]) -> bytes:
        """Runs, and the fields in which their specs differ."""

        async def read() -> bytes:
            found = await self._trainer.compare_runs(run_ids)
            return await _written(lambda: messages.of_comparison(found))

        return await self._shared.get(("compared", *run_ids), read)

    async def grouped(self, request: GroupsRequest) -> bytes:
        """The curves of runs, averaged by a label."""

        async def read() -> bytes:
            return await self._grouped.read(request.run_ids, request.label, request.curve)

        return await self._shared.get(request, read)

    async def events(self, run_id: str, request: EventsRequest) -> bytes:
        """Events of a run, in SUMMARY view, and the `after` of the next portion.

        A portion may be smaller than asked for, if its events are large.
        """
        found, is_more = await self._recorded.read(
            run_id, request.after, request.limit, request.kinds
        )
        following = b"%d" % found[-1].seq if is_more else b"null"
        events = b",".join(event.json for event in found)
        return b'{"events":[%b],"next":%b}' % (events, following)

    async def trajectory(self, run_id: str, request: PointsRequest) -> bytes:
        """Points of the loss curve of a run."""

        async def read() -> bytes:
            found = await self._trainer.trajectory(
                run_id,
                request.points,
                View.SUMMARY,
                first_step=request.first_step,
                last_step=request.last_step,
                thinning=Thinning.MIN_MAX,  # a peak of the loss stays in sight
            )
            restarted = await self._restarted(run_id)
            return await _written(lambda: messages.of_trajectory(found, restarted))

        return await self._shared.get(("trajectory", run_id, request), read)

    async def artifacts(self, run_id: str) -> bytes:
        """Files of a run."""

        async def read() -> bytes:
            found = await self._trainer.artifacts(run_id)
            return messages.encoded({"artifacts": [messages.of_artifact(item) for item in found]})

        return await self._shared.get(("artifacts", run_id), read)

    async def path(self, run_id: str) -> bytes:
        """The path of a run's parameters, in two dimensions."""

        async def read() -> bytes:
            restarted = await self._restarted(run_id)
            return await self._paths.read(run_id, restarted)

        return await self._shared.get(("path", run_id), read)

    async def experiments(self, request: ExperimentsRequest) -> bytes:
        """A page of experiments."""

        async def read() -> bytes:
            page = await self._trainer.list_experiments(request.page_size, request.page_token)
            return await _written(
                lambda: {
                    "experiments": [messages.of_experiment(item) for item in page.experiments],
                    "nextPageToken": page.next_page_token,
                }
            )

        return await self._shared.get(request, read)

    async def report(self, experiment_id: str, version: str) -> bytes:
        """An experiment and the view of its report, unless it is of a version that the tab has."""
        return await self._reports.read(experiment_id, version)

    async def _restarted(self, run_id: str) -> frozenset[int]:
        """Stages that began with a proposal."""
        query = EventQuery(kinds=(EventKind.RESTART_DECIDED,), effective=True)
        restarted = set()
        async with aclosing(self._trainer.events(run_id, query)) as events:
            async for event in events:
                if isinstance(event.payload, RestartDecided) and event.payload.restarted:
                    restarted.add(event.payload.stage + 1)
        return frozenset(restarted)


async def _written(make: Callable[[], Any]) -> bytes:
    """Writes a large answer in a thread, so that the streams go on meanwhile."""
    return await asyncio.to_thread(lambda: messages.encoded(make()))
