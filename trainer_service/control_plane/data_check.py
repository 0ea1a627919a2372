"""Checks what a spec refers to, with the folders and models of a service."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Protocol

from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import InvalidInput
from run_store.protocols import RunStore
from trainer_service.agent.settings import ExecutionSettings
from trainer_service.control_plane.validation import validate_objective
from trainer_service.objectives.start_files import files_of_run
from trainer_service.webhooks.checks import webhook_violations


class DataCheck(Protocol):
    """Validates what a spec refers to."""

    def __call__(self, spec: RunSpec, *, store: RunStore, warn: Callable[[str], None] = ...) -> str:
        """Returns the digest of the spec's data; calls `warn` with each warning for the caller.
        The spec may name the uploads and the runs of `store`, the caller's view.

        Raises:
            InvalidInput: It cannot be used; names the fields.
        """
        ...


def data_check(
    settings: ExecutionSettings, most_devices: int | None, webhooks: Collection[str] | None = None
) -> DataCheck:
    """Returns the check of a service.

    Args:
        settings: Where its data and models are.
        most_devices: Devices that one run may have; None: others decide about that.
        webhooks: Names of its webhooks; None: they are not checked, because it sends no messages.
    """

    def check(
        spec: RunSpec, *, store: RunStore, warn: Callable[[str], None] = lambda text: None
    ) -> str:
        unknown = () if webhooks is None else tuple(webhook_violations(spec, webhooks))
        if unknown:
            raise InvalidInput(violations=unknown, reason="UNKNOWN_WEBHOOK")
        return validate_objective(
            spec,
            data_roots=settings.data_root,
            model_roots=settings.model_root,
            tuned_models=tuple(settings.tuned_model),
            cache_dir=settings.cache_dir,
            uploads=store,
            open_run=partial(files_of_run, store),
            most_devices=most_devices,
            warn=warn,
        )

    return check
