"""Machines for tests: network namespaces where the kernel lets us make some, else homes apart.

Namespaces are joined by a bridge in the first one, so that their addresses and routes are of
nobody's concern outside. Without them all machines are this one's loopback. Either way every
machine has a home of its own, and nothing that a process is told names a file of another's.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COMMAND = str(Path(sys.executable).with_name("mentorgrad"))


@dataclass
class Machine:
    """Where processes run."""

    address: str
    home: Path
    namespace: str = ""
    _running: list[subprocess.Popen[str]] = field(default_factory=list)

    def receive(self, files: Mapping[str, Path]) -> None:
        """Copies files here, by their names here."""
        for name, source in files.items():
            shutil.copy(source, self.home / name)

    def start(self, *command: str, **environment: str) -> subprocess.Popen[str]:
        """Starts a process in the home; it ends with the machine."""
        with (self.home / "log").open("a") as log:
            process = subprocess.Popen(
                [*self._inside(), *command],
                cwd=self.home,
                env=self._environment() | environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._running.append(process)
        return process

    def serve(self, service: str, *arguments: str) -> str:
        """Starts a service; returns its address."""
        listen = f"{self.address}:0"
        process = self.start(
            *(sys.executable, "-m", f"{service}_service", "serve", "--listen", listen), *arguments
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (self.home / "log").read_text()
        return str(json.loads(line)["address"])

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs a `mentorgrad` command to its end."""
        return subprocess.run(
            [*self._inside(), COMMAND, *arguments],
            cwd=self.home,
            env=self._environment() | environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def stop(self) -> None:
        """Ends what still runs."""
        for process in self._running:
            process.terminate()
        for process in self._running:
            process.communicate(timeout=120)

    def _inside(self) -> list[str]:
        return ["ip", "netns", "exec", self.namespace] if self.namespace else []

    def _environment(self) -> dict[str, str]:
        ours = {k: v for k, v in os.environ.items() if not k.startswith("MENTORGRAD_")}
        return ours | {"HOME": str(self.home), "COLUMNS": "200"}


@contextlib.contextmanager
def machines(folder: Path, names: Sequence[str]) -> Iterator[list[Machine]]:
    """As many machines as there are names, which reach each other."""
    with _namespaces(names) as namespaces:
        made = []
        for index, name in enumerate(names):
            home = folder / name
            home.mkdir(mode=0o700)
            address = f"10.77.0.{index + 1}" if namespaces else "127.0.0.1"
            made.append(Machine(address, home, namespaces[index] if namespaces else ""))
        try:
            yield made
        finally:
            for machine in reversed(made):
                machine.stop()


@contextlib.contextmanager
def _namespaces(names: Sequence[str]) -> Iterator[list[str]]:
    """Their namespaces; empty where there can be none."""
    if not _are_allowed():
        yield []
        return
    spaces = [f"mg{os.getpid()}{name}" for name in names]
    try:
        _join(spaces)
        yield spaces
    finally:
        for space in spaces:
            _ip("netns", "del", space)


def _are_allowed() -> bool:
    """Whether the kernel lets us make a namespace and run something in it."""
    if not shutil.which("ip") or os.geteuid() != 0:
        return False
    space = f"mg{os.getpid()}probe"
    try:
        return _ip("netns", "add", space) and _ip("netns", "exec", space, "true")
    finally:
        _ip("netns", "del", space)


def _join(spaces: Sequence[str]) -> None:
    """Makes them, with a bridge in the first.

    Raises:
        AssertionError: A step failed, though namespaces are allowed here.
    """
    first = spaces[0]
    steps = [("netns", "add", space) for space in spaces]
    steps += [("-n", first, "link", "add", "br0", "type", "bridge")]
    for index, space in enumerate(spaces[1:], start=2):
        steps += [
            ("-n", first, *f"link add v{index} type veth peer name br0 netns {space}".split()),
            ("-n", first, "link", "set", f"v{index}", "master", "br0", "up"),
        ]
    for index, space in enumerate(spaces, start=1):
        steps += [
            ("-n", space, "addr", "add", f"10.77.0.{index}/24", "dev", "br0"),
            ("-n", space, "link", "set", "br0", "up"),
            ("-n", space, "link", "set", "lo", "up"),
            ("netns", "exec", space, "true"),
        ]
    for step in steps:
        assert _ip(*step), f"ip {' '.join(step)} failed, though a namespace can be made here"


def _ip(*arguments: str) -> bool:
    return subprocess.run(["ip", *arguments], capture_output=True, check=False).returncode == 0


class FarClient:
    """`tests.support.far_client` on a machine: does what it is told, one thing a line."""

    def __init__(self, machine: Machine) -> None:
        script = Path(__file__).with_name("far_client.py")
        self._process = machine.start(sys.executable, str(script), GRPC_VERBOSITY="NONE")

    def __call__(self, do: str, target: str, **given: Any) -> Any:
        """What came of it; an error as ``[class, code, reason, message]``."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = json.dumps({"do": do, "target": target, **given})
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())
