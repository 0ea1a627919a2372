"""Finds the devices of this machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from mentorgrad.errors import InvalidInput


def find_devices(wanted: str) -> tuple[str, ...]:
    """The devices that runs are executed on, for example ``("cuda:0", "cuda:1")``.

    The service itself never imports torch, so a child process counts the CUDA devices, and only
    if an NVIDIA driver is loaded.

    Raises:
        InvalidInput: `wanted` is ``cuda`` and torch finds no CUDA device.
    """
    if wanted == "cpu":
        return ("cpu",)
    count = _cuda_devices() if Path("/proc/driver/nvidia/version").exists() else 0
    if count == 0 and wanted == "cuda":
        raise InvalidInput.field("device", "torch finds no CUDA device on this machine")
    return tuple(f"cuda:{index}" for index in range(count)) or ("cpu",)


def _cuda_devices() -> int:
    code = "import torch; print(torch.cuda.device_count())"
    asked = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    return int(asked.stdout) if asked.returncode == 0 and asked.stdout.strip().isdigit() else 0
