"""Run ids (ULIDs in lower case): unique, and sortable by time of creation."""

from __future__ import annotations

import secrets
import threading
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32: without letters that look like digits."""

_lock = threading.Lock()
_last = 0


def new_run_id() -> str:
    """Returns a new run id: 26 characters, 48 bits of Unix milliseconds and 80 random bits.

    Within a process, ids are strictly increasing.
    """
    global _last
    fresh = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    with _lock:
        # Within one millisecond, or after the clock was set back, increment instead.
        _last = number = max(fresh, _last + 1)
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))
