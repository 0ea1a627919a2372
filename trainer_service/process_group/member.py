"""A further process of a run on several devices.

``python -m trainer_service.process_group.member`` reads a `MemberJob` from standard input, builds
the run's problem, and answers the worker's questions until there are no more. It exits as soon as
its standard input is closed, which the death of the worker does too. It ignores SIGINT and SIGTERM,
which are meant for service and worker.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from functools import partial
from pathlib import Path

import structlog

from mentorgrad.domain.run import Run
from run_store.open import open_store
from service_common import logs
from trainer_service.objectives.problem import Problem
from trainer_service.process_group.answering import follow
from trainer_service.process_group.collectives import TorchCollectives
from trainer_service.process_group.processes import MemberJob
from trainer_service.run_composition import run_parts
from trainer_service.running.execution import failure_line

log = structlog.get_logger(__name__)


def main() -> None:
    """Executes the job on standard input."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    member = MemberJob.from_line(sys.stdin.buffer.readline())
    threading.Thread(target=_leave_with_the_worker, args=(member.folder,), daemon=True).start()
    job = member.job
    logs.configure(job.log_level, job.log_format, run_id=job.run_id)
    problem = _problem(member)
    leave = partial(os._exit, 1)
    collectives = TorchCollectives(
        member.number, member.size, Path(member.folder), problem.device, leave
    )
    follow(problem, collectives)
    collectives.close()


def _leave_with_the_worker(folder: str) -> None:
    sys.stdin.buffer.read()
    shutil.rmtree(folder, ignore_errors=True)  # a killed worker could not
    os._exit(0)


def _problem(member: MemberJob) -> Problem:
    """Builds the problem, and reports that; if it cannot, waits for the worker to end the run."""
    job, run = member.job, Run()
    try:
        store = open_store(job.store, migrate=False)
        try:
            run = store.get_run(job.run_id)
            parts = run_parts(job, store=store)
            parts.fetch(run.spec)
            problem = parts.objective(run.spec, lambda: None).problem
        finally:
            store.close()
    except Exception as error:
        log.error("not_built", exc_info=error)
        _report(member, failure_line(error, run.spec))
        threading.Event().wait()
        raise
    _report(member, "")
    return problem


def _report(member: MemberJob, why: str) -> None:
    written = member.report.with_suffix(".part")
    written.write_text(why)
    written.replace(member.report)


if __name__ == "__main__":
    main()
    sys.stderr.flush()
    os._exit(0)  # torch's teardown would only take time
