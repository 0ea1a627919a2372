from __future__ import annotations

import structlog

from service_common.refusals import Strangers


async def test_strangers_have_few_lines_whatever_they_do() -> None:
    strangers = Strangers()
    with structlog.testing.capture_logs() as lines:
        told = [strangers.count(f"10.0.{n % 3000}") for n in range(9000)]
        strangers.tell()
    assert sum(told) == 20
    assert len(lines) == 21
    # All calls are counted, those of too many addresses together.
    assert sum(line["calls"] for line in lines) == 9000
    assert lines[0] == {
        "event": "strangers_refused",
        "address": "others",
        "calls": 6000,
        "log_level": "info",
    }


async def test_a_minute_ends() -> None:
    strangers = Strangers()
    assert strangers.count("10.0.0.5")
    assert not strangers.count("10.0.0.5")
    with structlog.testing.capture_logs() as lines:
        strangers.tell()
        strangers.tell()
    assert [(line["address"], line["calls"]) for line in lines] == [("10.0.0.5", 2)]
    assert strangers.count("10.0.0.5")
    strangers.tell()
