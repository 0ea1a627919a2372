"""Pages of results, and all items of the pages that follow each other."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import Generic, TypeVar

from mentorgrad.domain.summary import DataFrame, Summarised, table
from mentorgrad.schema import field_types

T = TypeVar("T")

MAX_PAGE = 1000
"""Maximum number of items of a page."""


class Page(Generic[T]):
    """Base of pages of results, dataclasses whose first field holds the items: iterates over them.

    Further pages follow by `next_page_token`; `every_item` reads them all.
    """

    next_page_token: str

    def __iter__(self) -> Iterator[T]:
        return iter(self._items())

    def __len__(self) -> int:
        return len(self._items())

    def _items(self) -> tuple[T, ...]:
        items: tuple[T, ...] = getattr(self, next(iter(field_types(type(self)))))
        return items

    def to_frame(self) -> DataFrame:
        """One row per item; the columns are the paths of its fields: see `mentorgrad.frames`.

        Raises:
            Unsupported: pandas is not installed (extra ``frame``).
        """
        from mentorgrad.frames import to_frame

        return to_frame(self, next(iter(field_types(type(self)).values())).base)

    def _repr_html_(self) -> str:
        """A table of the items' main figures, for notebooks."""
        found = [item._summary() for item in self if isinstance(item, Summarised)]
        columns = tuple(dict.fromkeys(name for summary in found for name in summary))
        rows = ([summary.get(name) for name in columns] for summary in found)
        return table(type(self).__name__, columns, rows)


def every_item(fetch: Callable[[str], Page[T]]) -> Iterator[T]:
    """All items of all pages; `fetch` gets the token of a page, empty for the first."""
    token = ""
    while True:
        page = fetch(token)
        yield from page
        token = page.next_page_token
        if not token:
            return


async def every_item_async(fetch: Callable[[str], Awaitable[Page[T]]]) -> AsyncGenerator[T, None]:
    """`every_item` of a coroutine function."""
    token = ""
    while True:
        page = await fetch(token)
        for item in page:
            yield item
        token = page.next_page_token
        if not token:
            return
