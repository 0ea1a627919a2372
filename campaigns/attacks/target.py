"""The trainer service with tokens and metrics, and those who call it as they should."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import grpc

from mentorgrad.v1 import history_service_pb2 as history
from service_common import tokens
from service_common.tokens import Scope
from tests.support.child import Child

LIST_RUNS = "/mentorgrad.v1.HistoryService/ListRuns"
CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"


class Target:
    """The service, from entering to leaving the block.

    Args:
        folder: Where its log, store and tokens go.
    """

    def __init__(self, folder: Path) -> None:
        file = folder / "tokens.json"
        self.tokens = {
            scope: tokens.create(file, f"the {scope}", [scope])[1]
            for scope in (Scope.READ, Scope.RUN, Scope.ADMIN)
        }
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.metrics = f"127.0.0.1:{probe.getsockname()[1]}"
        os.environ["MENTORGRAD_TRAINER_TOKENS"] = str(file)
        os.environ["MENTORGRAD_TRAINER_METRICS"] = self.metrics
        self._folder = folder

    def __enter__(self) -> Target:
        self._child = Child(
            self._folder / "trainer.log",
            "campaigns.fuzz.trainer",
            *(str(self._folder), "127.0.0.1:1", f"sqlite:///{self._folder}/runs.sqlite"),
        )
        self.address = self._child.address
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> int:
        """Tells the service to stop; returns its exit code. Stopping again does nothing."""
        if self._child.code is None:
            self._child.stop()
        return self._child.code or 0

    def status(self, entry: str) -> int:
        """An entry of the process's status: ``VmRSS`` and ``VmHWM`` in bytes, ``Threads``."""
        if entry.startswith("Vm"):
            return self._child.memory(entry)
        return int(self._child.status(entry).split()[0])

    def open_files(self) -> int:
        """Number of files and sockets that the service has open."""
        return self._child.open_files()

    def call(self, path: str, scope: Scope | None = None, data: bytes = b"") -> tuple[str, float]:
        """One call over a new connection; returns the name of the status, and seconds."""
        bearer = () if scope is None else (("authorization", f"Bearer {self.tokens[scope]}"),)
        options = [("grpc.use_local_subchannel_pool", 1)]
        began = time.monotonic()
        with grpc.insecure_channel(self.address, options) as channel:
            try:
                channel.unary_unary(path)(data, metadata=bearer, timeout=10)
                code = "OK"
            except grpc.RpcError as error:
                code = error.code().name  # type: ignore[attr-defined]
        return code, time.monotonic() - began

    def honest(self) -> dict[str, str]:
        """What an administrator and a health check get."""
        listed = history.ListRunsRequest().SerializeToString()
        return {
            "admin": self.call(LIST_RUNS, Scope.ADMIN, listed)[0],
            "health": self.call(CHECK)[0],
        }
