from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mentorgrad.domain.agent import Agent
from mentorgrad.domain.event import Created
from mentorgrad.domain.spec import MentorChoice
from run_store.open import open_store

Invoke = Callable[..., Any]


def test_what_executes_the_runs_of_a_store_is_listed(invoke: Invoke, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/runs.db"
    store = open_store(url)
    run_id = store.create(Created())[0].run_id

    def waits() -> str:
        shown = invoke("runs", "show", run_id, "--store", url, "--json")
        return str(json.loads(shown.stdout)["waits"])

    assert waits() == "no worker reports"
    nobody = invoke("workers", "list", "--store", url)
    assert nobody.stderr == "no trainers or workers\n"
    gpu = Agent(
        name="gpu1",
        service="worker",
        devices=("cuda:0",),
        slots=2,
        run_ids=("a", "b"),
        mentors=(MentorChoice().name,),
    )
    store.report_agent(gpu, "p1")
    assert waits() == ""
    store.report_agent(replace(gpu, refused={run_id: "needs the mentor small"}), "p1")
    assert waits() == "gpu1: needs the mentor small"
    shown = invoke("runs", "show", run_id, "--store", url)
    assert "waits\tgpu1: needs the mentor small" in shown.stdout.splitlines()
    columns = "name,state,runs,refuses"
    result = invoke("workers", "list", "--store", url, "--columns", columns)
    assert result.stdout.splitlines() == [columns.replace(",", "\t"), "gpu1\talive\t0 of 2\t1"]
    store.close()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--store", "sqlite:///x"], "store: must be postgresql://..., which can be reached"),
        (["--store", "postgresql://db/x", "--label", "gpu"], "label: must be NAME=VALUE"),
        ([], "store: must be given, as --store or MENTORGRAD_WORKER_STORE"),
    ],
)
def test_a_worker_that_cannot_work_says_why(invoke: Invoke, flags: list[str], said: str) -> None:
    result = invoke("serve", "worker", *flags)
    assert result.exit_code == 2
    assert said in result.stderr
