"""A model that is loaded once and outlives the servers it is put behind."""

from __future__ import annotations

from typing import Any


class Lasting:
    """The suite's model behind one server; stays loaded."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    async def close(self) -> None:
        return None
