"""Runs a module with bounded memory, and no longer than its parent: ``confined.py MODULE ...``

A service that takes more memory than that ends here, and does not take the machine with it.
"""

from __future__ import annotations

import ctypes
import resource
import runpy
import signal
import sys

MOST_MEMORY = 4 << 30
"""Bytes of address space."""
_PR_SET_PDEATHSIG = 1


def confine() -> None:
    """Sets the limit of this process's memory; a stricter one stays."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = MOST_MEMORY if hard == resource.RLIM_INFINITY else min(MOST_MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))


if __name__ == "__main__":
    confine()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
