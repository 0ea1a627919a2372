"""What is at the edge of what the page is made for: odd logs, outages, other versions."""

from __future__ import annotations

import json
import math
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry

from mentorgrad.domain.event import CandidatesScored, Finished, Segment, StageStarted
from mentorgrad.domain.run import Candidate, RunState, Score, Snapshot
from mentorgrad.domain.spec import MentorChoice, RunSpec, Task
from run_store.temporary_store import TemporaryRunStore
from tests.support.served_page import served_page
from tests.support.served_runs import Worker, queue_run, served
from tests.support.tabs import Tab, tab_of

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Route

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="package")]

PARTS = ("Mentor", "Candidates", "Lineage", "Path", "Log", "Spec and files", "Course")
HOSTILE = '<img src=x onerror="window.hurt=1"><script>window.hurt=1</script> & 🦋'
"""Markup; it must stay text."""
RIGHT_TO_LEFT = "שלום עולם <b>🦋</b>"


def odd_run(store: TemporaryRunStore) -> str:
    """A run whose losses are no numbers or extreme, and whose texts are markup."""
    spec = RunSpec(
        name=HOSTILE,
        labels={"<b>": HOSTILE},
        task=Task(description=HOSTILE),
        mentor=MentorChoice("absent"),
    )
    worker = Worker(store, queue_run(store, spec))
    steps = tuple(enumerate((math.nan, math.inf, -math.inf, 1e-300, 1e300, 0.5), start=1))
    snapshots = tuple(Snapshot(step, loss, text=HOSTILE) for step, loss in steps)
    candidates = tuple(
        Candidate(f"s0/{step}", step=step, text=RIGHT_TO_LEFT, score=Score(loss, loss, rows=3))
        for step, loss in steps
    )
    worker.write(
        StageStarted(stage=0, text=RIGHT_TO_LEFT),
        Segment(0, 1, len(steps), snapshots),
        CandidatesScored(0, candidates),
        Finished(RunState.FAILED, error=HOSTILE),
    )
    return worker.run_id


async def visit_parts(tab: Tab) -> None:
    """Opens every part of a run's page."""
    for part in PARTS:
        await tab.page.click(f".tabs a:has-text('{part}')")
        await tab.sees(".tabs [aria-current=page]", part)
        await is_whole(tab)


async def is_whole(tab: Tab) -> None:
    """Checks that the view is no wider than the window, and that no text has become a program."""
    fits = "document.documentElement.scrollWidth <= innerWidth"
    is_text = "window.hurt === undefined && !document.querySelector('main img, bdi *')"
    assert await tab.page.evaluate(f"{fits} && {is_text}")


async def test_odd_logs_are_shown_and_hurt_nobody(tab: Tab, store: TemporaryRunStore) -> None:
    async with served(store) as (_, trainer), served_page(trainer) as page:
        await tab.load(page)
        await tab.sees(".empty", "There are no runs yet")
        only_created, odd = queue_run(store), odd_run(store)
        await tab.sees("tbody a", HOSTILE)  # the list is read again by itself
        await is_whole(tab)
        await tab.load(f"{page}/runs/{only_created}")
        await tab.sees("h1 + .state-queued")
        await visit_parts(tab)

        await tab.page.click("nav a:has-text('Runs')")
        await tab.page.click(f"a[href='/runs/{odd}']")
        await tab.sees("h1 + .state-failed")
        await visit_parts(tab)
        assert await tab.text("h1") == HOSTILE
        await tab.page.click(".tabs a:has-text('Course')")
        await tab.page.click("button:has-text('Log axis')")
        await tab.sees(".chart-axis.below", "3 losses not finite, not drawn")
        assert (await tab.figures(".tile:not(.budgets)"))["best selection loss"] == "1.00e−300"
        await tab.page.click(".tabs a:has-text('Candidates')")
        losses = tab.page.locator("[aria-label^=Candidates] td[data-name=loss]")
        await losses.last.wait_for()
        shown = ["NaN", "∞", "−∞", "1.00e−300", "1.00e+300", "0.5000"]
        assert await losses.all_inner_texts() == shown
        words = tab.page.locator("td.wide bdi").first
        assert await words.inner_text() == RIGHT_TO_LEFT
        assert await words.evaluate("it => getComputedStyle(it).direction") == "rtl"
        await tab.load(f"{page}/compare?run={odd}&run={only_created}")
        await tab.sees("[aria-label='Differences of the specs'] td", HOSTILE)
        await tab.sees(".chart-axis", f"\u2068{HOSTILE}\u2069")  # it turns no figure beside it
        await is_whole(tab)


async def test_two_tabs_get_every_event_once_across_outages_and_learn_of_a_deletion(
    tab: Tab, context: BrowserContext, store: TemporaryRunStore
) -> None:
    worker = Worker(store, queue_run(store))
    worker.write(StageStarted(stage=0))
    registry = CollectorRegistry()

    def open_now(what: str) -> float | None:
        return registry.get_sample_value(f"mentorgrad_ui_{what}")

    async with AsyncExitStack() as trainer, AsyncExitStack() as ui, tab_of(context) as second:
        _, address = await trainer.enter_async_context(served(store))
        page = await ui.enter_async_context(served_page(address))
        tabs = (tab, second)
        for one in tabs:
            await one.load(f"{page}/runs/{worker.run_id}")
            await one.sees(".live", "live")

        await ui.aclose()  # the page's own service
        for one in tabs:
            await one.sees(".live.is-away", "no news: the page’s service does not answer")
        await tab.sees(".banner", "The page’s service does not answer")
        worker.segment(0, 1)
        listen = page.removeprefix("http://")
        await ui.enter_async_context(served_page(address, registry=registry, listen=listen))
        for one in tabs:
            await one.has(worker.last)
            await one.sees(".live:not(.is-away)", "live")
        assert (open_now("streams"), open_now("followed_runs")) == (2, 1)

        await trainer.aclose()
        for one in tabs:
            await one.sees(".live.is-away", "no news")
        worker.segment(0, 4)
        await trainer.enter_async_context(served(store, address))
        for one in tabs:
            await one.has(worker.last)
            assert one.seqs() == list(range(1, worker.last + 1))
            await one.sees(".live:not(.is-away)", "live")

        store.transition(worker.run_id, RunState.PAUSED, attempt=worker.attempt)
        for one in tabs:
            await one.sees("h1 + .state-paused")
        store.delete(worker.run_id)
        for one in tabs:
            await one.sees(".problem", "Not found.")


async def test_a_page_reads_what_an_older_or_newer_service_says(tab: Tab) -> None:
    async def answer(route: Route) -> None:
        path = route.request.url.partition("/api/v1")[2]
        found = next(said for start, said in SAID.items() if path.startswith(start))
        body = found if isinstance(found, str) else json.dumps(found)
        kind = "text/event-stream" if path.startswith("/stream") else "application/json"
        await route.fulfill(body=body, content_type=kind, status=404 if "error" in body else 200)

    await tab.page.route("**/api/v1/**", answer)
    async with served_page("127.0.0.1:1") as page:
        await tab.load(page)
        await tab.sees("tbody a", "novel_way")
        await is_whole(tab)
        await tab.page.click("tbody a")
        await tab.sees("h1 + .state-succeeded")
        await visit_parts(tab)
        await tab.page.click(".tabs a:has-text('Candidates')")
        await tab.sees("[aria-label^=Candidates] td", "s0/old")
        await tab.page.click(".tabs a:has-text('Mentor')")
        await tab.sees(".answer", "amused")


NOVEL = {"novel": {"things": [1, None, "x"]}}
RUN = {
    "runId": "r1",
    "state": "RUN_STATE_HIBERNATING",
    "spec": {"objective": {"novelWay": {"depth": 3}}, **NOVEL},
    **NOVEL,
}
EVENTS: list[dict[str, Any]] = [
    {"created": {"spec": RUN["spec"], **NOVEL}},
    {"dreamt": NOVEL},
    {"stateChanged": {"state": "RUN_STATE_HIBERNATING", **NOVEL}},
    {"stageStarted": {}},
    {"segment": {}},
    {"segment": {"stepStart": "1", "stepEnd": "1", "snapshots": [{"step": "1"}, {}]}},
    {"candidatesScored": {"candidates": [{"candidateId": "s0/old"}], **NOVEL}},
    {"candidatesScored": {"candidates": [{"source": "CANDIDATE_SOURCE_NOVEL", "score": NOVEL}]}},
    {"proposalsReceived": {}},
    {"proposalsReceived": {"answer": {"status": "ANSWER_STATUS_AMUSED", "records": [NOVEL]}}},
    {"restartDecided": {"policy": "POLICY_NOVEL", "outcomes": [{"status": "NOVEL"}], **NOVEL}},
    {"checkpointSaved": {}},
    {"resumed": {}},
    {},
]
"""A log with kinds, fields and names that this page does not know, and without those it knows."""
LATER = [
    ("novel", NOVEL),
    ("run", {"runId": "r1", "event": {"seq": "20", "attempt": "2", "dreamt": {}}}),
    ("run", {"runId": "r1", "event": {"seq": "21", "finished": {"state": "RUN_STATE_SUCCEEDED"}}}),
    ("end", {"runId": "r1", **NOVEL}),
]
SAID: dict[str, Any] = {
    "/session": {},
    "/services": {"server": "a:1", "answers": True, "login": False, "trainer": NOVEL, **NOVEL},
    "/runs?": {"runs": [RUN], "nextPageToken": "", **NOVEL},
    "/runs/r1/events": {
        "events": [{"seq": str(seq), **event} for seq, event in enumerate(EVENTS, start=1)],
        "next": None,
        **NOVEL,
    },
    "/runs/r1/artifacts": {"error": {"message": "there is no such path"}},
    "/runs/r1/path": {"error": {"message": "there is no such path"}},
    "/runs/r1": {"run": RUN, **NOVEL},
    "/stream": "".join(
        f"event: {kind}\nid: r1:{seq}\ndata: {json.dumps(data)}\n\n"
        for seq, (kind, data) in enumerate(LATER, start=19)
    ),
}
"""Answers by the beginning of their path."""
