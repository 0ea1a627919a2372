"""The waiting runs as an agent sees them: those that it reads and can execute, in their order.

Many agents look at once. Those whose runs others have claimed meanwhile read more of them, and pass
over some of the first ones.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Collection
from functools import partial

from mentorgrad.domain.run import Run
from run_store.protocols import RunStore
from trainer_service.agent.suitability import Suitability

KEPT_SECONDS = 1.0
"""How long the runs that were read are taken one by one, if no other agent was quicker."""
_SPARE_RUNS = 16
"""Further runs that are read, in case that other agents claim the first ones. Whether they can be
executed is decided for those that may be claimed, and for more if others were quicker."""
_MOST_SKIPPED = 256
"""Maximum number of first runs that are left to others, in that case."""


class WaitingRuns:
    """Reads the waiting runs. For one event loop; calls of the store run in threads.

    Args:
        store: The run store.
        suitability: Says which runs cannot be executed here.
        owner_limit: Maximum running runs of one owner; None: no limit.
        may_skip: Whether first runs may be passed over. A run that needs several devices might
            never get them if those behind it did not wait.
    """

    def __init__(
        self,
        store: RunStore,
        suitability: Suitability,
        owner_limit: int | None,
        *,
        may_skip: bool,
    ) -> None:
        self._store = store
        self._suitability = suitability
        self._owner_limit = owner_limit
        self._may_skip = may_skip
        self._spare = self._most_skipped = self._skipped = 0
        self._read: tuple[Run, ...] = ()
        self._read_until = 0.0

    @property
    def are_known(self) -> bool:
        """Whether runs are left of those read last, and were read a moment ago."""
        return bool(self._read) and time.monotonic() < self._read_until

    async def suitable(self, free: int, running: Collection[str]) -> list[Run]:
        """The runs that are next and can be executed here. Reads them unless they `are_known`.

        Args:
            free: Number of free slots.
            running: Runs that this agent executes.
        """
        if not self.are_known:
            await self._look(free + len(running) + len(self._suitability.refused) + _SPARE_RUNS)
        waiting = [run for run in self._read if run.run_id not in running]
        decide = partial(self._suitability.of, are_first=not self._skipped)
        return await asyncio.to_thread(decide, waiting, self._store, free + self._spare)

    async def _look(self, size: int) -> None:
        while True:
            self._skipped = random.randint(0, self._most_skipped)
            self._read = await asyncio.to_thread(
                self._store.next_runs, size, self._owner_limit, self._skipped
            )
            if self._read or not self._skipped:
                break
            self._most_skipped = self._skipped // 2
        is_contended = self._spare or self._most_skipped
        self._read_until = 0.0 if is_contended else time.monotonic() + KEPT_SECONDS

    def forget(self) -> None:
        """Has the next look read the runs anew."""
        self._read = ()

    def taken(self, run_id: str) -> None:
        """This agent has claimed a run: the next looks are spread over fewer runs."""
        self._read = tuple(run for run in self._read if run.run_id != run_id)
        self._spare //= 2
        self._most_skipped //= 2

    def were_taken(self) -> None:
        """Others have claimed all of them first: the next looks are spread over more runs."""
        self._spare = min(2 * self._spare + 1, _SPARE_RUNS)
        if self._may_skip:
            self._most_skipped = min(4 * self._most_skipped + _SPARE_RUNS, _MOST_SKIPPED)
