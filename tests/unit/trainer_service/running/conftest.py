from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_probe(without_probe: None) -> None:
    """Runs are short here, and nothing looks at their dearest baseline."""
