"""Tables of named kinds: the objectives and the optimizers that a spec can name."""

from __future__ import annotations

import importlib
from operator import attrgetter
from typing import Any, Protocol, TypeVar


class Named(Protocol):
    """An entry of a `Registry`."""

    @property
    def name(self) -> str:
        """Name in specs."""
        ...


K = TypeVar("K", bound=Named)


class Registry(dict[str, K]):
    """Kinds by name, in the order in which they are listed.

    Args:
        kinds: The entries.

    Raises:
        ValueError: Two entries have the same name.
    """

    def __init__(self, *kinds: K) -> None:
        super().__init__()
        for kind in kinds:
            self.add(kind)

    def add(self, kind: K) -> None:
        """Adds an entry.

        Raises:
            ValueError: The name is taken.
        """
        if kind.name in self:
            raise ValueError(f"the name {kind.name!r} is taken by {self[kind.name]!r}")
        self[kind.name] = kind


def load(path: str) -> Any:
    """The object that ``module:name`` names; ``module:Class.method`` works too. Entries of a table
    name what needs torch in this way, so that the table itself does not import it."""
    module, _, name = path.partition(":")
    return attrgetter(name)(importlib.import_module(module))
