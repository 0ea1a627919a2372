"""The clients for code without an event loop: facades over one background loop of the process."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
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
    """What both facades share: holding the loop, and closing."""

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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends what is under way and closes the connection; a second time is a no-op."""
        held, self._held = self._held, None
        if held is not None:
            try:
                held.run(self._inner.close())
            finally:
                held.release()


class Client(_Facade):
    """A client of one trainer service. Methods, values and errors are those of `AsyncClient`.

    May be used from several threads at once, but not from a coroutine: it blocks.

    Args:
        target: ``HOST:PORT`` of the trainer service.
        timeout: Seconds that a unary call may take.
        stream_timeout: Seconds that one transfer may take; watching is not limited by it.
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
        self._client = AsyncClient(
            target,
            timeout=timeout,
            stream_timeout=stream_timeout,
            resume_for=resume_for,
            credentials=credentials,
        )
        super().__init__(self._client)

    def create_run(self, spec: RunSpec, request_id: str = "") -> CreatedRun:
        """Validates a spec on the server and queues the run."""
        return self._loop.run(self._client.create_run(spec, request_id))

    def cancel_run(self, run_id: str) -> Run:
        """Asks to end a run; watch it to see it end."""
        return self._loop.run(self._client.cancel_run(run_id))

    def pause_run(self, run_id: str) -> Run:
        """Asks to checkpoint a run and free its worker; watch it to see it pause."""
        return self._loop.run(self._client.pause_run(run_id))

    def resume_run(self, run_id: str) -> Run:
        """Queues a paused or interrupted run again; it goes on from its checkpoint."""
        return self._loop.run(self._client.resume_run(run_id))

    def delete_run(self, run_id: str) -> None:
        """Removes a run that is not running, with all that was recorded of it."""
        self._loop.run(self._client.delete_run(run_id))

    def import_run(self, events: Iterable[RunEvent]) -> Run:
        """Records a run that was executed elsewhere; the inverse of `export_run`."""
        return self._loop.run(self._client.import_run(events))

    def trainer_info(self) -> TrainerInfo:
        """What the trainer offers: devices, objectives, tasks, optimizers, mentors."""
        return self._loop.run(self._client.trainer_info())

    def watch(
        self,
        run_id: str,
        after_seq: int = 0,
        kinds: Sequence[EventKind] = (),
        view: View = View.SUMMARY,
    ) -> Iterator[RunEvent]:
        """Events as they are written, until the run reaches a final state; each exactly once."""
        return self._loop.iterate(self._client.watch(run_id, after_seq, kinds, view))

    def get_run(self, run_id: str) -> Run:
        """The run as it stands."""
        return self._loop.run(self._client.get_run(run_id))

    def list_runs(
        self,
        run_filter: RunFilter | None = None,
        order: RunOrder = RunOrder.NEWEST,
        page_size: int = 50,
        page_token: str = "",
    ) -> RunPage:
        """Runs by filter, in pages."""
        return self._loop.run(self._client.list_runs(run_filter, order, page_size, page_token))

    def events(self, run_id: str, query: EventQuery | None = None) -> Iterator[RunEvent]:
        """What is recorded by now, in order, lazily; does not wait for more."""
        return self._loop.iterate(self._client.events(run_id, query))

    def export_run(self, run_id: str) -> Iterator[RunEvent]:
        """The whole log with raw tensors, as `import_run` takes it."""
        return self._loop.iterate(self._client.export_run(run_id))

    def trajectory(self, run_id: str, max_points: int = 0, view: View = View.FULL) -> Trajectory:
        """Effective snapshots in order of step, evenly thinned to `max_points` (0: all)."""
        return self._loop.run(self._client.trajectory(run_id, max_points, view))

    def list_candidates(
        self,
        run_id: str,
        candidate_filter: CandidateFilter | None = None,
        page_size: int = 50,
        page_token: str = "",
    ) -> CandidatePage:
        """Effective candidates, best first unless the filter says otherwise, in pages."""
        return self._loop.run(
            self._client.list_candidates(run_id, candidate_filter, page_size, page_token)
        )

    def compare_runs(self, run_ids: Sequence[str]) -> RunComparison:
        """Several runs side by side, with the fields in which their specs differ."""
        return self._loop.run(self._client.compare_runs(run_ids))

    def artifacts(self, run_id: str) -> tuple[Artifact, ...]:
        """The files that a run left, by name."""
        return self._loop.run(self._client.artifacts(run_id))

    def read_artifact(self, run_id: str, name: str) -> bytes:
        """A file's bytes."""
        return self._loop.run(self._client.read_artifact(run_id, name))

    def download(self, run_id: str, name: str, path: str | os.PathLike[str]) -> Path:
        """Writes a file that a run left, aside and renamed when whole and right."""
        return self._loop.run(self._client.download(run_id, name, path))

    def create_experiment(self, spec: ExperimentSpec, request_id: str = "") -> CreatedExperiment:
        """Validates an experiment on the server and begins it."""
        return self._loop.run(self._client.create_experiment(spec, request_id))

    def get_experiment(self, experiment_id: str) -> Experiment:
        """The experiment as it stands."""
        return self._loop.run(self._client.get_experiment(experiment_id))

    def list_experiments(self, page_size: int = 50, page_token: str = "") -> ExperimentPage:
        """Experiments, newest first, in pages."""
        return self._loop.run(self._client.list_experiments(page_size, page_token))

    def cancel_experiment(self, experiment_id: str) -> Experiment:
        """Ends an experiment and those of its runs that have not ended."""
        return self._loop.run(self._client.cancel_experiment(experiment_id))

    def get_report(self, experiment_id: str) -> Report:
        """Statistics over the runs that have ended so far."""
        return self._loop.run(self._client.get_report(experiment_id))


class MentorClient(_Facade):
    """A client of one mentor service. Methods, values and errors are `AsyncMentorClient`'s.

    Args:
        target: ``HOST:PORT`` of the mentor service.
        timeout: Seconds that a call may take, apart from the time a request gives the mentor.
        credentials: Certificates and token; None: plaintext without a token.
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
        """One question with all it needs: a trajectory in, proposals or a typed outcome out."""
        return self._loop.run(self._client.propose(question))

    def info(self) -> MentorInfo:
        """What the mentor is and can do."""
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
        """A session about a soft prompt, to be entered as a context."""
        opened = open_request(task, **options)
        recorded = recording(record_to, opened, spec, record_file)
        return self.open_session(opened, recorded, patience)

    def open_session(
        self,
        opened: AdviseOpen,
        recorded: Recording | None = None,
        patience: Patience | None = None,
    ) -> MentorSession:
        """A session of any kind, to be entered as a context; see `session`."""
        return MentorSession(self._client.connect, opened, recorded, patience)
