"""A real run of the embedded encoder, started from the SDK and watched in a browser. The mentor is
scripted: the page shows whatever it says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from mentor_service.backends.scripted import ScriptedBackend
from mentor_service.composition import MentorServer
from mentor_service.profiles import PROFILES
from mentor_service.protocols import Question, Reply
from mentorgrad.async_client import AsyncClient
from mentorgrad.domain.objective import Function
from mentorgrad.domain.run import Run, RunState
from mentorgrad.domain.spec import Acceptance, DataFiles, MentorChoice, RunSpec, Stages, Task
from run_store.open import open_for_service
from service_common.security import Security
from tests.support.scripted_mentor import Replies
from tests.support.served_page import served_page
from tests.support.tabs import Tab
from tests.support.thread_executor import ThreadExecutor
from trainer_service import composition
from trainer_service.agent import local_agent
from trainer_service.settings import TrainerSettings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.asyncio(loop_scope="package")]

MESSAGES = Path(__file__).parents[2] / "examples/messages.json"


class Held(ScriptedBackend):
    """It thinks about its first question until it is told to answer."""

    def __init__(self) -> None:
        super().__init__(Replies())
        self.asked, self.told = asyncio.Event(), asyncio.Event()

    async def ask(self, question: Question, timeout: float) -> Reply:
        self.asked.set()
        await self.told.wait()
        return await super().ask(question, timeout)


@dataclass(frozen=True)
class Services:
    """Mentor, trainer and page of one machine."""

    mentor: Held
    client: AsyncClient
    page: str


@pytest_asyncio.fixture(loop_scope="package")
async def services(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_probe: None
) -> AsyncIterator[Services]:
    monkeypatch.setattr(local_agent, "LocalExecutor", ThreadExecutor)
    async with AsyncExitStack() as stack:
        mentor = Held()
        serving = MentorServer(mentor, PROFILES["small"])
        settings = TrainerSettings(
            listen="127.0.0.1:0",
            store=f"sqlite:///{tmp_path}/runs.sqlite",
            mentor={"default": await serving.start()},
            threads=1,
            device="cpu",
        )
        stack.push_async_callback(serving.stop, 0)
        store = open_for_service(settings.store)
        stack.callback(store.close)
        trainer = await composition.start_service(
            settings, store, stack, Security(), CollectorRegistry()
        )
        client = await stack.enter_async_context(AsyncClient(trainer))
        yield Services(mentor, client, await stack.enter_async_context(served_page(trainer)))


async def spec_of(client: AsyncClient, folder: Path) -> RunSpec:
    """Two short stages on a few messages, with the embedded encoder."""
    said = json.loads(MESSAGES.read_text("utf-8"))
    files = {}
    for split, rows in {"train": said["train"], "test": said["selection"]}.items():
        path = folder / f"{split}.jsonl"
        path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
        files[split] = await client.upload_data(path)
    return RunSpec(
        name="Messages ✉ to the railway",
        task=Task(
            name="messages",
            data=DataFiles(files["train"], test=files["test"]),
            labels=tuple(said["labels"]),
            description=said["description"],
            shots=3,
            selection_rows=2,
        ),
        stages=Stages(count=2, steps=4, candidates=1),
        mentor=MentorChoice("default", proposals=2),
        acceptance=Acceptance(finalists=1, probe_steps=2),
    )


async def ended(client: AsyncClient, run_id: str) -> Run:
    """Waits for the end of a run."""
    async for _ in client.watch(run_id):
        pass
    run = await client.get_run(run_id)
    assert run.state is RunState.SUCCEEDED, run.reason
    return run


async def test_a_run_is_watched_to_its_end_across_a_reload_and_compared(
    tab: Tab, services: Services, tmp_path: Path
) -> None:
    client, mentor = services.client, services.mentor
    spec = await spec_of(client, tmp_path)
    run_id = (await client.create_run(spec)).run.run_id
    await tab.load(services.page)
    await tab.page.get_by_role("link", name=spec.name).click()
    watching = asyncio.create_task(ended(client, run_id))
    asked = asyncio.create_task(mentor.asked.wait())
    await asyncio.wait((watching, asked), return_when=asyncio.FIRST_COMPLETED)
    assert asked.done(), watching.result()
    known = (await client.get_run(run_id)).last_seq
    await tab.has(known)
    assert tab.seqs() == list(range(1, known + 1))
    await tab.load()
    await tab.sees(".live", "live")
    opening = len(tab.read)
    mentor.told.set()
    run = await watching
    await tab.has(run.last_seq)
    await tab.sees("h1 + .state-succeeded")
    assert tab.seqs() == list(range(1, run.last_seq + 1))
    first = next(frame["id"] for frame in tab.streamed if frame["event"] == "run")
    assert first == f"{run_id}:{opening + 1}"
    await shows(tab, run)

    alone = RunSpec(Function(), name="Alone", stages=Stages(1, 4), mentor=MentorChoice("none"))
    other = (await client.create_run(alone)).run.run_id
    await ended(client, other)
    await tab.load(services.page)
    for name in (alone.name, spec.name):
        await tab.page.get_by_role("checkbox", name=f"Choose {name}").check()
    await tab.page.get_by_role("button", name="Compare 2").click()
    await tab.sees("h2", "Differences of the specs")
    compared = await client.compare_runs([other, run_id])
    fields = tab.page.locator("[aria-label='Differences of the specs'] td code")
    assert await fields.all_inner_texts() == [item.field for item in compared.differences]
    await tab.page.locator("[aria-label=Figures] .state-succeeded").nth(1).wait_for()


async def shows(tab: Tab, run: Run) -> None:
    """Checks the figures of a run on its page against what the trainer says."""
    assert run.result is not None
    assert run.result.test is not None
    assert run.result.test.accuracy is not None
    await tab.sees(".tile", "test")  # of the last event, which follows the change of the state
    tiles = await tab.figures(".tile:not(.budgets)")
    assert tiles["best selection loss"] == f"{run.best_selection_loss:.4f}"
    assert tiles["test"] == f"{100 * run.result.test.accuracy:.1f}%"
    assert tiles["restarts"] == str(run.restarts_applied)
    assert f"{run.step} of {run.spec.stages.total_steps}" in await tab.text(".budgets")
    await tab.page.click(".tabs a:has-text('Mentor')")
    await tab.sees("h2.card-title", "After stage 0")
    await tab.page.click(".tabs a:has-text('Log')")
    await tab.sees("[aria-label=Events] td", "finished: succeeded")
