"""Health checks behind each other: the longest is how long a service answered nobody.

In a process of its own, which an attack does not slow down.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from types import TracebackType
from typing import Any, Self

import grpc

from campaigns.attacks.target import CHECK


class Pulse:
    """Checks a service while the block runs.

    Args:
        address: ``HOST:PORT``.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self.longest_ms = 0.0
        """Of the longest check, once the block is left."""

    def __enter__(self) -> Self:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "campaigns.attacks.pulse", self._address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._child.stdout is not None
        self._child.stdout.readline()  # it has begun
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        said, _ = self._child.communicate()
        self.longest_ms = round(float(said))


def main(address: str) -> None:
    stopped = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        stopped.set()

    with grpc.insecure_channel(address) as channel:
        check: Any = channel.unary_unary(CHECK)
        check(b"", timeout=60)
        print("begun", flush=True)
        threading.Thread(target=wait, daemon=True).start()
        longest = 0.0
        while not stopped.is_set():
            began = time.monotonic()
            check(b"", timeout=60)
            longest = max(longest, time.monotonic() - began)
            stopped.wait(0.005)
    print(longest * 1e3)


if __name__ == "__main__":
    main(sys.argv[1])
