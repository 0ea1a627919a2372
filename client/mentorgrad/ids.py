"""Run ids: unique, lower-case, and sortable by time of creation."""

from __future__ import annotations

import secrets
import threading
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32: no letter that is mistaken for a digit."""

_lock = threading.Lock()
_last = 0


def new_run_id() -> str:
    """26 characters: 48 bits of milliseconds, then 80 random bits.

    Two ids of one process never sort the wrong way round, however fast they are made.
    """
    global _last
    fresh = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    with _lock:
        # Within one millisecond, or after the clock was set back, count on instead.
        _last = number = max(fresh, _last + 1)
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))
