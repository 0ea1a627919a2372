"""The run store as the caller of the present call sees it, within the limits per owner."""

from __future__ import annotations

from dataclasses import asdict, replace

from run_store.protocols import RunStore, SeenStore
from run_store.visibility import OwnerLimits
from service_common.callers import current_caller


def views_of_callers(store: RunStore, limits: OwnerLimits) -> SeenStore:
    """Returns what makes the view of the present call's caller.

    Args:
        store: The run store.
        limits: Those of an owner whose token sets none.
    """

    def seen() -> RunStore:
        caller = current_caller()
        if caller.is_admin:  # needs no limits
            return store.seen_by(caller)
        own = {name: getattr(caller, name) or limit for name, limit in asdict(limits).items()}
        return store.seen_by(replace(caller, **own))

    return seen
