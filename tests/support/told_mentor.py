"""A mentor as a process of its own that says what a file says: ``told_mentor.py PROFILE FILE``.

The file may hold what UTF-8 cannot spell, and is read anew for every question.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from mentor_service.backends.scripted import ScriptedBackend
from mentor_service.composition import MentorServer
from mentor_service.profiles import PROFILES
from service_common import logs
from service_common.server import announce, serve_until_told


async def main() -> None:
    profile, file = sys.argv[1], Path(sys.argv[2])
    backend = ScriptedBackend(lambda _: file.read_bytes().decode("utf-8", "surrogatepass"))
    server = MentorServer(backend, PROFILES[profile])
    address = await server.start()
    await serve_until_told(server, 0.5, lambda: announce("mentor", address, ""))


if __name__ == "__main__":
    logs.configure("error")
    asyncio.run(main())
