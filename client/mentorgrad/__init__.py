"""mentorgrad: a language model as mentor to gradient descent.

The public names are those of `mentorgrad.api`; they are loaded when one is first used, so that
`import mentorgrad` stays quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mentorgrad.api import *  # noqa: F403
    from mentorgrad.api import __all__ as __all__
else:
    # Type checkers do not see these functions: to them, a name that is not public is an error.

    def __getattr__(name: str) -> object:
        if name == "__all__" or not (name.startswith("_") or _is_submodule(name)):
            from mentorgrad import api

            if name == "__all__":
                return list(api.__all__)
            if name in api.__all__:
                return getattr(api, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        from mentorgrad import api

        return sorted({*globals(), *api.__all__})

    def _is_submodule(name: str) -> bool:
        # `from mentorgrad import cli` looks for an attribute first; that must not load the API.
        from importlib.util import find_spec

        return find_spec(f"{__name__}.{name}") is not None
