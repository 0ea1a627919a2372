from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mentorgrad.cli.support.processes import Services, divide_cores
from mentorgrad.errors import Unavailable

READY = """
import json, os, signal, sys, time
print("threads", os.environ["OMP_NUM_THREADS"], sys.argv[1:], file=sys.stderr, flush=True)
print("a line that is not the one")
print(json.dumps({"service": "toy", "address": "127.0.0.1:7"}), flush=True)
while True:
    time.sleep(0.05)
"""
DEAF = READY.replace("print", "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint", 1)
BROKEN = "import sys; sys.exit('error: the model is missing')"
SILENT = "import time; time.sleep(60)"


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module ``toy_service`` that children can run; write its text."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path / "toy_service.py"


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_service_is_started_and_stopped(toy: Path, tmp_path: Path) -> None:
    toy.write_text(READY)
    log = tmp_path / "toy.log"
    with Services() as services:
        address = services.start("toy", ["--listen", "x"], threads=3, log=log)
        assert address == "127.0.0.1:7"
        process = services._running[0].process
        assert alive(process.pid)
    assert process.returncode == -signal.SIGTERM
    assert log.read_text() == "threads 3 ['serve', '--listen', 'x']\n"


def test_the_environment_is_no_part_of_the_command_line(toy: Path, tmp_path: Path) -> None:
    toy.write_text(READY.replace("sys.argv[1:]", 'os.environ["TOY_STORE"]'))
    log = tmp_path / "toy.log"
    secret = {"TOY_STORE": "postgresql://someone:s3cret@127.0.0.1/runs"}
    with Services() as services:
        services.start("toy", ["--listen", "x"], threads=2, log=log, environment=secret)
        said = Path(f"/proc/{services._running[0].process.pid}/cmdline").read_bytes()
    assert b"--listen" in said
    assert b"s3cret" not in said
    assert log.read_text() == f"threads 2 {secret['TOY_STORE']}\n"


def test_all_are_stopped_on_an_error(toy: Path, tmp_path: Path) -> None:
    toy.write_text(READY)
    children = []

    def interrupted() -> None:
        with Services() as services:
            services.start("toy", [], threads=1, log=tmp_path / "toy.log")
            children.append(services._running[0].process)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert children[0].returncode is not None


def test_one_that_does_not_stop_is_killed(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mentorgrad.cli.support import processes

    monkeypatch.setattr(processes, "_STOP_SECONDS", 0.2)
    toy.write_text(DEAF)
    with Services() as services:
        services.start("toy", [], threads=1, log=tmp_path / "toy.log")
        process = services._running[0].process
    assert process.returncode == -signal.SIGKILL


def test_sigterm_stops_the_services_too(toy: Path, tmp_path: Path) -> None:
    toy.write_text(READY)
    children = []

    def told_to_stop() -> None:
        with Services() as services:
            services.start("toy", [], threads=1, log=tmp_path / "toy.log")
            children.append(services._running[0].process)
            os.kill(os.getpid(), signal.SIGTERM)
            services.wait()

    with pytest.raises(SystemExit) as caught:
        told_to_stop()
    assert caught.value.code == 128 + signal.SIGTERM
    assert children[0].returncode is not None
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


ORPHAN = """
import json, time
from mentorgrad import parent_process
print(json.dumps({"service": "toy", "address": "127.0.0.1:7"}), flush=True)
while not parent_process.has_ended():
    time.sleep(0.01)
"""
PARENT = """
from mentorgrad.cli.support.processes import Services
with Services() as services:
    print(services.start("toy", [], threads=1), flush=True)
    services.wait()
"""


@pytest.mark.slow
def test_they_end_with_a_parent_that_was_killed(toy: Path) -> None:
    toy.write_text(ORPHAN)
    path = os.pathsep.join([str(toy.parent), *sys.path])
    with subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "127.0.0.1:7\n"
        parent.kill()
        # Standard error is the service's too, hence ends with it.
        assert parent.communicate(timeout=60) == ("", "")


def test_one_that_does_not_start_says_why(toy: Path, tmp_path: Path) -> None:
    toy.write_text(BROKEN)
    with Services() as services, pytest.raises(Unavailable, match="error: the model is missing"):
        services.start("toy", [], threads=1, log=tmp_path / "toy.log")


@pytest.mark.slow
def test_one_that_says_nothing_is_given_up(toy: Path, tmp_path: Path) -> None:
    toy.write_text(SILENT)
    with Services() as services, pytest.raises(Unavailable, match="did not start within"):
        services.start("toy", [], threads=1, log=tmp_path / "toy.log", timeout=0.3)


def test_one_that_ends_by_itself_ends_the_waiting(toy: Path, tmp_path: Path) -> None:
    toy.write_text(READY.replace("while True:\n    time.sleep(0.05)", "sys.exit('gone')"))
    with Services() as services:
        services.start("toy", [], threads=1, log=tmp_path / "toy.log")
        with pytest.raises(Unavailable, match="gone"):
            services.wait()


@pytest.mark.parametrize(("total", "shares"), [(1, (1, 1)), (2, (1, 1)), (3, (1, 2)), (8, (4, 4))])
def test_cores_are_divided(total: int, shares: tuple[int, int]) -> None:
    assert divide_cores(total) == shares
