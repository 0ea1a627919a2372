"""Finds the devices of this machine, and says whether they still answer."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import structlog

from mentorgrad.errors import InvalidInput
from mentorgrad.host_memory import host_memory

log = structlog.get_logger(__name__)

_DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class FoundDevices:
    """What runs are executed on."""

    names: tuple[str, ...] = ()
    """Torch devices, for example ``("cuda:0", "cuda:1")``."""
    memory_mib: int = 0
    """Memory of the smallest of them, in MiB: of the GPU, or of the host for the CPU."""


def find_devices(wanted: str) -> FoundDevices:
    """The devices of this machine.

    The service itself never imports torch, so a child process looks for the CUDA devices, and only
    if an NVIDIA driver is loaded.

    Raises:
        InvalidInput: `wanted` is ``cuda`` and torch finds no CUDA device.
    """
    memory: list[int] = []
    if wanted != "cpu" and _DRIVER.exists():
        memory = _cuda_memory()
    if not memory and wanted == "cuda":
        raise InvalidInput.field("device", "torch finds no CUDA device on this machine")
    if not memory and wanted != "cpu" and _DRIVER.exists():
        log.warning("no_cuda_device", meaning="there is an NVIDIA driver; runs go to the CPU")
    if not memory:
        return FoundDevices(("cpu",), host_memory() >> 20)
    names = tuple(f"cuda:{index}" for index in range(len(memory)))
    return FoundDevices(names, min(memory) >> 20)


_ASK = """
import torch
for index in range(torch.cuda.device_count()):
    print(torch.cuda.get_device_properties(index).total_memory)
"""


def _cuda_memory() -> list[int]:
    """Bytes of each CUDA device."""
    command = [sys.executable, "-c", _ASK]
    asked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    said = asked.stdout.split()
    return [int(size) for size in said if size.isdigit()] if asked.returncode == 0 else []


_USE = """
import sys, torch
for device in sys.argv[1:]:
    try:
        torch.ones(1, device=device).add(1).item()
    except RuntimeError as error:  # other processes may have all of its memory
        if "out of memory" not in str(error):
            raise
"""


def do_answer(devices: Iterable[str]) -> bool:
    """Whether a new process can use all of these devices.

    After one error of its device, a process can compute nothing more on it. Whether the run was at
    fault or the device is lost, only another process can find out; it takes some seconds.
    """
    asked = [device for device in devices if device != "cpu"]
    if not asked:
        return True
    try:
        done = subprocess.run(
            [sys.executable, "-c", _USE, *asked], capture_output=True, check=False, timeout=120
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
