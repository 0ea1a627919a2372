"""What the deployment files say, for tests: stages of the Dockerfile, services, manifests."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
SERVICES = ("trainer", "mentor", "predictor")


@dataclass(frozen=True)
class Stage:
    """One stage of the Dockerfile."""

    name: str
    base: str
    """An image, or the name of an earlier stage."""
    instructions: tuple[tuple[str, str], ...]
    """Word and the rest of the line, in order; first those of the stage that it stands on."""

    def all(self, word: str) -> list[str]:
        return [rest for found, rest in self.instructions if found == word]

    def last(self, word: str) -> str:
        return self.all(word)[-1]

    def environment(self) -> dict[str, str]:
        return dict(re.findall(r"(\w+)=(\S+)", " ".join(self.all("ENV"))))


def stages() -> dict[str, Stage]:
    """The Dockerfile's stages by name."""
    text = "\n".join(
        line
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if not line.lstrip().startswith("#")
    )
    arguments = dict(re.findall(r"^ARG (\w+)=(\S+)$", text, re.MULTILINE))
    text = re.sub(r"\$\{(\w+)\}", lambda found: arguments[found[1]], text)
    found: dict[str, Stage] = {}
    for block in re.split(r"^(?=FROM )", text.replace("\\\n", " "), flags=re.MULTILINE)[1:]:
        words = [tuple(line.split(None, 1)) for line in block.splitlines() if line.strip()]
        match = re.fullmatch(r"(\S+) AS (\S+)", words[0][1])
        assert match, words[0]
        below = found[match[1]].instructions if match[1] in found else ()
        found[match[2]] = Stage(match[2], match[1], (*below, *words[1:]))  # type: ignore[arg-type]
    return found


def health_command(service: str) -> list[str]:
    """What the image's health check runs."""
    match = re.search(r"CMD (\[.*\])", stages()[service].last("HEALTHCHECK"))
    assert match
    return list(json.loads(match[1]))


def compose() -> dict[str, Any]:
    """The compose file."""
    return dict(yaml.safe_load((ROOT / "compose.yaml").read_text()))


def compose_environment(service: str, secrets: Path, data: Path) -> dict[str, str]:
    """What the compose file tells a service by its environment, with its mounts elsewhere."""
    given = compose()["services"][service]["environment"]
    return {
        name: value.replace("/run/secrets/tls", f"{secrets}/tls/{service}")
        .replace("/run/secrets", str(secrets))
        .replace("/data", str(data))
        for name, value in given.items()
    }


def kustomizations() -> dict[Path, list[str]]:
    """The files that each folder of Kubernetes manifests lists, by folder."""
    return {
        file.parent: yaml.safe_load(file.read_text())["resources"]
        for file in sorted((ROOT / "deploy/kubernetes").rglob("kustomization.yaml"))
    }


@functools.cache
def manifests() -> list[dict[str, Any]]:
    """Every Kubernetes object, in the order of the kustomizations."""
    files = [folder / name for folder, names in kustomizations().items() for name in names]
    return [obj for file in files for obj in yaml.safe_load_all(file.read_text())]


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    """Kubernetes objects of a kind, by name."""
    return {obj["metadata"]["name"]: obj for obj in manifests() if obj["kind"] == kind}
