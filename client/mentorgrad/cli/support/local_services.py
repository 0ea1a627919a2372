"""Services started by a command itself, for `mentorgrad experiment run --local` and the demo."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from mentorgrad.cli.support.extras import require_extras
from mentorgrad.cli.support.output import Output, counted
from mentorgrad.cli.support.output_paths import output_folder
from mentorgrad.cli.support.processes import Services, cores, divide_cores
from mentorgrad.cli.support.service_flags import STORE_VARIABLE
from mentorgrad.errors import InvalidInput
from mentorgrad.host_memory import host_memory

ANYWHERE = "127.0.0.1:0"
"""A free loopback port."""

STORE = "runs.sqlite"
"""File name of the store in the directory."""

MOST_WORKERS = 64
"""The maximum of the trainer's settings."""

_GPU_WORKERS = 4
"""Default number of workers that share one GPU."""

_RUNS_EACH = 50
"""Runs that a worker process executes one after another."""

_GIB_EACH = 1.0
"""Memory estimate per worker, GiB."""


def share_cores(total: int, has_mentor: bool, gib: float) -> tuple[int, int]:
    """Number of mentor threads, and number of workers with one thread each.

    Experiments are many small runs, which do not benefit from several threads each.

    Args:
        total: Number of cores.
        has_mentor: Whether a mentor runs on the same machine; its threads busy-wait.
        gib: Memory of the machine, GiB.
    """
    mentor, workers = divide_cores(total) if has_mentor else (0, total)
    return mentor, max(1, min(workers, int(gib / _GIB_EACH), MOST_WORKERS))


def memory_gib() -> float:
    """Memory of this machine, GiB."""
    return host_memory() / 2**30


def has_gpu() -> bool:
    """Whether this machine has an NVIDIA GPU."""
    return Path("/proc/driver/nvidia/version").exists()


@contextlib.contextmanager
def local_services(
    out: Output,
    directory: Path,
    mentors: Sequence[str],
    *,
    workers: int | None,
    threads: int = 1,
    model: str | None = None,
    trainer_flags: Sequence[str] = (),
) -> Iterator[str]:
    """Runs a trainer, and a mentor if one is needed, until the block exits.

    Args:
        out: Output for progress lines.
        directory: Folder for the store and the logs; created if it does not exist.
        mentors: Names of the mentors that the arms use; empty: no mentor is started.
        workers: Number of concurrent runs; None: chosen by the cores or the GPU.
        threads: Threads of each worker.
        model: Model of the mentor; None: the embedded default.
        trainer_flags: Further flags of the trainer.

    Yields:
        The trainer's address.

    Raises:
        InvalidInput: The arms use several mentors; only one can be started.
        Unsupported: An extra is not installed.
        Unavailable: A service does not start.
    """
    if len(mentors) > 1:
        raise InvalidInput.field(
            "--local",
            f"starts only one mentor, but the arms use {', '.join(mentors)}; start the services "
            "yourself and give the trainer's address with --server",
        )
    extras = ("trainer", "mentor") if mentors else ("trainer",)
    require_extras("--local", extras, ",".join(extras))
    mentor_threads, share = share_cores(cores(), bool(mentors), memory_gib())
    if workers is None:
        workers = _GPU_WORKERS if has_gpu() else share
    output_folder("--directory", directory).mkdir(parents=True, exist_ok=True)
    flags = ["--listen", ANYWHERE, "--threads", str(threads), "--workers-per-device", str(workers)]
    # A worker process for many runs imports its libraries once; no standby is needed.
    flags += ["--no-warm", "--runs-per-worker", str(_RUNS_EACH)]
    flags += trainer_flags
    with Services() as services:
        for name in mentors:
            out.line("starting a mentor service ...")
            address = services.start(
                "mentor",
                [
                    *("--listen", ANYWHERE, "--threads", str(mentor_threads)),
                    *(("--model", model) if model else ()),
                ],
                mentor_threads,
                directory / "mentor.log",
            )
            out.line(f"mentor at {address}")
            flags += ["--mentor", f"{name}={address}"]
        out.line(f"starting a trainer service with {counted(workers, 'worker')} ...")
        store = f"sqlite:///{directory / STORE}"
        log = directory / "trainer.log"
        address = services.start(
            "trainer", flags, threads, log, environment={STORE_VARIABLE: store}
        )
        out.line(f"trainer at {address}")
        yield address
