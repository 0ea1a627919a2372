"""Agents on a Ray cluster, with a stand-in for Ray; `campaigns.ray_cluster` has a real one."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mentorgrad.errors import InvalidInput, MentorgradError, Unavailable, Unsupported
from service_common.settings import load
from trainer_service import ray_agents
from trainer_service.agent.settings import WorkerSettings
from trainer_service.ray_agents import RayAgents, of_one, serve_on_ray

STORE = "postgresql://db/runs"


def settings(**given: Any) -> WorkerSettings:
    return load(WorkerSettings, None, {"store": STORE, "ray": True, **given})


class Lost(Exception):
    """`ray.exceptions.RayActorError`."""


class Cluster:
    """What `RayAgents` uses of Ray: actors that end as they are told to."""

    exceptions = SimpleNamespace(RayActorError=Lost)

    def __init__(self, *ends: Exception | None) -> None:
        self.ends = list(ends)
        self.share: dict[str, float] = {}
        self.given: list[dict[str, Any]] = []
        self.killed = 0

    def remote(self, cls: type) -> Any:
        def options(**share: float) -> Any:
            self.share = share
            return SimpleNamespace(remote=lambda: Actor(self))

        return SimpleNamespace(options=options)

    def kill(self, actor: Any) -> None:
        self.killed += 1


class Actor:
    def __init__(self, cluster: Cluster) -> None:
        async def host() -> str:
            return "node"

        async def run(given: dict[str, Any]) -> MentorgradError | None:
            cluster.given.append(given)
            end = cluster.ends.pop(0)
            if isinstance(end, Lost):
                raise end
            assert end is None or isinstance(end, MentorgradError)
            return end

        self.host = SimpleNamespace(remote=host)
        self.run = SimpleNamespace(remote=run)
        self.stop = SimpleNamespace(remote=lambda: None)


@pytest.fixture(autouse=True)
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_agents, "AGAIN_SECONDS", 0.0)


def test_an_agent_has_what_was_given_and_its_node_decides_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert of_one(settings(), 1) == {"store": STORE, "ray": True, "threads": 1, "device": "cpu"}
    assert of_one(settings(threads=4), 1)["threads"] == 4
    monkeypatch.setenv("MENTORGRAD_WORKER_SLOTS", "2")
    shared = settings(name="gpus", ray_cpus=6, ray_gpus=0.5, mentor_ca=Path("ca.pem"))
    made = of_one(shared, 7)
    assert made == {
        "store": STORE,
        "ray": True,
        "ray_cpus": 6,
        "ray_gpus": 0.5,
        "name": "gpus-7",
        "slots": 2,
        "threads": 3,
        "mentor_ca": tmp_path / "ca.pem",
    }
    assert load(WorkerSettings, None, made).name == "gpus-7"  # as the agent does


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"ray": False, "ray_workers": 2}, "ray_workers"),
        ({"ray_gpus": 1.5}, "whole number"),
        ({"metrics": "127.0.0.1:0"}, "metrics"),
        ({"device": "cuda"}, "ray_gpus"),
    ],
)
def test_settings_that_contradict_are_refused(given: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        settings(**given)


async def test_an_agent_that_is_lost_is_replaced_under_another_name() -> None:
    cluster = Cluster(Lost("its node died"), Unavailable("no store"), None, None)
    await RayAgents(cluster, settings(name="w", ray_workers=2, ray_cpus=2, ray_gpus=0.5)).keep()
    assert cluster.share == {"num_cpus": 2, "num_gpus": 0.5}
    assert sorted(given["name"] for given in cluster.given) == ["w-1", "w-2", "w-3", "w-4"]
    assert cluster.killed == 4  # Ray keeps an actor for as long as it is referred to


async def test_an_agent_that_can_never_serve_ends_them_all() -> None:
    cluster = Cluster(InvalidInput("another schema"))
    with pytest.raises(InvalidInput, match="another schema"):
        await RayAgents(cluster, settings()).keep()


def no_cluster(**_: Any) -> None:
    raise ConnectionError("not found")


@pytest.mark.parametrize(
    ("ray", "error", "why"),
    [
        (None, Unsupported, "pip install .*ray"),
        (SimpleNamespace(init=no_cluster), Unavailable, "RAY_ADDRESS"),
    ],
)
async def test_without_ray_or_a_cluster_one_line_says_so(
    ray: Any, error: type[MentorgradError], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(ray_agents.logs, "configure", lambda *_: None)
    with pytest.raises(error, match=why):
        await serve_on_ray(settings())
