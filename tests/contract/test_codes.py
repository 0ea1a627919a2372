"""Every method's codes are documented, and the services' defects are in no list."""

from __future__ import annotations

from grpc import StatusCode

from campaigns.fuzz.methods import METHODS
from mentorgrad.wire.documented_codes import ANY, SPECIFIC


def test_every_method_has_a_list_and_every_list_a_method() -> None:
    ours = {method.path for method in METHODS if method.service.startswith("mentorgrad.")}
    assert set(SPECIFIC) == ours


def test_a_defect_is_never_documented() -> None:
    assert {StatusCode.INTERNAL, StatusCode.UNKNOWN}.isdisjoint(ANY)
    for codes in SPECIFIC.values():
        assert {StatusCode.INTERNAL, StatusCode.UNKNOWN, *ANY}.isdisjoint(codes)
