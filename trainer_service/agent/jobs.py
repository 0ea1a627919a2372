"""The jobs of an agent's workers, and its credentials for mentors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import structlog

from mentorgrad.errors import InvalidInput
from mentorgrad.wire.credentials import Credentials
from run_store.protocols import Lease
from trainer_service.agent.local_executor import MakeJob
from trainer_service.agent.settings import ExecutionSettings
from trainer_service.job import WorkerJob

log = structlog.get_logger(__name__)


def job_maker(settings: ExecutionSettings) -> MakeJob:
    """Returns a function that makes the job document of a run's worker."""
    access = mentor_access(settings)

    def make(lease: Lease, devices: Sequence[str]) -> WorkerJob:
        return WorkerJob(
            run_id=lease.run_id,
            attempt=lease.attempt,
            store=settings.store,
            mentors=settings.mentor,
            mentor_access=access,
            tuned_models=settings.tuned_model,
            data_roots=tuple(map(str, settings.data_root)),
            model_roots=tuple(map(str, settings.model_root)),
            cache_dir=str(settings.cache_dir),
            device=devices[0],
            members=tuple(devices[1:]),
            threads=settings.threads,
            log_level=settings.log_level,
            log_format=settings.log_format,
            state_cache_mib=settings.state_cache_mib,
            spool_mib=settings.spool_mib,
            store_patience=settings.store_patience,
        )

    return make


def mentor_access(settings: ExecutionSettings) -> Credentials:
    """The credentials for all mentors, as absolute paths."""

    def absolute(path: Path | None) -> Path | None:
        return path.absolute() if path is not None else None

    return Credentials(
        ca=absolute(settings.mentor_ca),
        certificate=absolute(settings.mentor_certificate),
        key=absolute(settings.mentor_key),
        token_file=absolute(settings.mentor_token_file),
        insecure=settings.insecure,
    )


def check_mentors(settings: ExecutionSettings) -> None:
    """Validates the trainer's credentials for its mentors at start, before a run needs them.

    Raises:
        InvalidInput: A setting or a file is invalid, or a token would be sent unencrypted.
    """
    try:
        credentials = mentor_access(settings)
        credentials.read()
        credentials.bearer()
        for target in settings.mentor.values():
            credentials.check_target(target)
            if credentials.exposes_token(target):
                log.warning("token_unprotected", mentor=target)
    except InvalidInput as error:
        raise InvalidInput(
            violations=[replace(v, field=f"mentor_{v.field}") for v in error.violations],
            reason=error.reason,
        ) from None
