"""Blocking clients: facades over the asyncio clients, which run on one background event loop."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Self, Unpack

from mentorgrad.async_client import DEFAULT_TARGET, AsyncClient
from mentorgrad.domain.advice import AdviseOpen, Answer, MentorInfo, ProposeInput
from mentorgrad.domain.event import EventKind, RunEvent
from mentorgrad.domain.experiment import Experiment, ExperimentPage, ExperimentSpec, Report
from mentorgrad.domain.query import (
    CandidateFilter,
    CandidatePage,
    EventQuery,
    RunFilter,
    RunOrder,
    RunPage,
    View,
)
from mentorgrad.domain.run import Artifact, Run, Trajectory
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import Unavailable
from mentorgrad.event_loop import BackgroundLoop
from mentorgrad.mentor_client import DEFAULT_MENTOR, AsyncMentorClient
from mentorgrad.responses import CreatedExperiment, CreatedRun, RunComparison, TrainerInfo
from mentorgrad.session import MentorSession
from mentorgrad.session_options import (
    Recording,
    RunImporter,
    SessionOptions,
    open_request,
    recording,
)
from mentorgrad.wire.advise_stream import Patience
from mentorgrad.wire.credentials import Credentials

__all__ = [
    "DEFAULT_MENTOR",
    "DEFAULT_TARGET",
    "AsyncClient",
    "AsyncMentorClient",
    "BackgroundLoop",
    "Client",
    "MentorClient",
]


class _Facade:
    """Base of both clients: holds the background loop, and closes."""

    def __init__(self, inner: AsyncClient | AsyncMentorClient) -> None:
        self._inner = inner
        self._held: BackgroundLoop | None = BackgroundLoop.acquire()

    @property
    def target(self) -> str:
        """``HOST:PORT`` of the service."""
        return self._inner.target

    @property
    def _loop(self) -> BackgroundLoop:
        if self._held is None:
            raise Unavailable(f"the client of {self.target} is closed")
        return self._held

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Cancels calls in progress and closes the connection; idempotent."""
        held, self._held = self._held, None
        if held is not None:
            try:
                held.run(self._inner.close())
            finally:
                held.release()


class Client(_Facade):
    """Blocking client of one trainer service. Methods, values and errors: `AsyncClient`.

    Thread-safe. Must not be used from a coroutine: it blocks.

    Args:
        target: ``HOST:PORT`` of the trainer service.
        timeout: Timeout of a unary call, seconds.
        stream_timeout: Timeout of one transfer, seconds; does not limit `watch`.
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
        self._client = AsyncClient(
            target,
            timeout=timeout,
            stream_timeout=stream_timeout,
            resume_for=resume_for,
            credentials=credentials,
        )
        super().__init__(self._client)

    def create_run(self, spec: RunSpec, request_id: str = "") -> CreatedRun:
        """Creates a run: the server validates the spec and queues the run."""
        return self._loop.run(self._client.create_run(spec, request_id))

    def cancel_run(self, run_id: str) -> Run:
        """Requests cancellation of a run; `watch` shows when it ends."""
        return self._loop.run(self._client.cancel_run(run_id))

    def pause_run(self, run_id: str) -> Run:
        """Requests that a run saves a checkpoint and pauses; `watch` shows when it has."""
        return self._loop.run(self._client.pause_run(run_id))

    def resume_run(self, run_id: str) -> Run:
        """Queues a paused or interrupted run; it continues from its checkpoint."""
        return self._loop.run(self._client.resume_run(run_id))

    def delete_run(self, run_id: str) -> None:
        """Deletes a run that is not active, with all its records."""
        self._loop.run(self._client.delete_run(run_id))

    def import_run(self, events: Iterable[RunEvent]) -> Run:
        """Imports a finished run from its log; the inverse of `export_run`."""
        return self._loop.run(self._client.import_run(events))

    def trainer_info(self) -> TrainerInfo:
        """Describes the trainer: devices, objectives, tasks, optimizers, mentors."""
        return self._loop.run(self._client.trainer_info())

    def watch(
        self,
        run_id: str,
        after_seq: int = 0,
        kinds: Sequence[EventKind] = (),
        view: View = View.SUMMARY,
    ) -> Iterator[RunEvent]:
        """Follows a run's events until it reaches a final state; each event exactly once."""
        return self._loop.iterate(self._client.watch(run_id, after_seq, kinds, view))

    def get_run(self, run_id: str) -> Run:
        """Returns the current state of a run."""
        return self._loop.run(self._client.get_run(run_id))

    def list_runs(
        self,
        run_filter: RunFilter | None = None,
        order: RunOrder = RunOrder.NEWEST,
        page_size: int = 50,
        page_token: str = "",
    ) -> RunPage:
        """Lists runs by filter, one page per call."""
        return self._loop.run(self._client.list_runs(run_filter, order, page_size, page_token))

    def events(self, run_id: str, query: EventQuery | None = None) -> Iterator[RunEvent]:
        """Iterates over the recorded events in order; does not wait for new ones."""
        return self._loop.iterate(self._client.events(run_id, query))

    def export_run(self, run_id: str) -> Iterator[RunEvent]:
        """Iterates over the complete log with raw tensors, as `import_run` accepts it."""
        return self._loop.iterate(self._client.export_run(run_id))

    def trajectory(self, run_id: str, max_points: int = 0, view: View = View.FULL) -> Trajectory:
        """Effective snapshots in order of step, thinned evenly to `max_points` (0: all)."""
        return self._loop.run(self._client.trajectory(run_id, max_points, view))

    def list_candidates(
        self,
        run_id: str,
        candidate_filter: CandidateFilter | None = None,
        page_size: int = 50,
        page_token: str = "",
    ) -> CandidatePage:
        """Lists effective candidates, by default best first, one page per call."""
        return self._loop.run(
            self._client.list_candidates(run_id, candidate_filter, page_size, page_token)
        )

    def compare_runs(self, run_ids: Sequence[str]) -> RunComparison:
        """Compares runs, with the fields in which their specs differ."""
        return self._loop.run(self._client.compare_runs(run_ids))

    def artifacts(self, run_id: str) -> tuple[Artifact, ...]:
        """Lists the artifacts of a run by name."""
        return self._loop.run(self._client.artifacts(run_id))

    def read_artifact(self, run_id: str, name: str) -> bytes:
        """Returns the bytes of an artifact."""
        return self._loop.run(self._client.read_artifact(run_id, name))

    def download(self, run_id: str, name: str, path: str | os.PathLike[str]) -> Path:
        """Downloads an artifact; the file appears only when complete and verified."""
        return self._loop.run(self._client.download(run_id, name, path))

    def create_experiment(self, spec: ExperimentSpec, request_id: str = "") -> CreatedExperiment:
        """Creates an experiment: the server validates and starts it."""
        return self._loop.run(self._client.create_experiment(spec, request_id))

    def get_experiment(self, experiment_id: str) -> Experiment:
        """Returns the current state of an experiment."""
        return self._loop.run(self._client.get_experiment(experiment_id))

    def list_experiments(self, page_size: int = 50, page_token: str = "") -> ExperimentPage:
        """Lists experiments, newest first, one page per call."""
        return self._loop.run(self._client.list_experiments(page_size, page_token))

    def cancel_experiment(self, experiment_id: str) -> Experiment:
        """Cancels an experiment and its unfinished runs."""
        return self._loop.run(self._client.cancel_experiment(experiment_id))

    def get_report(self, experiment_id: str) -> Report:
        """Returns statistics over the runs finished so far."""
        return self._loop.run(self._client.get_report(experiment_id))


class MentorClient(_Facade):
    """Blocking client of one mentor service. Methods, values and errors: `AsyncMentorClient`.

    Args:
        target: ``HOST:PORT`` of the mentor service.
        timeout: Timeout of a call, seconds; a request for proposals has its own.
        credentials: TLS certificates and token; None: plaintext without a token.
    """

    def __init__(
        self,
        target: str = DEFAULT_MENTOR,
        *,
        timeout: float = 30.0,
        credentials: Credentials | None = None,
    ) -> None:
        self._client = AsyncMentorClient(target, timeout=timeout, credentials=credentials)
        super().__init__(self._client)

    def propose(self, question: ProposeInput) -> Answer:
        """Asks for proposals without a session; answers with proposals or a typed status."""
        return self._loop.run(self._client.propose(question))

    def info(self) -> MentorInfo:
        """Describes the mentor: model, backend, strategies and limits."""
        return self._loop.run(self._client.info())

    def session(
        self,
        task: str,
        *,
        record_to: RunImporter | None = None,
        spec: RunSpec | None = None,
        record_file: Path | None = None,
        patience: Patience | None = None,
        **options: Unpack[SessionOptions],
    ) -> MentorSession:
        """A session that optimises a soft prompt; use it as a context manager."""
        opened = open_request(task, **options)
        recorded = recording(record_to, opened, spec, record_file)
        return self.open_session(opened, recorded, patience)

    def open_session(
        self,
        opened: AdviseOpen,
        recorded: Recording | None = None,
        patience: Patience | None = None,
    ) -> MentorSession:
        """A session from an explicit `AdviseOpen`; use it as a context manager. See `session`."""
        return MentorSession(self._client.connect, opened, recorded, patience)
