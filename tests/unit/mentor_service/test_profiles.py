from __future__ import annotations

import pytest

from mentor_service.profiles import PROFILES, choose
from mentorgrad.errors import InvalidInput


@pytest.mark.parametrize(
    ("setting", "parameters", "context", "name"),
    [
        ("auto", 135_000_000, 8192, "small"),
        ("auto", 7_000_000_000, 8192, "capable"),
        ("auto", 7_000_000_000, 512, "small"),
        ("auto", None, 8192, "capable"),
        ("small", 7_000_000_000, 8192, "small"),
        ("capable", 135_000_000, 512, "capable"),
    ],
)
def test_the_profile_follows_the_setting_then_size_and_context(
    setting: str, parameters: int | None, context: int, name: str
) -> None:
    assert choose(setting, parameters, context) is PROFILES[name]


def test_an_unknown_profile_names_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match="auto, small, capable"):
        choose("huge", None, 8192)
