"""Watches several runs at once."""

import asyncio

from mentorgrad import AsyncClient, EventKind, RunFilter, RunPage, RunState


async def count_events(client: AsyncClient, run_id: str) -> int:
    count = 0
    async for event in client.watch(run_id, kinds=(EventKind.SEGMENT,)):
        count += event.kind is EventKind.SEGMENT
    return count


async def count_all(address: str) -> dict[str, int]:
    async with AsyncClient(address) as client:
        page: RunPage = await client.list_runs(RunFilter(states=(RunState.RUNNING,)))
        ids = [run.run_id for run in page.runs]
        counts = await asyncio.gather(*(count_events(client, run_id) for run_id in ids))
    return dict(zip(ids, counts, strict=True))
