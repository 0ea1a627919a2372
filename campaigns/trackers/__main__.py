"""Writes a run for TensorBoard, MLflow and W&B, and reads it back with their own packages.

The packages have an environment of their own, `.venv-trackers`, which is created on first use.
The last line of output is one JSON object: what each tool read.

    python -m campaigns.trackers
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def trackers_python() -> Path:
    """The Python of the trackers' environment."""
    folder = ROOT / ".venv-trackers"
    python = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        print("creating the trackers' environment ...", file=sys.stderr)
        pinned = ROOT / "constraints-trackers.txt"
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", pinned], check=True)
        (folder / ".ready").touch()
    return python


def main() -> int:
    python = trackers_python()
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run(
            [python, "-m", "campaigns.trackers.read_back", folder],
            cwd=ROOT,
            env={"PYTHONPATH": f"{ROOT / 'client'}:{ROOT}", "HOME": folder},
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
