"""Which waiting runs an agent cannot execute, and why. Other agents may."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import structlog

from mentorgrad.domain.agent import Agent, unmet
from mentorgrad.domain.event import Created, EventKind, StageStarted
from mentorgrad.domain.query import EventQuery
from mentorgrad.domain.run import Run
from mentorgrad.domain.spec import ANY_DEVICE, DEVICE, RunSpec
from mentorgrad.errors import InvalidInput, NotFound, Unsupported
from run_store.protocols import RunStore

log = structlog.get_logger(__name__)

AGAIN_SECONDS = 30.0
"""How long a refusal counts: data and models may be added."""

DigestOf = Callable[[RunSpec], str]
"""Validates what a spec refers to, and returns the digest of its data; raises `InvalidInput`."""


class Suitability:
    """Says which runs cannot be executed here. Blocking; called in threads, one at a time.

    Args:
        agent: What this agent has.
        digest_of: Checks data and models; None: they are not checked before a run begins.
    """

    def __init__(self, agent: Agent, digest_of: DigestOf | None = None) -> None:
        self._agent = agent
        self._digest_of = digest_of
        self._known: dict[str, tuple[str, float]] = {}

    @property
    def refused(self) -> dict[str, str]:
        """Waiting run → why it cannot be executed here."""
        return {run_id: why for run_id, (why, _) in dict(self._known).items() if why}

    def of(
        self, waiting: Sequence[Run], store: RunStore, wanted: int, *, are_first: bool = True
    ) -> list[Run]:
        """The first waiting runs that can be executed here, in their order.

        Args:
            waiting: All runs that have to be decided about.
            store: The run store.
            wanted: Number of runs that are enough: events, data and models, which take time, are
                looked at for no further one.
            are_first: Whether they are the first that wait. What is known of others is forgotten
                then, and otherwise kept for its time.

        Raises:
            MentorgradError: The store does not answer.
        """
        now = time.monotonic()
        others = {} if are_first else {k: v for k, v in self._known.items() if now < v[1]}
        known: dict[str, tuple[str, float]] = {}
        found: list[Run] = []
        for run in waiting:
            why, until = self._known.get(run.run_id, ("", 0.0))
            if now >= until:
                before, until = why, now + AGAIN_SECONDS
                why = next(unmet(run.spec, self._agent), "")
                if not why and self._is_dear(run):
                    if len(found) >= wanted:
                        continue
                    why = next(self._by_store(run, store), "")
                if why and why != before:
                    log.warning("run_refused", run_id=run.run_id, reason=why)
            known[run.run_id] = why, until
            if not why:
                found.append(run)
        self._known = others | known
        return found

    def _is_dear(self, run: Run) -> bool:
        return self._digest_of is not None or self._may_be_elsewhere(run)

    def _may_be_elsewhere(self, run: Run) -> bool:
        """A run goes on to the bit only on the kind of device that it began on."""
        return run.attempt > 0 and run.spec.requires.get(DEVICE) != ANY_DEVICE

    def _by_store(self, run: Run, store: RunStore) -> Iterator[str]:
        if self._may_be_elsewhere(run):
            yield from self._other_device(run, store)
        if self._digest_of is not None:
            yield from self._other_data(run, store, self._digest_of)

    def _other_device(self, run: Run, store: RunStore) -> Iterator[str]:
        query = EventQuery(kinds=(EventKind.STAGE_STARTED,))
        for event in store.events(run.run_id, query):
            if isinstance(event.payload, StageStarted) and event.payload.device:
                # Of several devices, such as "cuda:0,cuda:1" or "cpu,cpu", all are of one kind.
                began = event.payload.device.partition(",")[0].partition(":")[0]
                if began != self._agent.device:
                    yield (
                        f"began on {began}; this worker has {self._agent.device} "
                        f"(spec.requires: {DEVICE} = {ANY_DEVICE} allows another)"
                    )
                return

    def _other_data(self, run: Run, store: RunStore, digest_of: DigestOf) -> Iterator[str]:
        try:
            digest = digest_of(run.spec)
            if not digest:  # it has no data
                return
            query = EventQuery(kinds=(EventKind.CREATED,))
            created = next(event.payload for event in store.events(run.run_id, query))
        except (NotFound, StopIteration):  # deleted meanwhile
            yield "is no longer there"
        except (InvalidInput, Unsupported) as error:
            yield error.message
        else:
            if isinstance(created, Created) and created.task_digest != digest:
                yield "its data differ from those here"
