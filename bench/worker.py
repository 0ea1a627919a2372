"""The worker's own parts, in this process, on the demo's objective."""

from __future__ import annotations

from mentorgrad.cli.support.demo_arms import OBJECTIVE
from mentorgrad.domain.spec import RunSpec
from trainer_service import composition
from trainer_service.job import WorkerJob
from trainer_service.protocols import Objective
from trainer_service.running.execution import Parts
from trainer_service.settings import default_cache_dir


def demo_parts(name: str, mentor: str, device: str = "cpu") -> tuple[Parts, Objective]:
    """Parts of runs that know one mentor, and their objective: built once, outside what is timed.

    Args:
        name: The mentor's.
        mentor: ``HOST:PORT``.
        device: Where to compute.
    """
    job = WorkerJob(
        run_id="bench",
        store="memory:",
        owner="bench",
        mentors={name: mentor},
        cache_dir=str(default_cache_dir()),
        device=device,
        threads=1,
    )
    parts = composition.run_parts(job)
    return parts, parts.objective(RunSpec(objective=OBJECTIVE), lambda: None)
