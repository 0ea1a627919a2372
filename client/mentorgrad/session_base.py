"""What both kinds of session with a mentor share."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

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
from mentorgrad.run_recorder import MAX_ROW_BYTES, RunRecorder
from mentorgrad.session_log import SessionLog
from mentorgrad.session_options import Recording, RunImporter
from mentorgrad.wire import tracing
from mentorgrad.wire.advise_stream import AdviseStream, Patience
from mentorgrad.wire.connection import Connection

_CLOSED = "SESSION_CLOSED"
"""Reason of what needs an open session."""
_SEND_SECONDS = 0.25
_SEND_BYTES = 256 * 1024
"""What is pushed waits at most for so long, or until it is so much, to be sent together."""


class SessionBase:
    """What both kinds of session share: all that waits for nothing. For one thread at a time.

    Args:
        connect: Makes a connection to the mentor.
        opened: What the session is opened with.
        recorded: Where to and as what it is recorded; None: not at all.
        patience: How long the parts of a session may take.

    Raises:
        InvalidInput: Something is wrong with what it would be opened with or recorded as; for the
            file and what the mentor finds wrong, on entering.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        opened: AdviseOpen,
        recorded: Recording | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.opened = check(opened)
        """What it was opened with."""
        self.run: Run | None = None
        """The recorded run, after closing."""
        self._stream = AdviseStream(connect, opened, patience)
        self._recorded = recorded
        self._log = SessionLog()
        self._shape: tuple[int, ...] | None = None
        self._unsent: list[tuple[Snapshot, np.ndarray | None]] = []
        self._unsent_bytes = 0
        self._unsent_since = 0.0
        self._request_id = ""
        self._is_open = False

    # -- what the mentor says of itself -------------------------------------------------------

    @property
    def target(self) -> str:
        """``HOST:PORT`` of the mentor."""
        return self._stream.target

    @property
    def accepted(self) -> Accepted | None:
        """What the mentor said on opening; None: it was not there yet."""
        return self._stream.accepted

    @property
    def wants(self) -> Wants:
        """What the strategy wants to be sent."""
        return self._stream.accepted.wants if self._stream.accepted is not None else Wants()

    @property
    def stage(self) -> int:
        """Number of the present stage, from 0; each question ends one."""
        return self._log.stage

    @property
    def recording(self) -> Path | None:
        """The file of the log so far."""
        return self._log.recorder.path if self._log.recorder is not None else None

    # -- telling ------------------------------------------------------------------------------

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
        """Tells of one gradient step. Never waits for the mentor.

        Args:
            step: Number of the step, from 1.
            loss: Of the step's batch, on *train*.
            text: The parameters in words, after the step.
            parameters: The parameters after the step, of one shape over the session; recorded, and
                sent where `wants` says so.
            learning_rate: Of the step.
            gradient_norm: Of the step.

        Raises:
            InvalidInput: A value is out of bounds, or the parameters are of another shape.
            PreconditionFailed: The session is not open.
        """
        self._check_open()
        if step < 1:
            raise InvalidInput.field("step", f"must be at least 1, not {step}")
        snapshot = Snapshot(step, float(loss), learning_rate, gradient_norm, text)
        check(snapshot)
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
        """Tells of a parameter that was scored. Never waits for the mentor.

        Args:
            text: The parameter in words.
            loss: On *selection*.
            accuracy: On *selection*, where there are classes.
            rows: Rows of that split.
            source: Whether the score is that of the words (``projection``), of the soft parameters
                whose nearest words they are (``snapshot``), or of a ``proposal``.
            candidate_id: A name; for a proposal its id. By default a new one.
            toward_text: Words that it moved towards since the stage began.
            parents: Candidates that it was made from.

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
            score=Score(float(loss), accuracy, rows),
        )
        self._send(self._log.stage)
        self._stream.outbox.tell(check(Batch(stage=candidate.stage, candidates=(candidate,))))
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
        """Tells what became of the proposals of the last answer. Never waits for the mentor.

        Args:
            outcomes: One for each proposal; ``applied`` for the one that the loop goes on from.
            policy: How that was decided, for the record.
            probe_steps: Gradient steps taken to decide it, by all together; for the record.
            incumbent_probe_loss: The selection loss of what the loop would have gone on from, after
                its share of them; for the record.
            reason: Why, in one line, for the record.

        Raises:
            InvalidInput: A value is out of bounds.
            PreconditionFailed: The session is not open, or nothing was asked yet.
        """
        self._check_open()
        if not self._request_id:
            raise PreconditionFailed("there is nothing to report: nothing was asked yet")
        self._stream.outbox.tell(check(Outcomes(self._request_id, tuple(outcomes))))
        self._log.decided(outcomes, policy, probe_steps, incumbent_probe_loss, reason)

    # -- what waits, on an event loop ---------------------------------------------------------

    async def _open(self) -> None:
        if self._stream.outbox.is_closed:
            raise PreconditionFailed("the session was closed; open another", reason=_CLOSED)
        await self._stream.start()
        try:
            await self._stream.settled()
            if self._recorded is not None:
                self._log = SessionLog(RunRecorder(self._recorded.spec, self._recorded.file))
        except BaseException:
            await self._stream.close()
            raise
        self._is_open = True

    async def _ask(self, count: int, timeout: float, seed: int | None, incumbent_id: str) -> Answer:
        self._check_open()
        self._send(self._log.stage)
        stage = self._log.asked()
        request = ProposalRequest(
            request_id=f"s{stage}",
            stage=stage,
            incumbent_id=incumbent_id or self._log.incumbent_id,
            count=count,
            seed=(self.opened.seed + stage * 1_000_003) % 2**63 if seed is None else seed,
            timeout=timedelta(seconds=timeout),
            trace_parent=tracing.current().parent,
        )
        check(request)
        began = time.monotonic()
        with self._stream.outbox.asking(request) as pending:
            try:
                async with asyncio.timeout(timeout):
                    answer = await asyncio.wrap_future(pending.future)
            except TimeoutError:
                answer = pending.timed_out()
        records = tuple(replace(record, mentor=self.target) for record in answer.records)
        answer = replace(answer, records=records)
        self._request_id = request.request_id
        self._log.answered(answer, time.monotonic() - began)
        return answer

    async def _close(self, error: BaseException | None, test: Score | None) -> None:
        if not self._is_open:
            return
        self._is_open = False
        await self._stream.close()
        self._log.finish(*_ending(error), test)
        recorder = self._log.recorder
        if recorder is None or self._recorded is None:
            return
        try:
            self.run = await _import(self._recorded.to, recorder)
        except Exception as trouble:
            kept = f"the run is kept: mentorgrad runs import {recorder.path}"
            if error is not None:
                error.add_note(f"{trouble}; {kept}")
                return
            trouble.add_note(kept)
            raise
        recorder.imported()

    def cancel(self) -> None:
        """Ends a pending `ask`, with status ``cancelled``; from any thread."""
        self._stream.outbox.cancel()

    # -- within -------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if not self._is_open:
            raise PreconditionFailed("the session is not open", reason=_CLOSED)

    def _row(self, parameters: np.ndarray | None) -> np.ndarray | None:
        """A copy that the loop will not write to."""
        if parameters is None:
            return None
        row = np.array(parameters, dtype=np.float32)
        if row.nbytes > MAX_ROW_BYTES:
            raise InvalidInput.field(
                "parameters", f"must have at most {MAX_ROW_BYTES} bytes, not {row.nbytes}"
            )
        if self._shape is None:
            self._shape = row.shape
        if row.shape != self._shape:
            raise InvalidInput.field("parameters", f"must be of shape {self._shape} as before")
        return row

    def _send(self, stage: int) -> None:
        """Lines up what was pushed in a stage."""
        unsent, self._unsent, self._unsent_bytes = self._unsent, [], 0
        if not unsent:
            return
        rows = [row for _, row in unsent if row is not None]
        # A session that opens meanwhile may begin to want parameters: half of them are no use.
        parameters = np.stack(rows) if len(rows) == len(unsent) else None
        snapshots = tuple(snapshot for snapshot, _ in unsent)
        self._stream.outbox.tell(Batch(stage=stage, snapshots=snapshots, parameters=parameters))


def _ending(error: BaseException | None) -> tuple[RunState, str]:
    """The final state of a loop that ended by `error`, and its line for the record."""
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
