"""The run store as the caller of the present call sees it, within the limits per owner."""

from __future__ import annotations

from dataclasses import replace

from run_store.protocols import RunStore, SeenStore
from service_common.callers import Caller, current_caller


def views_of_callers(store: RunStore, queue_limit: int, experiment_limit: int) -> SeenStore:
    """Returns what makes the view of the present call's caller.

    Args:
        store: The run store.
        queue_limit: Maximum queued runs of an owner whose token sets no limit.
        experiment_limit: Maximum running experiments of an owner whose token sets no limit.
    """

    def seen() -> RunStore:
        return store.seen_by(_limited(current_caller(), queue_limit, experiment_limit))

    return seen


def _limited(caller: Caller, queue_limit: int, experiment_limit: int) -> Caller:
    """The caller with the service's limits where its token sets none; administrators need none."""
    if caller.is_admin:
        return caller
    return replace(
        caller,
        queue_limit=caller.queue_limit or queue_limit,
        experiment_limit=caller.experiment_limit or experiment_limit,
    )
