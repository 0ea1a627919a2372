from __future__ import annotations

import dataclasses
import inspect
import pkgutil
import subprocess
import sys
import typing
from collections.abc import Iterator

import pytest

import mentorgrad
from mentorgrad import api


def test_every_public_name_is_there_and_listed() -> None:
    for name in api.__all__:
        assert getattr(mentorgrad, name) is getattr(api, name)
    assert set(api.__all__) <= set(dir(mentorgrad))
    with pytest.raises(AttributeError, match="Nonsense"):
        mentorgrad.Nonsense  # noqa: B018


@pytest.mark.slow
def test_what_is_imported_is_light_and_names_are_not_confused_with_submodules() -> None:
    """One after the other in a fresh process, with names of any case."""
    code = (
        "import sys, mentorgrad\n"
        "assert 'grpc' not in sys.modules and 'numpy' not in sys.modules\n"
        "from mentorgrad import field_limits\n"
        "assert field_limits is sys.modules['mentorgrad.field_limits']\n"
        "assert not hasattr(mentorgrad, 'presets')\n"
        "import mentorgrad.cli.main\n"
        "heavy = {'grpc', 'matplotlib', 'torch', 'sqlalchemy', 'service_common'}\n"
        "assert not heavy & set(sys.modules)\n"
        "assert 'mentorgrad.api' not in sys.modules\n"
        "from mentorgrad import resolve\n"
        "assert resolve is sys.modules['mentorgrad.api'].resolve\n"
        "from mentorgrad import *\n"
        "assert Client and DEFAULT_ENCODER and RunSpec\n"
        "assert not hasattr(mentorgrad, 'nonsense') and not hasattr(mentorgrad, '_nonsense')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert mentorgrad.__all__ == api.__all__


def test_no_public_name_hides_a_submodule() -> None:
    modules = {info.name for info in pkgutil.iter_modules(mentorgrad.__path__)}
    assert not modules & set(api.__all__)


NOT_EXPORTED = {
    # Options of `session()`, which are given as keywords, and what it makes of them.
    "SessionOptions",
    "Recording",
    # Satisfied by every client.
    "RunImporter",
    # What constructors of sessions take; `session()` calls them.
    "Connection",
    # A report's; `mentorgrad.Comparison` is what `compare_runs` returns.
    "experiment.Comparison",
}
"""Types that public members name and that are not exported."""


def _types(hint: object) -> Iterator[type]:
    """The classes of this package in a type hint."""
    for part in (typing.get_origin(hint), *typing.get_args(hint)):
        yield from _types(part) if part is not None else ()
    if isinstance(hint, type) and hint.__module__.split(".")[0] == "mentorgrad":
        yield hint


def _members(cls: type) -> Iterator[tuple[str, object]]:
    """Fields and public methods, with the hints that they name."""
    if dataclasses.is_dataclass(cls):
        yield from typing.get_type_hints(cls).items()
    for name, member in inspect.getmembers(cls):
        function = getattr(member, "fget", None) or getattr(member, "__func__", member)
        if inspect.isfunction(function) and (name == "__init__" or not name.startswith("_")):
            yield from ((name, hint) for hint in typing.get_type_hints(function).values())


def test_every_type_that_a_public_member_names_is_public() -> None:
    public = {getattr(api, name) for name in api.__all__ if inspect.isclass(getattr(api, name))}
    missing = {
        f"{found.__module__}.{found.__qualname__}, of {cls.__name__}.{name}"
        for cls in public
        for name, hint in _members(cls)
        for found in _types(hint)
        if found not in public
        and not {found.__name__, f"{found.__module__.rpartition('.')[2]}.{found.__name__}"}
        & NOT_EXPORTED
    }
    assert not missing
