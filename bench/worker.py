"""Builds the parts of a worker and the demo's objective, in this process."""

from __future__ import annotations

from mentorgrad.cli.support.demo_arms import OBJECTIVE
from mentorgrad.domain.spec import RunSpec
from trainer_service import run_composition
from trainer_service.job import WorkerJob
from trainer_service.model_settings import default_cache_dir
from trainer_service.protocols import Objective
from trainer_service.running.execution import Parts


def demo_parts(name: str, mentor: str, device: str = "cpu") -> tuple[Parts, Objective]:
    """Returns the parts of runs with one mentor, and their objective; to call before timing.

    Args:
        name: Name of the mentor.
        mentor: ``HOST:PORT`` of the mentor.
        device: Torch device.
    """
    job = WorkerJob(
        run_id="bench",
        store="memory:",
        mentors={name: mentor},
        cache_dir=str(default_cache_dir()),
        device=device,
        threads=1,
    )
    parts = run_composition.run_parts(job)
    return parts, parts.objective(RunSpec(objective=OBJECTIVE), lambda: None)
