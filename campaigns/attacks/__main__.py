"""``python -m campaigns.attacks``: attacks a running trainer service, and says what became of it.

Each attack has a service of its own. The last line is one JSON object: the figures of each.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from campaigns.attacks import shapes, strangers
from campaigns.attacks.target import Target

ATTACKS = {
    attack.__name__: attack
    for attack in (
        strangers.slots,
        strangers.half_messages,
        strangers.endless_message,
        strangers.bombs,
        strangers.silent_sockets,
        strangers.metrics_sockets,
        strangers.closed_window,
        shapes.worst_shapes,
    )
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m campaigns.attacks", description=__doc__)
    parser.add_argument("attacks", nargs="*", metavar="ATTACK", help=", ".join(ATTACKS))
    given = parser.parse_args()
    found = {}
    for name in given.attacks or ATTACKS:
        with tempfile.TemporaryDirectory() as folder, Target(Path(folder)) as target:
            found[name] = ATTACKS[name](target)
        print(f"{name}: {found[name]}", file=sys.stderr)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
