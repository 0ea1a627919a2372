"""Services of a command's own, for `mentorgrad experiment run --local`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from mentorgrad.cli.support.extras import require_extras
from mentorgrad.cli.support.output import Output, counted
from mentorgrad.cli.support.processes import Services, cores, divide_cores
from mentorgrad.cli.support.service_flags import STORE_VARIABLE
from mentorgrad.errors import InvalidInput

ANYWHERE = "127.0.0.1:0"
"""A free loopback port."""

STORE = "runs.sqlite"
"""Name of the store in the directory."""

MOST_WORKERS = 64
"""As many as a trainer's settings allow."""

_GPU_WORKERS = 4
"""Workers that share one GPU unless told otherwise."""

_RUNS_EACH = 50
"""Runs that a worker's process executes, one after another."""

_GIB_EACH = 1.0
"""Memory that a worker is reckoned with, in GiB."""


def share_cores(total: int, has_mentor: bool, gib: float) -> tuple[int, int]:
    """Threads of the mentor, and workers of one thread each.

    Experiments are many small runs, which gain nothing from several threads each.

    Args:
        total: Cores.
        has_mentor: Whether a mentor runs beside the workers; its threads spin.
        gib: Memory of the machine.
    """
    mentor, workers = divide_cores(total) if has_mentor else (0, total)
    return mentor, max(1, min(workers, int(gib / _GIB_EACH), MOST_WORKERS))


def memory_gib() -> float:
    """Memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


@contextlib.contextmanager
def local_services(
    out: Output,
    directory: Path,
    mentors: Sequence[str],
    *,
    workers: int | None,
    model: str | None,
    data_roots: Sequence[Path],
) -> Iterator[str]:
    """A trainer on a store in a directory, and a mentor if one is asked for, while the block lasts.

    Args:
        out: Where it is told.
        directory: Where store and logs go; made if it is not there.
        mentors: Names by which the mentor is chosen; empty: none is started.
        workers: Runs at once; None: as many as the cores, or a GPU, allow.
        model: Model of the mentor; None: the embedded default.
        data_roots: Folders that tasks' files may lie in.

    Yields:
        The trainer's address.

    Raises:
        InvalidInput: Several mentors are asked for: one cannot stand for all of them.
        Unsupported: An extra is not installed.
        Unavailable: A service does not start.
    """
    if len(mentors) > 1:
        raise InvalidInput.field(
            "--local",
            f"starts one mentor, and the arms ask {', '.join(mentors)}; start the services "
            "yourself and name the trainer with --server",
        )
    extras = ("trainer", "mentor") if mentors else ("trainer",)
    require_extras("--local", extras, ",".join(extras))
    threads, share = share_cores(cores(), bool(mentors), memory_gib())
    if workers is None:
        has_gpu = Path("/proc/driver/nvidia/version").exists()
        workers = _GPU_WORKERS if has_gpu else share
    directory.mkdir(parents=True, exist_ok=True)
    flags = ["--listen", ANYWHERE, "--threads", "1", "--workers-per-device", str(workers)]
    flags += ["--no-warm", "--runs-per-worker", str(_RUNS_EACH)]
    flags += [part for root in data_roots for part in ("--data-root", str(root))]
    with Services() as services:
        for name in mentors:
            out.line("starting a mentor service ...")
            address = services.start(
                "mentor",
                [
                    *("--listen", ANYWHERE, "--threads", str(threads)),
                    *(("--model", model) if model else ()),
                ],
                threads,
                directory / "mentor.log",
            )
            flags += ["--mentor", f"{name}={address}"]
        out.line(f"starting a trainer service with {counted(workers, 'worker')} ...")
        store = f"sqlite:///{directory / STORE}"
        yield services.start(
            "trainer", flags, 1, directory / "trainer.log", environment={STORE_VARIABLE: store}
        )
