"""What a long list of runs costs in a tab, relative to a short one; see `bench.ui`.

Both lists are scrolled to and fro near where their reading has come to: the short one has been read
to its end, the long one as far as somebody scrolls. The work of a step is that of the tab's own
thread: its scripts, styles and layout.
"""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

from bench.paired import abba

STEPS = 20
"""Steps of a measurement, half of them back."""

_PIXELS = 800
_WORK = ("ScriptDuration", "LayoutDuration", "RecalcStyleDuration")
_FRAME = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
_ROWS_READ = """() => {
  const said = document.querySelector('.pages .muted')?.textContent ?? '0';
  return parseInt(said.replaceAll(',', ''));
}"""
_HAS_FIRST = """name => document.querySelector('tbody tr[aria-rowindex="2"]')
  ?.textContent.includes(name) && performance.now()"""


class ListTab:
    """A tab with a list of runs.

    Args:
        tab: The tab.
        page: ``HOST:PORT`` of the page.
    """

    def __init__(self, tab: Page, page: str) -> None:
        self._tab = tab
        self._page = page
        self._session = tab.context.new_cdp_session(tab)
        self._session.send("Performance.enable")

    def first(self, query: str, name: str) -> float:
        """Milliseconds from opening an address until a run stands first."""
        self._tab.goto(f"http://{self._page}/{query}")
        found = self._tab.wait_for_function(_HAS_FIRST, arg=name, timeout=0, polling="raf")
        return float(found.json_value())

    def read(self, rows: int) -> int:
        """Scrolls down until so many rows have been read; returns the number of steps."""
        steps = 0
        while self._tab.evaluate(_ROWS_READ) < rows:
            self._scroll(_PIXELS)
            steps += 1
        return steps

    def work(self) -> float:
        """Milliseconds of work for a step to and fro."""
        before = self.figures()
        for step in range(STEPS):
            self._scroll(-_PIXELS if step < STEPS // 2 else _PIXELS)
        after = self.figures()
        return sum(after[name] - before[name] for name in _WORK) * 1000 / STEPS

    def figures(self) -> dict[str, float]:
        """Metrics of the tab after a garbage collection, and `rows`, those in the document."""
        self._session.send("HeapProfiler.collectGarbage")
        found = self._session.send("Performance.getMetrics")["metrics"]
        rows = self._tab.locator("tbody tr[aria-rowindex]").count()
        return {one["name"]: float(one["value"]) for one in found} | {"rows": float(rows)}

    def _scroll(self, pixels: int) -> None:
        self._tab.mouse.wheel(0, pixels)
        self._tab.evaluate(_FRAME)


def compared(long: ListTab, short: ListTab, rows: int, blocks: int) -> dict[str, Any]:
    """Costs of a long list, of which some rows have been read, beside those of a short one.

    Args:
        long: Tab of the long list.
        short: Tab of the short one.
        rows: Rows of the long list that are read.
        blocks: ABBA blocks.
    """
    for one, least in ((long, rows), (short, 1)):
        one.first("", "seed")
        one.read(least)
    step = abba(long.work, short.work, blocks)
    figures = {"long": long.figures(), "short": short.figures()}
    return {
        "rows_read": rows,
        "step": step.rounded(),
        **{
            name: {
                "heap_mb": round(found["JSHeapUsedSize"] / 1e6, 1),
                "nodes": int(found["Nodes"]),
                "rows": int(found["rows"]),
            }
            for name, found in figures.items()
        },
    }
