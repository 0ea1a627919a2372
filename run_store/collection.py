"""Carries out a policy on a store: makes the plan of its runs, checks it, and drops them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from mentorgrad.errors import InvalidInput, NotFound, PreconditionFailed
from mentorgrad.field_limits import check
from run_store.care import StoreCare
from run_store.retention import NEEDS_ALL, Drop, Level, RetentionPolicy, plan


def planned(
    store: StoreCare, policy: RetentionPolicy, now: datetime, *, save_sizes: bool
) -> tuple[Drop, ...]:
    """What a policy drops of a store, in order. Nothing is dropped yet.

    Args:
        store: The store.
        policy: The policy.
        now: The present time (UTC).
        save_sizes: Whether sizes that had to be measured are stored for the next time.

    Raises:
        InvalidInput: The filter is not valid; or every ended run of the store would be deleted, and
            `RetentionPolicy.all` does not say that this is meant (reason NEEDS_ALL).
    """
    wanted = check(policy.runs, "filter")
    if policy.older_than:  # a run is created before it ends
        latest = now - policy.older_than
        before = wanted.created_before
        wanted = replace(wanted, created_before=min(latest, before) if before else latest)
    ended = tuple(store.ended_runs(wanted, save_sizes=save_sizes))
    held = store.held_bytes() if policy.is_limited else {}
    drops = plan(policy, ended, held, now)
    deleted = sum(drop.level is Level.RUN for drop in drops)
    if deleted and not policy.all and deleted == store.count_ended():
        count = "the only ended run" if deleted == 1 else f"all {deleted} ended runs"
        said = f"the policy would delete {count} of the store; --all says that this is meant"
        raise InvalidInput(said, reason=NEEDS_ALL)
    return drops


def carried_out(store: StoreCare, drops: Sequence[Drop]) -> Iterator[tuple[Drop, int | None]]:
    """Drops what was planned; yields each drop once it is done, with the bytes that it freed; None:
    the run was deleted meanwhile, or may not be dropped any more.

    Raises:
        Unavailable: The store is not available, or has no space left for a transaction. What was
            yielded before is done.
    """
    for drop in drops:
        act = store.drop_raw if drop.level is Level.RAW else store.drop_run
        try:
            freed: int | None = act(drop.run.run_id)
        except (NotFound, PreconditionFailed) as error:
            if error.reason == "STORE_READ_ONLY":
                raise
            freed = None
        yield drop, freed
