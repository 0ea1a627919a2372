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
        self, model: str = "scripted", script: Script | None = None, profile: str = "small"
    ) -> tuple[int, ScriptedBackend]:
        """(port, backend) of another one."""
        backend = ScriptedBackend(script or Replies())
        backend.model = model
        address = self._held.run(self._start(backend, profile))
        return int(address.rpartition(":")[2]), backend

    async def _start(self, backend: ScriptedBackend, profile: str) -> str:
        self._servers.append(MentorServer(backend, PROFILES[profile]))
        return await self._servers[-1].start()

    def close(self) -> None:
        for server in self._servers:
            self._held.run(server.stop(0.0))
        self._held.release()
