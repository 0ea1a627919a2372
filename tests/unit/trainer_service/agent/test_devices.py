"""What an agent finds on its machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from mentorgrad import host_memory as module
from mentorgrad.host_memory import host_memory
from trainer_service.agent import devices
from trainer_service.agent.devices import do_answer, find_devices


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


@pytest.mark.parametrize("has_driver", [True, False])
def test_a_driver_without_a_device_is_told(
    has_driver: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was started for its GPU would otherwise execute runs on the CPU in silence."""
    monkeypatch.setattr(devices, "_DRIVER", tmp_path if has_driver else tmp_path / "none")
    monkeypatch.setattr(devices, "_cuda_memory", list)
    with capture_logs() as logs:
        assert find_devices("auto").names == ("cpu",)
        assert find_devices("cpu").names == ("cpu",)
    assert [entry["event"] for entry in logs] == ["no_cuda_device"] * has_driver


def test_a_device_that_is_not_there_does_not_answer() -> None:
    assert do_answer(["cpu"])
    assert not do_answer(["cpu", "cuda:99"])
