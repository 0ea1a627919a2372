"""Makes SQLite say that its disk is full, whatever disk there is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa


def limit_pages(store: Any) -> Callable[[int | None], None]:
    """Returns the function that sets the maximum pages of a store's file; None: no maximum."""
    limit: list[int | None] = [None]

    @sa.event.listens_for(store._engine, "begin")
    def begin(connection: Any) -> None:
        # As many pages as there are; or the most there can be.
        connection.exec_driver_sql(f"PRAGMA max_page_count={limit[0] or 1_073_741_823}")

    def put(pages: int | None) -> None:
        limit[0] = pages

    return put
