"""Every `pip install` line that we show or run: it names what there is, and pins hold all of it.

A line resolves when every requirement that it leads to has one pinned version and no requirement
forbids that version. All of it is read from what is installed; no index is asked.
"""

from __future__ import annotations

import functools
import importlib.metadata
import re
import runpy
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mentorgrad.cli.support.extras import EXTRAS
from tests.support.deployment import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OURS = "mentorgrad"
PYTHONS = ("3.11", "3.12")
"""The oldest promised version, and the images'."""


def constraints(name: str = "constraints.txt") -> dict[str, str]:
    """Pinned versions by canonical name."""
    lines = (ROOT / name).read_text().split()
    pairs = [line.split("==") for line in lines]
    found = {canonicalize_name(package): version for package, version in pairs}
    assert len(found) == len(lines), f"{name} pins something twice"
    return found


PINS = constraints()


IMAGES = "deploy/hash_requirements.py"
"""Asks pip what the images install; see test_deployment_files.py for the Dockerfile itself."""


def pip_lines() -> Iterator[tuple[str, str]]:
    """Where it stands, and what follows `pip install`."""
    for image in runpy.run_path(str(ROOT / IMAGES))["IMAGES"].values():
        limits = [f"-c {name}" for name in image.constraints]
        packages = [package.replace(str(ROOT), ".") for package in image.packages]
        yield IMAGES, " ".join([*packages, *limits])
        if image.alone:
            yield IMAGES, " ".join(["--no-deps", *image.alone, *limits])
    places = ["README.md", "CONTRIBUTING.md", "Makefile"]
    places += [str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("docs/**/*.md"))]
    places += [
        str(path.relative_to(ROOT))
        for path in sorted(ROOT.glob("*/**/README.md"))
        if "node_modules" not in path.parts and ".venv" not in path.parts[len(ROOT.parts)]
    ]
    for place in places:
        text = (ROOT / place).read_text().replace("\\\n", " ")
        for line in text.splitlines():
            for match in re.finditer(
                r"(?:pip(?: --[\w-]+)*|\$\(PIP\)) install ([^`|&;#\n]*)", line
            ):
                yield place, match[1].strip()


LINES = sorted(set(pip_lines()))


def requirements(line: str) -> list[Requirement]:
    """What a line asks for; our own distribution by any of its spellings.

    A file of pins for an environment of its own (``-r``) is read, and left out: its versions are
    others than the installed ones, and `make check` installs them.
    """
    words, found = iter(shlex.split(line)), []
    for word in words:
        if word in ("-r", "-c", "--constraint", "--build-constraint"):
            assert constraints(next(words))
        elif not word.startswith(("-", "$(")):
            own = re.fullmatch(r"(?:\.|\$1|[\w./-]*\.whl)(\[[\w,-]+\])?", word)
            found.append(Requirement(OURS + (own[1] or "") if own else word))
    return found


def environment(python: str, extra: str) -> dict[str, str]:
    return {"python_version": python, "python_full_version": f"{python}.9", "extra": extra}


@functools.cache
def declared(name: str) -> tuple[Requirement, ...]:
    """What a distribution requires, its extras included."""
    if name == OURS:
        extras = PROJECT["optional-dependencies"]
        lines = [*PROJECT["dependencies"]]
        lines += [f'{one} ; extra == "{extra}"' for extra in extras for one in extras[extra]]
    else:
        lines = importlib.metadata.requires(name) or []
    return tuple(map(Requirement, lines))


@functools.cache
def needed(name: str, extra: str, python: str) -> tuple[Requirement, ...]:
    """What a distribution, or one of its extras, requires there."""
    given = environment(python, extra)
    return tuple(
        further
        for further in declared(name)
        if further.marker is None
        or (further.marker.evaluate(given) and (not extra or "extra" in str(further.marker)))
    )


installed = functools.cache(importlib.metadata.version)


def unresolved(start: list[Requirement], python: str, follow: bool = True) -> Iterator[str]:
    """What is wrong with what some requirements lead to; nothing, if they resolve."""
    seen: set[tuple[str, str]] = set()
    queue = [(requirement, "the line") for requirement in start]
    while queue:
        wanted, by = queue.pop()
        name = canonicalize_name(wanted.name)
        if name != OURS:
            pin = PINS.get(name)
            if pin is None:
                yield f"{by} needs {name}, which has no pin"
                continue
            if not wanted.specifier.contains(pin, prereleases=True):
                yield f"{by} needs {wanted}, the pin is {pin}"
            # What a distribution requires is read from the installed one.
            if installed(name).partition("+")[0] != pin:
                yield f"{name} is installed in another version than its pin {pin}"
        if not follow and by == "the line":
            continue
        for extra in ("", *wanted.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            queue += [(further, name) for further in needed(name, extra, python)]


def test_there_are_lines() -> None:
    assert {IMAGES, "README.md", "Makefile"} <= {place for place, _ in LINES}
    asked = {extra for _, line in LINES for one in requirements(line) for extra in one.extras}
    assert {"trainer", "mentor", "postgres", "demo", "dev"} <= asked


@pytest.mark.slow
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(("place", "line"), LINES)
def test_a_line_resolves_to_pins(place: str, line: str, python: str) -> None:
    for requirement in requirements(line):
        if canonicalize_name(requirement.name) == OURS:
            unknown = requirement.extras - PROJECT["optional-dependencies"].keys()
            assert not unknown, f"{place}: there is no extra {unknown}"
    wrong = sorted(set(unresolved(requirements(line), python, follow="--no-deps" not in line)))
    assert not wrong, f"{place}: pip install {line}"


@pytest.mark.parametrize("line", [line for place, line in LINES if place == IMAGES])
def test_an_image_is_built_from_pins_only(line: str) -> None:
    assert "-c constraints.txt" in line
    if "torch" in line or "trainer" in line:
        assert "-c constraints-cuda.txt" in line


def test_the_pins_of_cuda_are_the_other_ones() -> None:
    cuda = constraints("constraints-cuda.txt")
    assert not cuda.keys() & PINS.keys()
    assert {"triton", "cuda-toolkit"} <= cuda.keys()
    assert all(re.match("nvidia-|cuda-|triton", name) for name in cuda)


CUDA_WHEELS = {
    "torch==2.13.0": (
        "filelock",
        "typing-extensions>=4.10.0",
        "setuptools>=77.0.3",
        "sympy>=1.13.3",
        "networkx>=2.5.1",
        "jinja2",
        "fsspec>=0.8.5",
        "cuda-toolkit==13.0.3",
        "cuda-bindings<14,>=13.0.3",
        "nvidia-cudnn-cu13==9.20.0.48",
        "nvidia-cusparselt-cu13==0.8.1",
        "nvidia-nccl-cu13==2.29.7",
        "nvidia-nvshmem-cu13==3.4.5",
        "triton==3.7.1",
    ),
    # With the extras that torch names: cublas, cudart, cufft, cufile, cupti, curand, cusolver,
    # cusparse, nvjitlink, nvrtc and nvtx.
    "cuda-toolkit==13.0.3": (
        "nvidia-cublas==13.1.1.3.*",
        "nvidia-cuda-cupti==13.0.85.*",
        "nvidia-cuda-nvrtc==13.0.88.*",
        "nvidia-cuda-runtime==13.0.96.*",
        "nvidia-cufft==12.0.0.61.*",
        "nvidia-cufile==1.15.1.6.*",
        "nvidia-curand==10.4.0.35.*",
        "nvidia-cusolver==12.0.4.66.*",
        "nvidia-cusparse==12.6.3.3.*",
        "nvidia-nvjitlink<14,>=13.0.88",
        "nvidia-nvtx==13.0.85.*",
    ),
    "cuda-bindings==13.5.0": ("cuda-pathfinder>=1.4.2",),
    "nvidia-cudnn-cu13==9.20.0.48": ("nvidia-cublas",),
    "nvidia-cublas==13.1.1.3": ("nvidia-cuda-nvrtc",),
    "nvidia-cufft==12.0.0.61": ("nvidia-nvjitlink",),
    "nvidia-cusolver==12.0.4.66": ("nvidia-cublas", "nvidia-nvjitlink", "nvidia-cusparse"),
    "nvidia-cusparse==12.6.3.3": ("nvidia-nvjitlink",),
}
"""What the wheels for NVIDIA devices on x86-64 Linux require, by their metadata: torch as it is
installed for tests, for the CPU, requires none of it. New pins need this list anew, from
``pip install --dry-run --report FILE torch -c constraints.txt -c constraints-cuda.txt``."""


def contrary(pins: dict[str, str]) -> set[str]:
    """What CUDA's wheels ask for, and what they are, that is not pinned so."""
    asked = [*CUDA_WHEELS, *(one for required in CUDA_WHEELS.values() for one in required)]
    found = {}
    for wanted in map(Requirement, asked):
        pin = pins.get(canonicalize_name(wanted.name))
        found[str(wanted)] = pin is not None and wanted.specifier.contains(pin)
    return {wanted for wanted, held in found.items() if not held}


def test_what_the_wheels_of_cuda_ask_for_is_pinned() -> None:
    cuda = constraints("constraints-cuda.txt")
    assert contrary(PINS | cuda) == set()
    asked = {Requirement(one).name for required in CUDA_WHEELS.values() for one in required}
    assert cuda.keys() <= asked  # and nothing else is
    assert contrary(PINS | cuda | {"nvidia-nvtx": "13.1.0"}) == {"nvidia-nvtx==13.0.85.*"}
    assert "triton==3.7.1" in contrary(PINS)


@pytest.mark.slow
def test_every_extra_resolves_and_the_commands_name_only_what_there_is() -> None:
    extras = PROJECT["optional-dependencies"]
    for extra in extras.keys() - {"protos", "ray", *TRACKERS}:  # pinned by themselves, see below
        wrong = sorted(set(unresolved([Requirement(f"{OURS}[{extra}]")], PYTHONS[0])))
        assert not wrong, extra
    assert EXTRAS.keys() <= extras.keys()
    packages = ("client/mentorgrad", "service_common", "run_store")
    packages += ("trainer_service", "mentor_service", "ui_service")
    sources = [path for package in packages for path in (ROOT / package).rglob("*.py")]
    said = {
        name
        for path in sources
        for found in re.findall(r"pip_line\('([\w,]+)'\)", Path(path).read_text())
        for name in found.split(",")
    }
    assert "trainer" in said
    assert said <= extras.keys()


def test_the_generator_of_stubs_is_an_extra_with_pins_of_its_own() -> None:
    pins = constraints("constraints-protos.txt")
    extras = {
        name: [Requirement(line) for line in lines]
        for name, lines in PROJECT["optional-dependencies"].items()
    }
    for wanted in extras["protos"]:
        assert wanted.specifier.contains(pins[canonicalize_name(wanted.name)]), wanted
    # It generates for the oldest grpcio and protobuf that the distribution promises to work with.
    for wanted in map(Requirement, PROJECT["dependencies"]):
        if wanted.name in ("grpcio", "protobuf"):
            (floor,) = wanted.specifier
            assert floor.operator == ">="
            assert f"{pins[wanted.name]}.".startswith(f"{floor.version}.")
    # The two sets of pins cannot be installed together, so no other extra leads to this one.
    assert pins["protobuf"] != PINS["protobuf"]
    for name in extras.keys() - {"protos"}:
        for wanted in extras[name]:
            assert wanted.name != "grpcio-tools", name
            assert "protos" not in wanted.extras, name


TRACKERS = ("mlflow", "wandb")


@pytest.mark.parametrize("tracker", TRACKERS)
def test_trackers_are_extras_with_pins_of_their_own(tracker: str) -> None:
    pins, extras = constraints("constraints-trackers.txt"), PROJECT["optional-dependencies"]
    (wanted,) = map(Requirement, extras[tracker])
    assert wanted.specifier.contains(pins[wanted.name])
    assert pins["tensorboard"] == PINS["tensorboard"]
    (everything,) = (Requirement(line) for line in extras["dev"] if line.startswith(OURS))
    assert tracker not in everything.extras


def test_ray_is_an_extra_with_a_pin_of_its_own() -> None:
    (wanted,) = map(Requirement, PROJECT["optional-dependencies"]["ray"])
    assert wanted.specifier.contains(constraints("constraints-ray.txt")["ray"])


def test_a_missing_or_contrary_pin_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    start: list[Any] = [Requirement("mentorgrad[trainer]")]
    assert not list(unresolved(start, "3.11"))
    monkeypatch.delitem(PINS, "mpmath")  # of sympy, of torch
    assert "sympy needs mpmath, which has no pin" in set(unresolved(start, "3.11"))
    monkeypatch.setitem(PINS, "mpmath", "99.0")
    assert any(said.startswith("sympy needs mpmath") for said in unresolved(start, "3.11"))
