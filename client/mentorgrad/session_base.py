"""Base class of the asyncio and the blocking session with a mentor."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mentorgrad.domain.advice import (
    Accepted,
    AdviseOpen,
    Answer,
    Batch,
    Outcomes,
    ProposalOutcome,
    ProposalRequest,
    Wants,
)
from mentorgrad.domain.run import Candidate, CandidateSource, Run, RunState, Score, Snapshot
from mentorgrad.domain.spec import Policy
from mentorgrad.errors import InvalidInput, PreconditionFailed
from mentorgrad.field_limits import check
from mentorgrad.numbers import integer_of, real_of
from mentorgrad.run_recorder import MAX_ROW_BYTES, RunRecorder
from mentorgrad.session_log import SessionLog
from mentorgrad.session_options import Recording, RunImporter
from mentorgrad.wire import tracing
from mentorgrad.wire.advise_stream import AdviseStream, Patience
from mentorgrad.wire.connection import Connection

_CLOSED = "SESSION_CLOSED"
"""Error reason of methods that need an open session."""
_SEND_SECONDS = 0.25
_SEND_BYTES = 256 * 1024
"""Snapshots are buffered up to this time and this size, and sent as one batch."""


class SessionBase:
    """Methods common to both sessions, and all that do not wait. Not thread-safe.

    Args:
        connect: Creates a connection to the mentor.
        opened: Opening request of the session.
        recorded: How the session is recorded; None: not recorded.
        patience: Timeouts of the session.

    Raises:
        InvalidInput: The opening request or the recording is invalid. An unusable file, or a
            rejection by the mentor, is raised on entering.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        opened: AdviseOpen,
        recorded: Recording | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.opened = check(opened)
        """Opening request."""
        self.run: Run | None = None
        """The imported run, after closing; None: not imported."""
        self._stream = AdviseStream(connect, opened, patience)
        self._recorded = recorded
        self._log = SessionLog()
        self._shape: tuple[int, ...] | None = None
        self._unsent: list[tuple[Snapshot, np.ndarray | None]] = []
        self._unsent_bytes = 0
        self._unsent_since = 0.0
        self._request_id = ""
        self._is_open = False

    # -- properties ---------------------------------------------------------------------------

    @property
    def target(self) -> str:
        """``HOST:PORT`` of the mentor."""
        return self._stream.target

    @property
    def accepted(self) -> Accepted | None:
        """The mentor's reply to the opening request; None: not connected yet."""
        return self._stream.accepted

    @property
    def wants(self) -> Wants:
        """Data that the strategy wants."""
        return self._stream.accepted.wants if self._stream.accepted is not None else Wants()

    @property
    def stage(self) -> int:
        """Number of the current stage, from 0; each `ask` ends one."""
        return self._log.stage

    @property
    def recording(self) -> Path | None:
        """File of the run's log; None: not recorded."""
        return self._log.recorder.path if self._log.recorder is not None else None

    # -- sending data -------------------------------------------------------------------------

    def push(
        self,
        step: int,
        loss: float,
        *,
        text: str = "",
        parameters: np.ndarray | None = None,
        learning_rate: float = 0.0,
        gradient_norm: float = 0.0,
    ) -> None:
        """Sends the snapshot of one gradient step. Never waits for the mentor.

        Args:
            step: Number of the step, from 1.
            loss: Train loss of the step's batch.
            text: The parameters after the step, projected to words.
            parameters: The parameters after the step, of any shape that is constant over the
                session; converted to float32, recorded, and sent if `wants.parameters`.
            learning_rate: Learning rate of the step.
            gradient_norm: Gradient norm of the step.

        Raises:
            InvalidInput: A value is out of bounds, or the shape of the parameters differs.
            PreconditionFailed: The session is not open.
        """
        self._check_open()
        snapshot = check(Snapshot(step, loss, learning_rate, gradient_norm, text))
        if snapshot.step < 1:
            raise InvalidInput.field("step", f"must be at least 1, not {snapshot.step}")
        row = self._row(parameters)
        before = self._log.stage
        self._log.snapshot(snapshot, row)
        if self._log.stage != before:
            self._send(before)
        if not self._unsent:
            self._unsent_since = time.monotonic()
        wanted = row if self.wants.parameters else None
        self._unsent.append((snapshot, wanted))
        self._unsent_bytes += len(text) + (wanted.nbytes if wanted is not None else 0)
        is_late = time.monotonic() - self._unsent_since >= _SEND_SECONDS
        if is_late or self._unsent_bytes >= _SEND_BYTES:
            self._send(self._log.stage)

    def candidate(
        self,
        text: str,
        loss: float,
        *,
        accuracy: float | None = None,
        rows: int = 0,
        source: CandidateSource = CandidateSource.PROJECTION,
        candidate_id: str = "",
        toward_text: str = "",
        parents: Sequence[str] = (),
    ) -> Candidate:
        """Sends a scored candidate. Never waits for the mentor.

        Args:
            text: The candidate in words.
            loss: Selection loss.
            accuracy: Selection accuracy; None for functions.
            rows: Number of rows of the selection split.
            source: What was scored: the words themselves (``projection``), the soft parameters
                whose nearest words these are (``snapshot``), or a ``proposal``.
            candidate_id: Id; for a proposal its proposal_id. By default a new id.
            toward_text: Words that it moved towards since the start of the stage.
            parents: Ids of the candidates that it was made from.

        Returns:
            The candidate as sent.

        Raises:
            InvalidInput: A value is out of bounds.
            PreconditionFailed: The session is not open.
        """
        self._check_open()
        candidate = Candidate(
            candidate_id=candidate_id or self._log.name(source),
            source=source,
            stage=self._log.stage,
            step=self._log.step,
            text=text,
            toward_text=toward_text,
            parents=tuple(parents),
            score=Score(loss, accuracy, rows),
        )
        batch = check(Batch(stage=candidate.stage, candidates=(candidate,)))
        (candidate,) = batch.candidates
        self._send(self._log.stage)
        self._stream.outbox.tell(batch)
        self._log.candidate(candidate)
        return candidate

    def report(
        self,
        outcomes: Sequence[ProposalOutcome],
        *,
        policy: Policy = Policy.BEST_OF,
        probe_steps: int = 0,
        incumbent_probe_loss: float | None = None,
        reason: str = "",
    ) -> None:
        """Reports the outcomes of the last answer's proposals. Never waits for the mentor.

        Args:
            outcomes: One per proposal; ``applied`` for the one that the loop continues from.
            policy: Restart policy, for the record.
            probe_steps: Total gradient steps of the race between candidates, for the record.
            incumbent_probe_loss: Selection loss of the incumbent after its probe steps, for the
                record.
            reason: One-line reason of the decision, for the record.

        Raises:
            InvalidInput: A value is out of bounds.
            PreconditionFailed: The session is not open, or `ask` was not called yet.
        """
        self._check_open()
        if not self._request_id:
            raise PreconditionFailed("there is nothing to report: ask() was not called yet")
        reported = check(Outcomes(self._request_id, tuple(outcomes)))
        steps = integer_of("probe_steps", probe_steps)
        if incumbent_probe_loss is not None:
            incumbent_probe_loss = real_of("incumbent_probe_loss", incumbent_probe_loss)
        self._stream.outbox.tell(reported)
        self._log.decided(reported.outcomes, policy, steps, incumbent_probe_loss, reason)

    # -- opening, asking and closing ----------------------------------------------------------

    async def _open(self) -> None:
        if self._stream.outbox.is_closed:
            raise PreconditionFailed("the session was closed; open a new one", reason=_CLOSED)
        await self._stream.start()
        try:
            await self._stream.settled()
            if self._recorded is not None:
                self._log = SessionLog(RunRecorder(self._recorded.spec, self._recorded.file))
        except BaseException:
            await self._stream.close()
            raise
        self._is_open = True

    async def _ask(
        self,
        count: int = 8,
        *,
        timeout: float = 60.0,
        seed: int | None = None,
        incumbent_id: str = "",
    ) -> Answer:
        """Asks for proposals, and ends the stage.

        Args:
            count: Number of proposals.
            timeout: Time to wait, seconds.
            seed: Random seed of the answer; by default derived from the session's seed and the
                stage.
            incumbent_id: Candidate that the loop would continue from; by default the latest.

        Returns:
            Proposals, or a typed status without proposals; mentor failures never raise.

        Raises:
            InvalidInput: An argument is out of bounds.
            PreconditionFailed: The session is not open.
        """
        self._check_open()
        seconds: Any = timeout  # `check` makes it a timedelta
        self._send(self._log.stage)
        stage = self._log.asked()
        request = ProposalRequest(
            request_id=f"s{stage}",
            stage=stage,
            incumbent_id=incumbent_id or self._log.incumbent_id,
            count=count,
            seed=(self.opened.seed + stage * 1_000_003) % 2**63 if seed is None else seed,
            timeout=seconds,
            trace_parent=tracing.current().parent,
        )
        request = check(request)
        began = time.monotonic()
        with self._stream.outbox.asking(request) as pending:
            try:
                async with asyncio.timeout(request.timeout.total_seconds()):
                    answer = await asyncio.wrap_future(pending.future)
            except TimeoutError:
                answer = pending.timed_out()
        records = tuple(replace(record, mentor=self.target) for record in answer.records)
        answer = replace(answer, records=records)
        self._request_id = request.request_id
        self._log.answered(answer, time.monotonic() - began)
        return answer

    async def _close(self, error: BaseException | None = None, test: Score | None = None) -> None:
        """Closes the session and imports the recorded run; idempotent.

        Args:
            error: Exception that ended the loop early; the run is recorded as failed, or after an
                interrupt as cancelled.
            test: Score on the test split, for the record.

        Raises:
            MentorgradError: The run could not be imported. A note on the exception gives the
                file of the log. If `error` is given, it gets the note, and nothing is raised.
        """
        if not self._is_open:
            return
        self._is_open = False
        await self._stream.close()
        self._log.finish(*_ending(error), test and check(test, "test"))
        recorder = self._log.recorder
        if recorder is None or self._recorded is None or self._recorded.to is None:
            return
        try:
            self.run = await _import(self._recorded.to, recorder)
        except Exception as trouble:
            kept = f"the log is kept; to import it: mentorgrad runs import {recorder.path}"
            if error is not None:
                error.add_note(f"{trouble}; {kept}")
                return
            trouble.add_note(kept)
            raise
        recorder.imported()

    def cancel(self) -> None:
        """Cancels a pending `ask`, which returns the status ``cancelled``. Thread-safe."""
        self._stream.outbox.cancel()

    # -- internal -----------------------------------------------------------------------------

    def _check_open(self) -> None:
        if not self._is_open:
            raise PreconditionFailed("the session is not open", reason=_CLOSED)

    def _row(self, parameters: np.ndarray | None) -> np.ndarray | None:
        """Copies the parameters as float32, since the loop may modify them, and validates them."""
        if parameters is None:
            return None
        row = _array(parameters)
        if row.nbytes > MAX_ROW_BYTES:
            raise InvalidInput.field(
                "parameters", f"must have at most {MAX_ROW_BYTES} bytes, not {row.nbytes}"
            )
        if self._shape is None:
            self._shape = row.shape
        if row.shape != self._shape:
            raise InvalidInput.field("parameters", f"must have shape {self._shape}, as before")
        return row

    def _send(self, stage: int) -> None:
        """Sends the buffered snapshots as a batch of a stage."""
        unsent, self._unsent, self._unsent_bytes = self._unsent, [], 0
        if not unsent:
            return
        rows = [row for _, row in unsent if row is not None]
        # If `wants` changed meanwhile, only some snapshots have parameters: send none.
        parameters = np.stack(rows) if len(rows) == len(unsent) else None
        snapshots = tuple(snapshot for snapshot, _ in unsent)
        self._stream.outbox.tell(Batch(stage=stage, snapshots=snapshots, parameters=parameters))


def _array(parameters: Any) -> np.ndarray:
    """A copy as float32, also of a tensor that is on a device or in a graph."""
    if hasattr(parameters, "detach"):
        parameters = parameters.detach().float().cpu().numpy()
    try:
        return np.array(parameters, dtype=np.float32)
    except (TypeError, ValueError):
        raise InvalidInput.field("parameters", "must be an array of numbers") from None


def _ending(error: BaseException | None) -> tuple[RunState, str]:
    """Final state and one-line error message of a run that ended by `error`."""
    if error is None:
        return RunState.SUCCEEDED, ""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    if isinstance(error, (KeyboardInterrupt, asyncio.CancelledError)):
        return RunState.CANCELLED, "interrupted"
    return RunState.FAILED, f"{type(error).__name__}: {line}"


async def _import(importer: RunImporter, recorder: RunRecorder) -> Run:
    if inspect.iscoroutinefunction(importer.import_run):
        run: Run = await importer.import_run(recorder.events())
        return run
    imported: Run = await asyncio.to_thread(importer.import_run, recorder.events())  # type: ignore[arg-type]
    return imported
