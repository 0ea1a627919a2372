"""What somebody without a token can try."""

from __future__ import annotations

import contextlib
import gzip
import socket
import time
import urllib.request
from typing import Any

from campaigns.attacks.target import CHECK, LIST_RUNS, WATCH, Target
from tests.support.raw_http2 import RawConnection, message

_MIB = 1 << 20


def slots(target: Target) -> dict[str, Any]:
    """750 watches of the health, and as many calls of which only the headers are sent."""
    found: dict[str, Any] = {"before": target.honest()}
    for name, path, body in (("watches", WATCH, message(b"")), ("headers only", LIST_RUNS, b"")):
        with contextlib.ExitStack() as stack:
            for _ in range(5):
                connection = stack.enter_context(RawConnection(target.address))
                for _ in range(150):
                    connection.send(connection.open(path), body)
                connection.wait(lambda c=connection: len(c.answered | c.ended) >= 150, 1)
            found[f"during {name}"] = target.honest()
        time.sleep(1)
    return found


def half_messages(target: Target) -> dict[str, Any]:
    """Messages of 8 MiB of which the last byte is missing, for 12 s."""
    before = target.status("VmRSS")
    sent = 0
    with contextlib.ExitStack() as stack:
        ends = time.monotonic() + 12
        while time.monotonic() < ends and sent < 3_000 * _MIB:
            connection = stack.enter_context(RawConnection(target.address, patience=0.02))
            for path in (LIST_RUNS, CHECK) * 8:
                stream = connection.open(path)
                sent += connection.send(stream, message(bytes(8 * _MIB - 1), 8 * _MIB))
        during = target.honest()
        held = target.status("VmRSS")
    return {"MiB before": before // _MIB, "MiB held": held // _MIB, "during": during}


def endless_message(target: Target) -> dict[str, Any]:
    """One message of 4 GiB, announced; how much of it is taken in 12 s."""
    before = target.status("VmRSS")
    taken = {}
    for path in (LIST_RUNS, CHECK):
        with RawConnection(target.address) as connection:
            stream = connection.open(path)
            ends, sent = time.monotonic() + 6, connection.send(stream, message(b"", 0xFFFFFFFF))
            while time.monotonic() < ends and sent < 1_000 * _MIB:
                more = connection.send(stream, bytes(4 * _MIB))
                sent += more
                if not more:
                    break
        taken[path.rpartition("/")[2]] = sent // _MIB
    most = target.status("VmHWM")
    return {"MiB before": before // _MIB, "MiB at most": most // _MIB, "MiB taken": taken}


def bombs(target: Target) -> dict[str, Any]:
    """8 KiB of gzip that are 8 MiB, 200 times."""
    packed = gzip.compress(bytes(8 * _MIB - 100))
    before, began = target.status("VmHWM"), time.monotonic()
    with RawConnection(target.address) as connection:
        for _ in range(4):
            streams = [connection.open(CHECK, grpc_encoding="gzip") for _ in range(50)]
            for stream in streams:
                connection.send(stream, message(packed, compressed=True), end=True)
            connection.wait(lambda streams=streams: connection.ended.issuperset(streams), 30)
    seconds = time.monotonic() - began
    most = target.status("VmHWM")
    return {
        "MiB before": before // _MIB,
        "MiB at most": most // _MIB,
        "seconds": round(seconds, 1),
        "during": target.honest(),
    }


def silent_sockets(target: Target) -> dict[str, Any]:
    """2,000 TCP connections that say nothing."""
    before = target.open_files()
    with contextlib.ExitStack() as stack:
        for _ in range(2_000):
            with contextlib.suppress(OSError):
                host, _, port = target.address.rpartition(":")
                stack.enter_context(socket.create_connection((host, int(port)), 1))
        time.sleep(1)
        full, honest = target.open_files(), target.honest()
        time.sleep(12)
        later, again = target.open_files(), target.honest()
    return {
        "files": {"before": before, "at once": full, "after 12 s": later},
        "answers": {"at once": honest, "after 12 s": again},
    }


def metrics_sockets(target: Target) -> dict[str, Any]:
    """500 connections to the port of the metrics that ask for nothing."""
    host, _, port = target.metrics.rpartition(":")
    before = target.status("Threads")
    with contextlib.ExitStack() as stack:
        for _ in range(500):
            stack.enter_context(socket.create_connection((host, int(port)), 5))
        time.sleep(1)
        threads, began = target.status("Threads"), time.monotonic()
        try:
            with urllib.request.urlopen(f"http://{target.metrics}/metrics", timeout=30) as answer:
                answer.read()
            said = "OK"
        except OSError as error:
            said = str(error)
        seconds = time.monotonic() - began
    return {
        "threads": {"before": before, "during": threads},
        "answer": said,
        "seconds": round(seconds, 3),
    }


def closed_window(target: Target) -> dict[str, Any]:
    """Watches of the health that never read; the service is then told to stop."""
    with RawConnection(target.address, window=0) as connection:
        for _ in range(8):
            connection.send(connection.open(WATCH), message(b""))
        time.sleep(1)
        during, began = target.honest(), time.monotonic()
        code = target.stop()
    return {"during": during, "exit code": code, "seconds": round(time.monotonic() - began, 1)}
