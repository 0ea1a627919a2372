"""The composition root of a worker: chooses the concrete classes of one run and wires them."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mentorgrad.domain.advice import AdviseOpen, TaskCard
from mentorgrad.domain.event import Created, EventKind
from mentorgrad.domain.query import EventQuery
from mentorgrad.domain.run import Run
from mentorgrad.domain.spec import Fallback, RunSpec
from mentorgrad.errors import InvalidInput
from run_store.protocols import RunStore
from service_common.callers import LOCAL
from trainer_service.agent.devices import do_answer
from trainer_service.job import EXIT_MEMBER_DIED, WorkerJob
from trainer_service.mentors.controls import Description, build_control
from trainer_service.mentors.description_first import DescriptionFirst
from trainer_service.mentors.remote import RemoteMentor
from trainer_service.mentors.shuffled import ShuffledMentor
from trainer_service.objectives.build import build_objective
from trainer_service.objectives.kept_results import KeptResults
from trainer_service.objectives.start_files import CopiedRun, no_runs
from trainer_service.objectives.table import kind_of
from trainer_service.optimizers.table import build_optimizer
from trainer_service.protocols import Mentor, Objective
from trainer_service.running.execution import Parts
from trainer_service.seeds import derive
from trainer_service.settings import TrainerSecrets
from trainer_service.tasks.uploaded import FetchedUploads

if TYPE_CHECKING:
    from trainer_service.process_group.processes import Members


def import_numerics() -> None:
    """Performs a worker's slow imports, so that a standby worker has them done before its run."""
    from transformers import AutoModel, AutoTokenizer, BertModel  # noqa: F401

    from trainer_service.objectives.label_prompt import problem  # noqa: F401
    from trainer_service.optimizers import first_order  # noqa: F401


def _members(job: WorkerJob) -> Members:
    """Starts the run's further processes, which build their problems while this one does."""
    from trainer_service.process_group.processes import Members  # imports torch.distributed

    return Members(job, on_lost=partial(os._exit, EXIT_MEMBER_DIED))


def run_parts(
    job: WorkerJob,
    known: KeptResults | None = None,
    store: RunStore | None = None,
) -> Parts:
    """The factories of a run's objective, mentor, fallback and optimizer, in a worker.

    Args:
        job: The run, and the worker's settings.
        known: What the worker keeps between its runs, within the limit of the job's settings; None:
            nothing.
        store: Holds the run, with the digest of its rows, and uploaded data files; None: the rows
            may be any, and there are no uploads.
    """
    torch.set_num_threads(job.threads)
    state_bytes = job.state_cache_mib << 20
    if known is not None:
        known.limit(state_bytes)

    fetched = None if store is None else FetchedUploads(store)
    start = None if store is None else CopiedRun(store, job.run_id)
    task_digest = ""

    def fetch(spec: RunSpec) -> None:
        nonlocal task_digest
        if store is not None and fetched is not None and start is not None:
            task_digest = _task_digest(store, job.run_id, spec)
            fetched.fetch(spec.task.data)
            start.fetch(spec.objective)

    def objective(spec: RunSpec, check: Callable[[], None]) -> Objective:
        with ExitStack() as opened:
            members = opened.enter_context(_members(job)) if job.members else None
            try:
                built = build(spec, check)
            finally:
                if fetched is not None:
                    fetched.discard()
            if members is not None:
                built.problem.group = members.join(built.problem, check)
            opened.pop_all()  # closed with the objective from now on
            return built

    def build(spec: RunSpec, check: Callable[[], None]) -> Objective:
        return build_objective(
            spec,
            check=check,
            device=torch.device(job.device),
            data_roots=[Path(root) for root in job.data_roots],
            model_roots=[Path(root) for root in job.model_roots],
            cache_dir=Path(job.cache_dir) if job.cache_dir else None,
            threads=job.threads,
            tuned_models=job.tuned_models,
            api_key=TrainerSecrets().openai_api_key.get_secret_value(),
            state_bytes=state_bytes,
            known=known,
            task_digest=task_digest,
            uploads=None if fetched is None else fetched.opened,
            open_run=no_runs if start is None else start.open,
        )

    def fallback(spec: RunSpec, built: Objective) -> Mentor | None:
        name = spec.mentor.fallback
        if name is Fallback.NONE:
            return None
        return _with_description(spec, built, build_control(name.value, built.language))

    return Parts(
        objective=objective,
        fetch=fetch,
        taken=dict if start is None else start.taken,
        mentor=lambda run, built: _with_description(run.spec, built, _open_mentor(job, run, built)),
        fallback=fallback,
        optimizer=lambda spec: build_optimizer(spec.optimizer),
        has_devices=lambda: do_answer((job.device, *job.members)),
    )


def _task_digest(store: RunStore, run_id: str, spec: RunSpec) -> str:
    """Digest of the rows that a run was created with; empty if it has none."""
    if not kind_of(spec.objective).uses_task:
        return ""
    query = EventQuery(kinds=(EventKind.CREATED,))
    created = (event.payload for event in store.events(run_id, query))
    return next((item.task_digest for item in created if isinstance(item, Created)), "")


def _open_mentor(job: WorkerJob, run: Run, objective: Objective) -> Mentor:
    choice, card = run.spec.mentor, _shown_card(run.spec, objective)
    if choice.is_control:
        return build_control(choice.name, objective.language, dict(choice.options), card)
    if choice.name not in job.mentors:
        raise InvalidInput.field(
            "spec.mentor.name", f"the mentor {choice.name!r} is no longer configured here"
        )
    opened = AdviseOpen(
        session_id=run.run_id,
        card=card,
        constraints=objective.language.constraints,
        strategy=choice.strategy,
        options=choice.options,
        seed=derive(run.spec.seed, "mentor"),
    )
    mentor = RemoteMentor(
        choice.name,
        job.mentors[choice.name],
        opened,
        credentials=replace(job.mentor_access, on_behalf_of=_on_behalf_of(run)),
    )
    return ShuffledMentor(mentor, run.spec.seed) if choice.shuffled else mentor


def _on_behalf_of(run: Run) -> str:
    """For whom the run's questions are; empty: for nobody in particular, where the service is open
    to all."""
    return "" if run.owner == LOCAL.owner else run.owner


def _with_description(spec: RunSpec, objective: Objective, mentor: Mentor) -> Mentor:
    # The control `description` proposes this wording first by itself.
    if not spec.mentor.description_first or isinstance(mentor, Description):
        return mentor
    card = _shown_card(spec, objective)
    return DescriptionFirst(mentor, Description(objective.language, card=card))


def _shown_card(spec: RunSpec, objective: Objective) -> TaskCard:
    """The task as a mentor is shown it."""
    if spec.mentor.hide_card:
        return replace(objective.card, description="", labels=())
    return objective.card
