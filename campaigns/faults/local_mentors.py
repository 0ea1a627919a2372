"""Scripted mentor services in this process."""

from __future__ import annotations

from mentor_service.backends.scripted import Script, ScriptedBackend
from mentor_service.composition import MentorServer
from mentor_service.profiles import PROFILES
from mentorgrad.event_loop import BackgroundLoop
from tests.support.scripted_mentor import Replies


class Mentors:
    """Mentor services on the process's background loop."""

    def __init__(self) -> None:
        self._held = BackgroundLoop.acquire()
        self._servers: list[MentorServer] = []

    def start(
        self,
        model: str = "scripted",
        script: Script | None = None,
        profile: str = "small",
        port: int = 0,
    ) -> tuple[int, ScriptedBackend]:
        """(port, backend) of another one."""
        backend = ScriptedBackend(script or Replies())
        backend.model = model
        address = self._held.run(self._start(backend, profile, port))
        return int(address.rpartition(":")[2]), backend

    async def _start(self, backend: ScriptedBackend, profile: str, port: int) -> str:
        listen = f"127.0.0.1:{port}"
        self._servers.append(MentorServer(backend, PROFILES[profile], listen))
        return await self._servers[-1].start()

    def stop(self) -> None:
        """Stops the newest one, as it does when it is told to."""
        self._held.run(self._servers.pop().stop(0.5))

    def close(self) -> None:
        for server in self._servers:
            self._held.run(server.stop(0.0))
        self._held.release()
