"""mentorgrad: a language model as mentor to gradient descent.

The public names are those of `mentorgrad.api`; they are loaded when one is first used, so that
`import mentorgrad` stays quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mentorgrad.api import *  # noqa: F403


def __getattr__(name: str) -> Any:
    # The public names are classes; anything else is asked for on the way to a submodule.
    if name[:1].isupper():
        from mentorgrad import api

        if name in api.__all__:
            return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    from mentorgrad import api

    return sorted({*globals(), *api.__all__})
