"""`mentorgrad health`: health check of a service, for container health checks."""

from __future__ import annotations

import asyncio

import typer

from mentorgrad.cli.support.auth_options import credentials
from mentorgrad.cli.support.extras import require_extras
from mentorgrad.cli.support.options import DEFAULT_SERVER, JsonOption, ServerOption
from mentorgrad.cli.support.output import Output
from mentorgrad.wire.addresses import check_address

app = typer.Typer()

_TIMEOUT = 5.0
"""Timeout, seconds; shorter than the usual timeout of a container's health check."""


@app.command("health", epilog="Example: mentorgrad health --server localhost:50552")
def _health(server: ServerOption = DEFAULT_SERVER, as_json: JsonOption = False) -> None:
    """Print the health status of a trainer or mentor service.

    Exit code 1 unless the status is SERVING. Timeout: 5 seconds.
    """
    require_extras("this command", (), "service", "grpcio-health-checking")
    status = asyncio.run(_ask(check_address("--server", server)))
    Output(as_json).result({"status": status}, status)
    if status != "SERVING":
        raise typer.Exit(1)


async def _ask(server: str) -> str:
    """The overall status of the service, by the standard gRPC health protocol."""
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    from mentorgrad.wire.connection import Connection

    connection = Connection(server, credentials())
    try:
        check = connection.unary(health_pb2_grpc.HealthStub).Check
        answer = await connection.call(check, health_pb2.HealthCheckRequest(), _TIMEOUT)
    finally:
        await connection.close()
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))
