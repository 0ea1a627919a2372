"""The worker process, which executes one run at a time: ``python -m trainer_service.worker``.

For each job, the worker reads a `WorkerJob` from standard input and executes the run, which its
agent has claimed. On standard output it writes ``{"begun": true}``, then ``{"report": ...}`` every
second, and finally ``{"ended": code}``. Then it waits for the next job, which needs no slow imports
again. With ``--warm`` it performs these imports before the first job. The worker exits when
standard input is closed, on a signal, and after a run whose exit code is neither 0 nor 1.

Its agent renews the lease, and tells it on standard input what is wanted of the run (`AgentWord`).
If the agent is silent, the worker does and asks both itself.

On SIGTERM it saves a checkpoint and leaves the run INTERRUPTED. It ignores SIGINT, which is meant
for the service; the service sends SIGTERM. It treats the exit of the service like SIGTERM.

Exit codes:

    0   the run was left in a recorded state: succeeded, paused, cancelled or interrupted
    1   the run failed, and its log says why
    2   the job document is invalid
    3   the run's lease was lost: another worker may own the run
    4   the store cannot be reached or written to
    5   a further process of the run has died: see `trainer_service.process_group`
"""

from __future__ import annotations

import functools
import gc
import json
import os
import signal
import sys
from contextlib import nullcontext
from typing import Any

import structlog

from mentorgrad.domain.event import Created, EventKind
from mentorgrad.domain.query import EventQuery
from mentorgrad.domain.run import Run, RunState
from mentorgrad.errors import Conflict, InvalidInput, MentorgradError, NotFound
from mentorgrad.outside_text import one_line
from mentorgrad.wire import tracing
from run_store.open import open_store
from run_store.protocols import Lease, RunStore
from service_common import logs
from trainer_service.job import (
    EXIT_BAD_JOB,
    EXIT_DEVICE,
    EXIT_FAILED,
    EXIT_NOT_MINE,
    EXIT_OK,
    EXIT_STORE,
    WorkerJob,
)
from trainer_service.objectives.kept_results import KeptResults
from trainer_service.running.stop_control import (
    AGENT_SILENCE,
    LEASE,
    RunMonitor,
    StopKind,
    StopRequest,
)
from trainer_service.worker_inbox import Inbox

log = structlog.get_logger(__name__)


def main(arguments: list[str]) -> int:
    """Reads jobs from standard input and executes them; returns the last job's exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if "--warm" in arguments:
        from trainer_service.run_composition import import_numerics

        import_numerics()
    inbox, known, stores = Inbox(sys.stdin.buffer), KeptResults(), _KeptStore()
    code = EXIT_OK
    while line := inbox.next_job():
        stopper, modules = StopRequest(), len(sys.modules)
        signal.signal(signal.SIGTERM, lambda *_, s=stopper: s.note(StopKind.INTERRUPT))
        code = _do(line, stopper, known, inbox, stores)
        if code not in (EXIT_OK, EXIT_FAILED) or stopper.is_leaving():
            break
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if code == EXIT_FAILED:
            known.limit(0)  # it may have lacked the memory; the next run sets its own limit
        _tidy(imported=len(sys.modules) > modules)
        _say({"ended": code})
    stores.close()
    return code


class _KeptStore:
    """The open store, kept for the next run: to open one takes longer than a short run."""

    def __init__(self) -> None:
        self._url = ""
        self._store: RunStore | None = None

    def open(self, url: str) -> RunStore:
        """The store; raises what `open_store` does."""
        if self._store is None or url != self._url:
            self.close()
            self._url, self._store = url, open_store(url, migrate=False)
        return self._store

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None


def _do(
    line: bytes, stopper: StopRequest, known: KeptResults, inbox: Inbox, stores: _KeptStore
) -> int:
    """Executes one job; returns its exit code."""
    try:
        job = WorkerJob.from_line(line)
    except InvalidInput as error:
        sys.stderr.write(f"worker: {one_line(error.message)}\n")
        return EXIT_BAD_JOB
    logs.configure(job.log_level, job.log_format, run_id=job.run_id)
    if missing := tracing.configure("mentorgrad-worker"):
        log.warning("no_traces", reason=missing)
    try:
        store = stores.open(job.store)
    except MentorgradError as error:
        log.error("store_unreachable", error=error.message)
        return EXIT_STORE
    try:
        return work(job, store, stopper, known, inbox)
    finally:
        tracing.flush()


@functools.cache
def _set_libraries_apart() -> None:
    """Has the collector leave out, from the first run on, what the imports have made. Once: to ask
    whether it is so counts all of these objects, which takes longer than a short run."""
    gc.freeze()


def _tidy(imported: bool) -> None:
    """Frees the memory of the ended run, GPU memory included, for other processes; texts' keys and
    values are kept for the next run, within their limit. What a run has imported is not looked at
    again: with a language model's libraries, each look would take half a second."""
    gc.collect()
    if imported:
        gc.freeze()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def work(
    job: WorkerJob,
    store: RunStore,
    stopper: StopRequest,
    known: KeptResults,
    inbox: Inbox | None = None,
) -> int:
    """Executes the run; returns the exit code. Without an inbox, it asks the store what is wanted
    of the run."""
    try:
        if inbox is None:  # otherwise the agent renews the lease
            store.heartbeat(job.run_id, job.attempt, LEASE)
        run = store.get_run(job.run_id)
        if (run.state, run.attempt) != (RunState.RUNNING, job.attempt):
            raise Conflict(f"the run is {run.state.value}, in attempt {run.attempt}")
        lease = Lease(run.run_id, job.attempt, run.last_seq)
    except (NotFound, Conflict) as error:
        log.info("lease_lost", error=error.message)
        return EXIT_NOT_MINE
    except MentorgradError as error:
        log.error("store_unreachable", error=error.message)
        return EXIT_STORE
    parent = _trace_parent(store, job.run_id)
    facts: tracing.Attributes = {
        "run_id": job.run_id,
        "attempt": lease.attempt,
        "device": ",".join((job.device, *job.members)),
    }
    with tracing.span("run", parent=parent, facts=facts) as span:
        code = _execute(job, store, stopper, known, run, lease, inbox)
        span.note(exit_code=code)
    return code


def _trace_parent(store: RunStore, run_id: str) -> str:
    """Trace context of the call that created the run; empty if it was not traced."""
    if not tracing.is_on():
        return ""
    try:
        query = EventQuery(kinds=(EventKind.CREATED,))
        created = [event.payload for event in store.events(run_id, query)]
    except MentorgradError:  # tracing must not fail a run
        return ""
    return next((item.trace_parent for item in created if isinstance(item, Created)), "")


def _execute(
    job: WorkerJob,
    store: RunStore,
    stopper: StopRequest,
    known: KeptResults,
    run: Run,
    lease: Lease,
    inbox: Inbox | None,
) -> int:
    """Executes the claimed run; returns the exit code."""
    from trainer_service.run_composition import run_parts
    from trainer_service.running.execution import execute
    from trainer_service.running.recorder import StoreOutagePolicy
    from trainer_service.running.telemetry import Reporter, Telemetry

    if inbox is not None:
        _set_libraries_apart()
    telemetry = Telemetry()
    outage_policy = StoreOutagePolicy(job.spool_mib << 20, job.store_patience, stopper.is_leaving)
    watcher = RunMonitor(
        store,
        lease,
        stopper,
        parent=job.parent,
        silence=AGENT_SILENCE if inbox else 0.0,
        on_lost=lambda: os._exit(EXIT_NOT_MINE),
    )
    hears = inbox.listening(run.run_id, lease.attempt, watcher.hear) if inbox else nullcontext()
    with watcher, hears, Reporter(telemetry):
        _say({"begun": True})  # the imports above may take longer than a lease
        try:
            parts = run_parts(job, known, store)
            state = execute(store, run, lease, parts, stopper, outage_policy, telemetry)
        except Conflict as error:
            log.error("lease_lost", error=error.message)
            return EXIT_NOT_MINE
        except MentorgradError as error:
            log.error("not_recorded", error=error.message)
            return EXIT_STORE
    if state is RunState.RUNNING:
        return EXIT_NOT_MINE
    if state is RunState.INTERRUPTED and not stopper.is_leaving():
        return EXIT_DEVICE
    return EXIT_FAILED if state is RunState.FAILED else EXIT_OK


def _say(document: dict[str, Any]) -> None:
    # Begins with a newline, in case a library has printed an unfinished line.
    sys.stdout.write("\n" + json.dumps(document) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # Everything is stored and closed; torch's teardown would only occupy the slot for seconds.
    os._exit(code)
