"""The page in the deployment files. It speaks HTTP, so its probes are not those of the services."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.deployment import compose, of_kind, stages
from ui_service.settings import UiSettings

PORT = int(stages()["ui"].last("EXPOSE"))


def pod() -> dict[str, Any]:
    return dict(of_kind("Deployment")["ui"]["spec"]["template"]["spec"])


def environments() -> dict[str, dict[str, str]]:
    """Where the environment is stated → what is stated."""
    return {
        "compose.yaml": compose()["services"]["ui"]["environment"],
        "deploy/kubernetes": of_kind("ConfigMap")["ui"]["data"],
    }


@pytest.mark.parametrize("place", environments())
def test_every_variable_is_a_setting_and_the_page_has_what_it_requires(place: str) -> None:
    given = {**stages()["ui"].environment(), **environments()[place]}
    fields = {
        name.removeprefix("MENTORGRAD_UI_").lower(): value
        for name, value in given.items()
        if name.startswith("MENTORGRAD_UI_")
    }
    assert environments()[place].keys() <= {f"MENTORGRAD_UI_{name.upper()}" for name in fields}
    settings = UiSettings(**fields)  # type: ignore[arg-type]
    assert settings.tls_certificate is not None
    assert settings.tokens is not None
    host, _, port = settings.server.partition(":")
    assert (host.split(".")[0], port) == ("trainer", stages()["trainer"].last("EXPOSE"))
    assert not settings.allow_actions


def test_what_compose_mounts_is_what_the_page_reads() -> None:
    service = compose()["services"]["ui"]
    assert service["profiles"] == ["ui"]
    tls, token, data = service["volumes"]
    assert (token["read_only"], token["bind"]["create_host_path"]) == (True, False)
    targets = [tls["target"], token["target"], data.partition(":")[2]]
    files = [value for value in service["environment"].values() if value.startswith("/")]
    assert all(any(Path(value).is_relative_to(path) for path in targets) for value in files)
    assert service["build"]["args"] == compose()["services"]["trainer"]["build"]["args"]


def test_the_pod_has_no_rights_that_it_does_not_need() -> None:
    spec, (container,) = pod(), pod()["containers"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert str(spec["securityContext"]["runAsUser"]) == stages()["ui"].last("USER").split(":")[0]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    service = compose()["services"]["ui"]
    limit = container["resources"]["limits"]["memory"]
    assert (container["image"], limit) == (service["image"], "1Gi")
    assert service["mem_limit"] == "1g"


def test_what_the_pod_names_is_there() -> None:
    spec, (container,) = pod(), pod()["containers"]
    mounts = {entry["name"]: entry["mountPath"] for entry in container["volumeMounts"]}
    assert mounts.keys() == {entry["name"] for entry in spec["volumes"]}
    given = environments()["deploy/kubernetes"]
    files = [value for value in given.values() if value.startswith("/")]
    assert all(any(Path(value).is_relative_to(path) for path in mounts.values()) for value in files)
    ports = {entry["name"]: entry["containerPort"] for entry in container["ports"]}
    (port,) = of_kind("Service")["ui"]["spec"]["ports"]
    assert ports[port["targetPort"]] == port["port"] == PORT
    assert given["MENTORGRAD_UI_METRICS"].endswith(f":{ports['metrics']}")
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["httpGet"] == {"path": "/", "port": "https", "scheme": "HTTPS"}


def test_the_trainer_lets_the_page_in_and_the_page_calls_nobody_else() -> None:
    policies = of_kind("NetworkPolicy")
    page = policies["ui"]["spec"]["podSelector"]
    (rule, *_) = policies["trainer"]["spec"]["ingress"]
    assert {"podSelector": page} in rule["from"]
    called = [peer for rule in policies["ui"]["spec"]["egress"] for peer in rule["to"]]
    assert {"podSelector": policies["trainer"]["spec"]["podSelector"]} in called
    assert len(called) == 2  # and the cluster's DNS
