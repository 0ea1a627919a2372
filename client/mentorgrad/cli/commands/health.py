"""`mentorgrad health`: whether a service can serve, as an exit code that health checks want."""

from __future__ import annotations

import asyncio

import typer

from mentorgrad.cli.support.auth_options import credentials
from mentorgrad.cli.support.extras import require_extras
from mentorgrad.cli.support.flag_text import check_address
from mentorgrad.cli.support.options import DEFAULT_SERVER, JsonOption, ServerOption
from mentorgrad.cli.support.output import Output

_TIMEOUT = 5.0
"""Seconds that the answer may take: less than what a container's health check is given."""


def _health(server: ServerOption = DEFAULT_SERVER, as_json: JsonOption = False) -> None:
    """Ask a trainer or mentor service whether it can serve; exit code 1 if it cannot."""
    require_extras("this command", (), "service", "grpcio-health-checking")
    status = asyncio.run(_ask(check_address("--server", server)))
    out = Output(as_json)
    if as_json:
        out.json({"status": status})
    else:
        out.line(status)
    if status != "SERVING":
        raise typer.Exit(1)


async def _ask(server: str) -> str:
    """The status of the service as a whole, by the standard health protocol."""
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    from mentorgrad.wire.connection import Connection

    connection = Connection(server, credentials())
    try:
        check = connection.unary(health_pb2_grpc.HealthStub).Check
        answer = await connection.call(check, health_pb2.HealthCheckRequest(), _TIMEOUT)
    finally:
        await connection.close()
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("health", epilog="Example: mentorgrad health --server localhost:50552")(_health)
