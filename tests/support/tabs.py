"""Tabs of a real browser: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Page, Response

REQUIRED = "MENTORGRAD_REQUIRE_BROWSER"
"""Environment variable; if it is set, the tests fail without a browser instead of being skipped."""

STILL: dict[str, Any] = {"reduced_motion": "reduce"}
"""Of a context in which nothing is animated: a mark that pulses is drawn sixty times a second, by
the processor."""

PATIENCE_MS = 120_000
"""A deadline that only a hang exceeds."""


def missing() -> str:
    """Why there is no browser; empty: there is one."""
    if find_spec("playwright") is None:
        return "no Playwright: `make setup`"
    return "" if _chromium() else "no Chromium: `apt-get install chromium`"


def is_required() -> bool:
    """Whether a missing browser is a failure."""
    return os.environ.get(REQUIRED, "") not in ("", "0")


def _chromium() -> str:
    return shutil.which("chromium") or ""


@asynccontextmanager
async def browsing() -> AsyncIterator[Browser]:
    """The system's Chromium without a window. Playwright's own browsers are not downloaded."""
    from playwright.async_api import async_playwright

    # Root has no sandbox; what is shown is our own page.
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=_chromium(), args=flags)
        try:
            yield browser
        finally:
            await browser.close()


class Tab:
    """A tab, what it was sent, and what went wrong in it.

    Args:
        page: Of Playwright.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.faults: list[str] = []
        """Exceptions of its scripts, and what violates the content security policy."""
        self.streamed: list[dict[str, Any]] = []
        """Frames of its streams since it was last loaded: `event`, `id` and `data`."""
        self.read: list[dict[str, Any]] = []
        """Events that it has read from logs since it was last loaded."""
        self._changed = asyncio.Event()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", self._note)
        page.on("response", self._take)

    async def prepare(self) -> None:
        """Begins to listen to its streams; called once, before anything is loaded."""
        session = await self.page.context.new_cdp_session(self.page)
        await session.send("Network.enable")
        session.on("Network.eventSourceMessageReceived", self._stream)

    def _note(self, message: Any) -> None:
        # A service that is away, or refuses, is told by the network stack as an error.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.faults.append(message.text)

    def _stream(self, sent: dict[str, Any]) -> None:
        data = json.loads(sent["data"])
        self.streamed.append({"event": sent["eventName"], "id": sent["eventId"], "data": data})
        self._changed.set()

    async def _take(self, response: Response) -> None:
        if response.ok and re.search(r"/runs/\w+/events\?", response.url):
            self.read += (await response.json())["events"]
            self._changed.set()

    async def load(self, address: str = "") -> None:
        """Opens an address, or loads the present one again."""
        self.read, self.streamed = [], []
        await (self.page.goto(address) if address else self.page.reload())

    async def sees(self, selector: str, text: str = "") -> None:
        """Waits until an element is visible that contains a text."""
        await self.page.locator(selector, has_text=text).first.wait_for()

    async def text(self, selector: str = "main") -> str:
        """What a reader sees of the first such element, on one line."""
        return " ".join((await self.page.locator(selector).first.inner_text()).split())

    async def figures(self, selector: str) -> dict[str, str]:
        """The main figures, by their names."""
        tiles = await self.page.locator(selector).all_inner_texts()
        return {name: value for name, value, *_ in (tile.split("\n") for tile in tiles)}

    async def has(self, last: int) -> None:
        """Waits until it has got the events up to one."""
        await self.until(lambda: last in self.seqs())

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until a condition on what it was sent holds."""
        async with asyncio.timeout(PATIENCE_MS / 1000):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def seqs(self) -> list[int]:
        """Sequence numbers of the events that it has got since it was last loaded."""
        streamed = [frame["data"]["event"] for frame in self.streamed if frame["event"] == "run"]
        return [int(event["seq"]) for event in [*self.read, *streamed]]


@asynccontextmanager
async def tab_of(context: BrowserContext) -> AsyncIterator[Tab]:
    """A tab; at the end, nothing has gone wrong in it."""
    made = Tab(await context.new_page())
    await made.prepare()
    try:
        yield made
    finally:
        await made.page.close()
    assert made.faults == []
