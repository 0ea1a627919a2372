from __future__ import annotations

import subprocess
import sys

import pytest

import mentorgrad
from mentorgrad import api


def test_every_public_name_is_there_and_listed() -> None:
    for name in api.__all__:
        assert getattr(mentorgrad, name) is getattr(api, name)
    assert set(api.__all__) <= set(dir(mentorgrad))
    with pytest.raises(AttributeError, match="Nonsense"):
        mentorgrad.Nonsense  # noqa: B018


def test_importing_the_package_and_the_command_loads_nothing_heavy() -> None:
    code = (
        "import sys, mentorgrad; assert 'grpc' not in sys.modules and 'numpy' not in sys.modules;"
        "import mentorgrad.cli.main;"
        "assert not {'grpc', 'matplotlib', 'torch', 'sqlalchemy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
