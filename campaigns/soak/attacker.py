"""The hostile caller of a soak, with a token: ``attacker.py ADDRESS TOKEN ATTACK...``

It reads what to do from standard input: ``attack``; ``burn``, which takes as much processor time
as its attacks have taken and calls nobody; or ``rest``. It ends with its standard input, and says
on its last line how many calls it has made, and its share of a core in attacks and in burning.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter

import grpc

from campaigns.fuzz.methods import METHODS, TRAINER
from mentorgrad.v1 import history_service_pb2 as history
from tests.support.raw_http2 import RawConnection, message

_MIB = 1 << 20
_HISTORY = "/mentorgrad.v1.HistoryService"
_IMPORT = "/mentorgrad.v1.TrainerService/ImportRun"
_WATCH = "/grpc.health.v1.Health/Watch"
_SLICE = 0.02
"""Burning: a share of each slice of this many seconds."""


class Hostile:
    """What one caller can do with a token; every method is one round of an attack."""

    def __init__(self, address: str, token: str) -> None:
        self._address = address
        self._bearer = (("authorization", f"Bearer {token}"),)
        self._authorization = f"Bearer {token}"
        self._channel = grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
        self.calls: Counter[str] = Counter()

    def _call(self, path: str, data: bytes, seconds: float = 10.0) -> None:
        try:
            self._channel.unary_unary(path)(data, metadata=self._bearer, timeout=seconds)
            self.calls["OK"] += 1
        except grpc.RpcError as error:
            self.calls[error.code().name] += 1  # type: ignore[attr-defined]

    def flood(self) -> None:
        """Lists, as fast as they come, and nearly every method with nothing in it: runs that it
        creates would be executed in their turn, like those of others."""
        listed = history.ListRunsRequest(page_size=1000).SerializeToString()
        for _ in range(20):
            self._call(f"{_HISTORY}/ListRuns", listed)
        for method in METHODS:
            is_short = not (method.many_in or method.many_out) and method.server == TRAINER
            if is_short and not method.name.startswith("Create"):
                self._call(method.path, b"", 1.0)

    def worst_shapes(self) -> None:
        """Messages of 8 MiB that are costly to look at."""
        for data in (
            b"\x78\x01" * (4 * _MIB - 50),
            b"\x0a\x00" * (4 * _MIB - 50),
            history.StreamEventsRequest(run_id="x", kinds=[2] * (_MIB - 100)).SerializeToString(),
        ):
            with RawConnection(self._address) as connection:
                stream = connection.open(_IMPORT, authorization=self._authorization)
                body, sent = message(data), 0
                while sent < len(body) and stream not in connection.ended:
                    sent += connection.send(stream, body[sent : sent + _MIB])
                connection.send(stream, b"", end=True)
                connection.wait(lambda s=stream, c=connection: s in c.ended, 10)
            self.calls["worst shapes"] += 1

    def half_messages(self) -> None:
        """Many calls without their last byte, and watches that are never read."""
        with RawConnection(self._address) as connection:
            for path in (_IMPORT, _WATCH, f"{_HISTORY}/StreamEvents"):
                for _ in range(40):
                    stream = connection.open(path, authorization=self._authorization)
                    connection.send(stream, message(bytes(1000), announced=_MIB))
            time.sleep(1.0)
        self.calls["half messages"] += 120

    def cancelled(self) -> None:
        """Streams that are cancelled as soon as they begin."""
        follow = history.StreamEventsRequest(run_id="x", follow=True).SerializeToString()
        for _ in range(20):
            call = self._channel.unary_stream(f"{_HISTORY}/StreamEvents")(
                follow, metadata=self._bearer, timeout=10
            )
            call.cancel()
        self.calls["cancelled"] += 20


class Modes:
    """What the threads do at present."""

    def __init__(self) -> None:
        self.mode = "rest"
        self.seconds: Counter[str] = Counter()
        self.cpu: Counter[str] = Counter()
        self._since = time.monotonic(), time.process_time()

    def change(self, mode: str) -> None:
        """Begins another mode."""
        wall, cpu = time.monotonic(), time.process_time()
        self.seconds[self.mode] += wall - self._since[0]  # type: ignore[assignment]
        self.cpu[self.mode] += cpu - self._since[1]  # type: ignore[assignment]
        self.mode, self._since = mode, (wall, cpu)

    def share(self, mode: str) -> float:
        """Share of a core that a mode has taken."""
        return self.cpu[mode] / max(self.seconds[mode], 1e-9)


def attack(modes: Modes, hostile: Hostile, name: str) -> None:
    """Goes on with one kind of attack as long as it is the time for it."""
    while modes.mode != "end":
        if modes.mode != "attack":
            time.sleep(0.05)
            continue
        try:
            getattr(hostile, name)()
        except OSError:
            time.sleep(0.1)


def burn(modes: Modes) -> None:
    """Takes as much of a core as the attacks did."""
    while modes.mode != "end":
        if modes.mode != "burn":
            time.sleep(0.05)
            continue
        began = time.process_time()
        share = min(modes.share("attack"), 1.0)
        while time.process_time() - began < share * _SLICE:
            pass
        time.sleep((1.0 - share) * _SLICE)


def main(address: str, token: str, *names: str) -> None:
    modes, hostile = Modes(), Hostile(address, token)
    for name in names:
        threading.Thread(target=attack, args=(modes, hostile, name), daemon=True).start()
    threading.Thread(target=burn, args=(modes,), daemon=True).start()
    print("begun", flush=True)
    for line in sys.stdin:
        modes.change(line.strip())
    modes.change("end")
    shares = {mode: round(modes.share(mode), 3) for mode in ("attack", "burn")}
    print(json.dumps({"calls": dict(hostile.calls), "share of a core": shares}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
