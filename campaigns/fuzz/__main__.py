"""``python -m campaigns.fuzz --cases 20000``: sends odd requests to all services, as they run.

Every answer must be one of the method's documented codes, all services must live, and their
memory must stay where it was after a warm-up. The last line is one JSON object; what failed is in
it with the bytes that did it, which ``--replay FILE`` sends again.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
import tempfile
from pathlib import Path

from campaigns.fuzz.calls import Caller, Unexpected
from campaigns.fuzz.campaign import Report, run, stopped
from campaigns.fuzz.cases import Case
from campaigns.fuzz.confined import confine
from campaigns.fuzz.methods import METHODS
from campaigns.fuzz.services import Services


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m campaigns.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000, help="calls to make")
    parser.add_argument("--seed", type=int, default=0, help="the same seed makes the same calls")
    parser.add_argument("--json", action="store_true", help="no progress, only the last line")
    parser.add_argument("--replay", type=Path, help="a report whose failures are sent again")
    parser.add_argument("--service", default="", help="only this one, such as PredictService")
    parser.add_argument("--store", default="", help="URL of an empty store instead of SQLite")
    given = parser.parse_args()
    methods = [m for m in METHODS if m.service.endswith(given.service)]
    if not methods:
        parser.error(f"there is no service {given.service}")
    confine()  # what is made here is bounded, and a mistake in that must not cost the machine
    with (
        tempfile.TemporaryDirectory() as folder,
        Services(Path(folder), given.store, has_model=True) as services,
    ):
        if given.replay:
            return replay(services, given.replay)
        progress = (lambda _: None) if given.json else tell
        report = run(services, given.cases, given.seed, progress, methods)
        if report.failures and not given.json:
            for server in services.addresses:
                print(f"--- {server}\n{services.tail(server)}", file=sys.stderr)
    stopped(services.codes, report)
    print(json.dumps(report.to_dict()))
    return 1 if report.failures else 0


def tell(report: Report) -> None:
    """One line of progress."""
    rate = report.cases / max(report.seconds, 1e-9)
    print(f"{report.cases} cases, {rate:.0f}/s, {len(report.failures)} failures", file=sys.stderr)


def replay(services: Services, file: Path) -> int:
    """Sends the failures of a report again; the number of those that fail still."""
    methods = {(method.server, method.path): method for method in METHODS}
    caller, failing = Caller(services.addresses), 0
    for failure in json.loads(file.read_text().splitlines()[-1])["failures"]:
        method = methods.get((failure.get("server", ""), failure.get("method", "")))
        if method is None:
            continue
        data = tuple(base64.b64decode(item) for item in failure["requests"])
        try:
            print(method.short, caller.send(Case(method, failure["how"], data)))
        except Unexpected as error:
            failing += 1
            print(error, services.tail(method.server), sep="\n")
    caller.close()
    return min(failing, 1)


if __name__ == "__main__":
    sys.exit(main())
