from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mentorgrad.domain.audit import AuditEntry
from run_store.open import open_store

Invoke = Callable[..., Any]


def test_the_audit_of_a_store_is_listed(invoke: Invoke, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/runs.db"
    store = open_store(url)
    names = {"owner": "alice", "caller": "desk", "address": "10.0.0.5"}
    store.record_audit(
        [
            AuditEntry(datetime(2026, 11, day, tzinfo=UTC), action=action, **names)
            for day, action in ((1, "CreateRun"), (2, "DeleteRun"))
        ]
    )
    store.close()
    result = invoke("audit", "--store", url, "--columns", "caller,action,outcome")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines() == [
        "caller\taction\toutcome",
        "desk\tDeleteRun\tOK",
        "desk\tCreateRun\tOK",
    ]
    for more in (["--until", "2026-11-02"], ["--action", "CreateRun"]):
        page = json.loads(invoke("audit", "--store", url, "--json", *more).stdout)
        assert [entry["action"] for entry in page["entries"]] == ["CreateRun"]
    result = invoke("audit", "--store", url, "--since", "yesterday")
    assert result.exit_code == 2
    assert "--since" in result.stderr
