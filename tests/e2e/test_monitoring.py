"""The alert rules and the dashboard against what running services show."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest_asyncio
import yaml
from prometheus_client import CollectorRegistry

from mentor_service.backends.scripted import ScriptedBackend
from mentor_service.composition import MentorServer
from mentor_service.profiles import PROFILES
from mentorgrad import AsyncClient
from mentorgrad.domain.objective import Function
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import MentorChoice, RunSpec, Stages
from run_store.open import open_for_service
from service_common.metrics import exposed
from service_common.security import Security
from tests.support.deployment import ROOT
from tests.support.promtool import check_finds, labels_of, promtool, samples_of, unknown_in
from tests.support.scripted_mentor import Replies
from tests.support.served_page import served_page
from trainer_service import composition
from trainer_service.settings import TrainerSettings

RULES = ROOT / "deploy/prometheus/alerts.yaml"
RULES_TEST = ROOT / "deploy/prometheus/alerts_test.yaml"
DASHBOARD = ROOT / "deploy/grafana/mentorgrad.json"
SPEC = RunSpec(
    objective=Function("rastrigin", 2),
    stages=Stages(count=2, steps=5),
    mentor=MentorChoice("small", proposals=2),
)

Samples = list[tuple[str, dict[str, str], float]]


def scrape(address: str, job: str) -> Samples:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=120) as response:
        return list(samples_of(response.read().decode(), job))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def samples(tmp_path_factory: Any) -> AsyncIterator[Samples]:
    """What a trainer, a mentor and a page show after a run."""
    folder = tmp_path_factory.mktemp("monitored")
    registries = {name: CollectorRegistry() for name in ("trainer", "mentor", "ui")}
    async with AsyncExitStack() as stack:
        shown = {
            name: stack.enter_context(exposed("127.0.0.1:0", registry))
            for name, registry in registries.items()
        }
        backend = ScriptedBackend(Replies())
        mentor = MentorServer(backend, PROFILES["small"], registry=registries["mentor"])
        settings = TrainerSettings(
            listen="127.0.0.1:0",
            store=f"sqlite:///{folder}/runs.sqlite",
            mentor={"small": await mentor.start()},
            webhook={"ops": "https://hooks.test/"},
            threads=1,
            device="cpu",
            warm=False,
        )
        stack.push_async_callback(mentor.stop, 0)
        store = open_for_service(settings.store)
        stack.callback(store.close)
        trainer = await composition.start_service(
            settings, store, stack, Security(), registries["trainer"]
        )
        client = await stack.enter_async_context(AsyncClient(trainer))
        await stack.enter_async_context(served_page(trainer, registry=registries["ui"]))
        run_id = (await client.create_run(SPEC)).run.run_id
        async for _ in client.watch(run_id):
            pass
        assert (await client.get_run(run_id)).state is RunState.SUCCEEDED
        ended = ("mentorgrad_trainer_workers_ended_total", {"code": "0"})
        while registries["trainer"].get_sample_value(*ended) != 1:  # its last report is in, too
            await asyncio.sleep(0.02)
        yield [
            sample
            for name, address in shown.items()
            for sample in scrape(address, f"mentorgrad-{name}")
        ]


def expressions() -> list[str]:
    """Those of the dashboard, with the interval that Grafana puts into them."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [
        target["expr"].replace("$__rate_interval", "5m")
        for panel in panels
        for target in panel.get("targets", ())
    ]


async def test_what_the_dashboard_shows_is_there(samples: Samples, tmp_path: Path) -> None:
    known = labels_of(samples)
    assert [unknown for one in expressions() if (unknown := unknown_in(one, known))] == []
    check_finds(expressions(), samples, tmp_path)


async def test_rules_and_their_tests_name_metrics_that_there_are(samples: Samples) -> None:
    known = labels_of(samples)
    rules = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    series = [
        one["series"]
        for test in yaml.safe_load(RULES_TEST.read_text())["tests"]
        for one in test["input_series"]
    ]
    asked = [rule["expr"] for rule in rules] + series
    assert [unknown for one in asked if (unknown := unknown_in(one, known))] == []


def test_a_metric_or_label_that_there_is_not_is_noticed() -> None:
    known = {"mentorgrad_a_total": {"code"}, "up": {"job"}}
    assert unknown_in('rate(mentorgrad_a_total{code=~"x=1"}[5m]) and up{job!="y"}', known) == []
    asked = 'sum(mentorgrad_b) + mentorgrad_a_total{kind="x"}'
    assert unknown_in(asked, known) == ["mentorgrad_b", "mentorgrad_a_total{kind}"]


def test_each_alert_fires_when_it_should_and_only_then() -> None:
    promtool("check", "rules", str(RULES))
    promtool("test", "rules", str(RULES_TEST))
    tests = [
        one
        for test in yaml.safe_load(RULES_TEST.read_text())["tests"]
        for one in test["alert_rule_test"]
    ]
    names = [rule["alert"] for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]]
    for fires in (True, False):
        assert {one["alertname"] for one in tests if ("exp_alerts" in one) is fires} == set(names)


def test_a_dashboard_has_panels_that_can_be_told_apart() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for at in [panel["gridPos"]]
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) == 23
