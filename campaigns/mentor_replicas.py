"""Replicas of a mentor behind one address: whether each adds its own throughput.

    python -m campaigns.mentor_replicas [--replicas 1 2 4] [--clients 4] [--questions 8]
        [--delay 1.0]

The mentors are real services; their backend answers one question at a time, after a fixed time, as
a model does that is busy. One address spreads connections over them in turn, as the Service of a
Kubernetes Deployment does (by chance, there). Each client has a connection of its own, as each run
of a trainer has, and asks one question after another; there are as many clients per replica in all
cases. `per_replica` is the throughput of a replica relative to that of the first number of
replicas, and `of_possible` relative to a backend that is never idle. The last line is one JSON
object.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from mentorgrad.domain.advice import AdviseOpen, AnswerStatus, ProposalRequest, ProposeInput
from mentorgrad.mentor_client import AsyncMentorClient
from tests.support.mentor_process import MentorProcess


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def one_port(ports: Sequence[int]) -> AsyncIterator[int]:
    """A port whose connections go to the ports in turn. It listens on all loopback addresses: gRPC
    shares a connection between the clients of a process that name the same one."""
    turns = itertools.cycle(ports)

    async def spread(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", next(turns))
        await asyncio.gather(_pipe(reader, back), _pipe(there, writer))

    server = await asyncio.start_server(spread, "0.0.0.0", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def ask(address: str, name: str, questions: int) -> list[float]:
    """One client's questions; returns the seconds of each."""
    seconds = []
    async with AsyncMentorClient(address) as client:
        for number in range(questions):
            opened = AdviseOpen(session_id=f"{name}-{number}", seed=number)
            request = ProposalRequest(request_id=f"{name}-{number}", count=2)
            began = time.perf_counter()
            answer = await client.propose(ProposeInput(opened, request=request))
            assert answer.status is AnswerStatus.USABLE, answer
            seconds.append(time.perf_counter() - began)
    return seconds


async def measured(replicas: int, given: argparse.Namespace) -> dict[str, Any]:
    """The figures of a number of replicas."""
    mentors = [MentorProcess(0, given.delay) for _ in range(replicas)]
    try:
        async with one_port([mentor.port for mentor in mentors]) as port:
            clients = replicas * given.clients
            began = time.perf_counter()
            waits = await asyncio.gather(
                *(ask(f"127.0.0.{n + 1}:{port}", f"c{n}", given.questions) for n in range(clients))
            )
            seconds = time.perf_counter() - began
    finally:
        for mentor in mentors:
            mentor.kill()
    answers = sum(map(len, waits))
    return {
        "replicas": replicas,
        "answers": answers,
        "answers_per_second": round(answers / seconds, 2),
        "of_possible": round(answers / seconds * given.delay / replicas, 3),
    }


async def main(given: argparse.Namespace) -> None:
    """Measures and prints."""
    found = [await measured(replicas, given) for replicas in given.replicas]
    first = found[0]["answers_per_second"] / found[0]["replicas"]
    for figures in found:
        each = figures["answers_per_second"] / figures["replicas"]
        figures["per_replica"] = round(each / first, 3)
    print(json.dumps({"delay": given.delay, "clients": given.clients, "found": found}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--clients", type=int, default=4, help="clients per replica")
    parser.add_argument("--questions", type=int, default=8, help="questions per client")
    parser.add_argument("--delay", type=float, default=1.0, help="seconds per answer")
    asyncio.run(main(parser.parse_args()))
