"""Environments of packages that do not fit into ours, such as those of peers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def python_of(name: str) -> Path:
    """The Python of the environment `.venv-NAME`, which is created on first use, with the packages
    that `constraints-NAME.txt` pins."""
    folder = ROOT / f".venv-{name}"
    python = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        print(f"creating {folder.name} ...", file=sys.stderr)
        pinned = ROOT / f"constraints-{name}.txt"
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", pinned], check=True)
        (folder / ".ready").touch()
    return python
