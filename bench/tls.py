"""Cost of mTLS and a token: events imported per second, relative to plaintext.

Two trainer services in separate processes import the same runs as in `bench.stream`. One of them
requires a client certificate and a bearer token, created by `mentorgrad certs dev` and `mentorgrad
tokens create`. Every import opens a new connection, so the TLS handshake is included.

    python -m bench.tls [--blocks 5] [--events 2000]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bench.paired import abba, environment
from bench.stream import STORE, Imports, log, trainer
from mentorgrad.wire.credentials import Credentials


def mentorgrad(*arguments: str) -> None:
    """Runs the command line tool without output."""
    command = [str(Path(sys.executable).with_name("mentorgrad")), *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def secured(folder: Path) -> tuple[list[str], Credentials]:
    """Returns a service's flags and the credentials of its clients."""
    certificates, tokens, token = folder / "certs", folder / "tokens.json", folder / "token"
    mentorgrad("certs", "dev", str(certificates))
    create = ("tokens", "create", "bench", "--scope", "run", "--out", str(token))
    mentorgrad(*create, "--tokens", str(tokens))
    flags = {
        "--tls-certificate": certificates / "server.pem",
        "--tls-key": certificates / "server.key",
        "--tls-client-ca": certificates / "ca.pem",
        "--tokens": tokens,
    }
    credentials = Credentials(
        certificates / "ca.pem",
        certificates / "client.pem",
        certificates / "client.key",
        token_file=token,
    )
    return [str(part) for pair in flags.items() for part in pair], credentials


def main() -> None:
    """Runs the benchmark and prints the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--events", type=int, default=2000)
    arguments = parser.parse_args()
    events = log(arguments.events)
    with ExitStack() as stack:
        plain, safe = (Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(2))
        flags, credentials = secured(safe)
        theirs = Imports(stack.enter_context(trainer(plain)), plain / STORE, events)
        address = stack.enter_context(trainer(safe, *flags))
        ours = Imports(address, safe / STORE, events, credentials)
        for side in (ours, theirs):
            stack.callback(side.close)
        result = abba(ours.measure, theirs.measure, arguments.blocks)
    print(
        json.dumps(
            {
                "ratio": round(result.ratio, 3),
                "quartiles": [round(result.low, 3), round(result.high, 3)],
                "events_per_second": {
                    "tls_and_token": round(result.a),
                    "plaintext": round(result.b),
                },
                "events": arguments.events,
                "blocks": arguments.blocks,
                "environment": environment("grpcio", "cryptography"),
            }
        )
    )


if __name__ == "__main__":
    main()
