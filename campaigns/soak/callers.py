"""The callers of a soak, in a process of their own: ``callers.py ADDRESS RECORDS TOKEN...``

Each begins a call at times that do not depend on how long the last one took, so waiting counts.
Every call is a line of JSON: when it should have begun, what it was, seconds, and how it ended.
The process ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, TextIO

from mentorgrad import AsyncClient, Credentials
from mentorgrad.domain.objective import Function
from mentorgrad.domain.query import RunFilter
from mentorgrad.domain.spec import Budget, MentorChoice, RunSpec
from mentorgrad.errors import MentorgradError

CALLERS = 50

_PAUSE = 2.0
"""Seconds between the calls of one caller, on average."""

_CREATES = 0.005
"""Share of calls that create a run."""

_SPEC = RunSpec(
    Function(), mentor=MentorChoice("live"), budget=Budget(gradient_steps=400), name="soak"
)


class Caller:
    """One caller; what it has created is what it asks for."""

    def __init__(self, client: AsyncClient, records: TextIO, seed: int) -> None:
        self._client = client
        self._records = records
        self._random = random.Random(seed)
        self._runs: list[str] = []
        self._pending: set[asyncio.Task[None]] = set()

    async def go(self) -> None:
        """Calls until it is cancelled."""
        at = time.time() + self._random.random() * _PAUSE
        while True:
            await asyncio.sleep(max(at - time.time(), 0.0))
            name, call = self._next()
            task = asyncio.create_task(self._measured(name, call, at))
            self._pending.add(task)
            task.add_done_callback(self._pending.discard)
            at += self._random.expovariate(1.0 / _PAUSE)

    def _next(self) -> tuple[str, Callable[[], Awaitable[Any]]]:
        client = self._client
        if self._random.random() < _CREATES:
            return "CreateRun", self._create
        if not self._runs:
            return "ListRuns", client.list_runs
        run = self._random.choice(self._runs)
        return self._random.choice(
            [
                ("GetRun", lambda: client.get_run(run)),
                ("ListRuns", lambda: client.list_runs(RunFilter(name_contains="so"))),
                ("ListCandidates", lambda: client.list_candidates(run)),
                ("GetTrajectory", lambda: client.trajectory(run, 100)),
                ("StreamEvents", lambda: self._events(run)),
                ("ListArtifacts", lambda: client.artifacts(run)),
            ]
        )

    async def _create(self) -> str:
        created = await self._client.create_run(_SPEC)
        self._runs.append(created.run.run_id)
        return created.run.run_id

    async def _events(self, run: str) -> None:
        async for _ in self._client.events(run):
            pass

    async def _measured(self, name: str, call: Callable[[], Awaitable[Any]], at: float) -> None:
        created, code = "", "OK"
        try:
            found = await call()
            created = found if name == "CreateRun" else ""
        except MentorgradError as error:
            code = error.reason or type(error).__name__
        line = {"at": at, "call": name, "seconds": time.time() - at, "code": code}
        if created:
            line["created"] = created
        self._records.write(json.dumps(line) + "\n")


async def main(address: str, records: str, *tokens: str) -> None:
    with open(records, "w", buffering=1) as file:
        clients = [AsyncClient(address, credentials=Credentials(token=token)) for token in tokens]
        callers = [Caller(clients[n % len(clients)], file, n) for n in range(CALLERS)]
        tasks = [asyncio.create_task(caller.go()) for caller in callers]
        print("begun", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for client in clients:
            await client.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
