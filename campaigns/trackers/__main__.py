"""Writes a run for TensorBoard, MLflow and W&B, and reads it back with their own packages.

The packages have an environment of their own, `.venv-trackers`, which is created on first use.
The last line of output is one JSON object: what each tool read.

    python -m campaigns.trackers
"""

from __future__ import annotations

import subprocess
import sys
import tempfile

from bench.own_environment import ROOT, python_of


def main() -> int:
    python = python_of("trackers")
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run(
            [python, "-m", "campaigns.trackers.read_back", folder],
            cwd=ROOT,
            env={"PYTHONPATH": f"{ROOT / 'client'}:{ROOT}", "HOME": folder},
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
