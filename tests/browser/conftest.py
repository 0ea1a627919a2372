"""A browser for all tests of this folder, and a fresh profile for each."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from run_store.temporary_store import TemporaryRunStore
from tests.support.tabs import STILL, Tab, browsing, is_required, missing, tab_of

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def browser() -> AsyncIterator[Browser]:
    """Chromium; without one the tests are skipped, or fail where one is required."""
    if reason := missing():
        (pytest.fail if is_required() else pytest.skip)(reason)
    async with browsing() as made:
        yield made


@pytest_asyncio.fixture(loop_scope="package")
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """A profile of its own, in which tabs share nothing with other tests."""
    made = await browser.new_context(viewport={"width": 1280, "height": 900}, **STILL)
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="package")
async def tab(context: BrowserContext) -> AsyncIterator[Tab]:
    """A tab in which nothing may go wrong."""
    async with tab_of(context) as made:
        yield made


@pytest.fixture
def store() -> Iterator[TemporaryRunStore]:
    """An empty run store."""
    with contextlib.closing(TemporaryRunStore()) as made:
        yield made
