"""Rules across the fields of a spec."""

from __future__ import annotations

import pytest

from mentorgrad.domain.spec import RunSpec
from trainer_service.control_plane.spec_rules import spec_violations


@pytest.mark.parametrize(("least", "is_valid"), [("40000", True), ("40 GB", False), ("", False)])
def test_the_memory_that_a_run_requires_is_a_number(least: str, is_valid: bool) -> None:
    found = [v.field for v in spec_violations(RunSpec(requires={"memory_mib": least}))]
    assert found == ([] if is_valid else ["spec.requires"])
