"""What an agent finds on its machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from mentorgrad import host_memory as module
from mentorgrad.host_memory import host_memory
from trainer_service.agent.devices import find_devices


@pytest.mark.parametrize(("limit", "size"), [("1048576\n", 1 << 20), ("max\n", None), (None, None)])
def test_the_limit_of_a_container_is_its_memory(
    limit: str | None, size: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "memory.max"
    monkeypatch.setattr(module, "_LIMIT", file)
    whole = host_memory()
    assert whole > 1 << 20
    if limit is not None:
        file.write_text(limit)
    assert host_memory() == (size or whole)
    found = find_devices("cpu")
    assert (found.names, found.memory_mib) == (("cpu",), host_memory() >> 20)
