"""The run store as the caller of the present call sees it, within the limits per owner."""

from __future__ import annotations

from dataclasses import replace

from run_store.protocols import RunStore, SeenStore
from service_common.callers import current_caller


def views_of_callers(
    store: RunStore, queue_limit: int, experiment_limit: int, run_limit: int | None = None
) -> SeenStore:
    """Returns what makes the view of the present call's caller.

    Args:
        store: The run store.
        queue_limit: Maximum queued runs of an owner whose token sets no limit.
        experiment_limit: Maximum running experiments of an owner whose token sets no limit.
        run_limit: Maximum runs that an owner keeps whose token sets no limit; None: no limit.
    """

    def seen() -> RunStore:
        caller = current_caller()
        if caller.is_admin:  # needs no limits
            return store.seen_by(caller)
        limited = replace(
            caller,
            queue_limit=caller.queue_limit or queue_limit,
            experiment_limit=caller.experiment_limit or experiment_limit,
            run_limit=caller.run_limit or run_limit,
        )
        return store.seen_by(limited)

    return seen
