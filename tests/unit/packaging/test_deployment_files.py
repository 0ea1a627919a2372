"""The deployment files against each other and against the code that they start.

Their syntax is the linters' business; see `make check`.
"""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mentor_service.settings import MentorSettings
from mentorgrad.cli.main import app
from service_common.settings import ServiceSettings
from tests.support.deployment import (
    ROOT,
    SERVICES,
    compose,
    health_command,
    kustomizations,
    manifests,
    of_kind,
    stages,
)
from trainer_service.prediction.settings import PredictorSettings
from trainer_service.settings import TrainerSettings

SETTINGS: dict[str, type[ServiceSettings]] = {
    "trainer": TrainerSettings,
    "mentor": MentorSettings,
    "predictor": PredictorSettings,
}
CLIENT = {"MENTORGRAD_CA", "MENTORGRAD_CERT", "MENTORGRAD_KEY"}


def environments(service: str) -> dict[str, dict[str, Any]]:
    """Where a service's environment is stated → what is stated."""
    container = of_kind("Deployment")[service]["spec"]["template"]["spec"]["containers"][0]
    maps = of_kind("ConfigMap")
    referenced = [maps[entry["configMapRef"]["name"]]["data"] for entry in container["envFrom"]]
    secret = {entry["name"]: None for entry in container.get("env", ())}
    return {
        "Dockerfile": stages()[service].environment(),
        "compose.yaml": compose()["services"][service]["environment"],
        "deploy/kubernetes": {name: v for data in referenced for name, v in data.items()} | secret,
    }


@pytest.mark.parametrize("service", SERVICES)
def test_every_variable_is_a_setting_and_every_value_can_be(service: str) -> None:
    cls = SETTINGS[service]
    prefix = str(cls.model_config.get("env_prefix"))
    for place, given in environments(service).items():
        ours = {name: value for name, value in given.items() if name.startswith("MENTORGRAD_")}
        assert ours, place
        settings = {name for name in ours if name.startswith(prefix)}
        assert ours.keys() - settings <= CLIENT, place
        fields = {name.removeprefix(prefix).lower() for name in settings}
        assert fields <= cls.model_fields.keys(), place
        cls(
            **{
                name.removeprefix(prefix).lower(): v
                for name, v in ours.items()
                if v is not None and name in settings
            }
        )


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_runs_as_nobody_special_and_is_looked_after(service: str) -> None:
    stage = stages()[service]
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", stage.last("USER"))
    assert json.loads(stage.last("ENTRYPOINT")) == ["mentorgrad", "serve", service]
    port = stage.environment()[f"MENTORGRAD_{service.upper()}_LISTEN"].rpartition(":")[2]
    assert health_command(service) == ["mentorgrad", "health", "--server", f"localhost:{port}"]
    assert stage.last("EXPOSE") == port
    # What compiles and installs stays behind.
    assert not re.search("build-essential|python3-venv|pip install", " ".join(stage.all("RUN")))


def test_the_image_of_the_page_runs_as_nobody_special_and_is_looked_after() -> None:
    stage = stages()["ui"]
    assert stage.last("USER") == stages()["trainer"].last("USER")
    assert json.loads(stage.last("ENTRYPOINT")) == ["mentorgrad", "serve", "ui"]
    port = stage.environment()["MENTORGRAD_UI_LISTEN"].rpartition(":")[2]
    assert stage.last("EXPOSE") == port
    assert port in stage.last("HEALTHCHECK")
    assert not re.search("python3?-venv|pip install", " ".join(stage.all("RUN")))


def test_an_image_brings_what_its_service_can_be_asked_for() -> None:
    extras = {}
    images = runpy.run_path(str(ROOT / "deploy/hash_requirements.py"))["IMAGES"]
    for service in ("trainer", "mentor"):  # the predictor's image has the layers of the trainer's
        (installed,) = re.findall(r"\[([\w,]+)\]$", images[service].packages[0])
        extras[service] = set(installed.split(","))
    # Without peft a trainer refuses every run of prompt_tuning.
    assert {"trainer", "postgres", "hub", "peft", "otel"} <= extras["trainer"]
    assert {"mentor", "hub", "otel"} <= extras["mentor"]


def test_every_package_is_installed_by_its_digest() -> None:
    script = runpy.run_path(str(ROOT / "deploy/hash_requirements.py"))
    written = {
        f"/src/deploy/hashes/{name}.txt" for name in (*script["IMAGES"], *script["APART"].values())
    }
    used = set()
    assert "|| python deploy/hash_requirements.py" in " ".join(stages()["hashes"].all("RUN"))
    for stage in stages().values():
        used |= {word for line in stage.all("COPY") for word in line.split() if "hashes/" in word}
        for command in re.findall(r"pip install (.*?)(?:&&|$)", "\n".join(stage.all("RUN")), re.M):
            by_digest = {"--require-hashes", "--no-deps", "-r"} <= set(command.split())
            assert by_digest or command.split() == [
                "--no-cache-dir",
                "--no-deps",
                "--no-index",
                "/dist/*.whl",
            ]
    assert used == written


def test_what_pip_reports_becomes_a_line_with_its_digest() -> None:
    script = runpy.run_path(str(ROOT / "deploy/hash_requirements.py"))

    def entry(name: str, source: dict[str, Any]) -> dict[str, Any]:
        return {"download_info": source, "metadata": {"name": name, "version": "1.2"}}

    def known(name: str, sha256: str) -> dict[str, Any]:
        return entry(name, {"archive_info": {"hashes": {"sha256": sha256}}})

    own = entry("mentorgrad", {"dir_info": {}})
    lines = list(script["lines_of"]({"install": [known("Some_Name", "ab"), own]}))
    assert lines == ["some-name==1.2 --hash=sha256:ab"]
    lines += script["lines_of"]({"install": [known("llama_cpp_python", "cd")]})
    assert script["files_of"]("mentor", lines) == {"mentor": lines[:1], "llama-cpp": lines[1:]}
    with pytest.raises(ValueError, match="no SHA-256 of x"):
        list(script["lines_of"]({"install": [entry("x", {"archive_info": {}})]}))


def test_an_image_has_one_name_everywhere() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    texts = {path: path.read_text() for path in (ROOT / "Dockerfile", ROOT / "docs/deployment.md")}
    for service in SERVICES:
        name = f"mentorgrad-{service}:{version}"
        assert compose()["services"][service]["image"] == name
        assert pods()[service]["spec"]["containers"][0]["image"] == name
        for path, text in texts.items():
            named = re.findall(rf"mentorgrad-{service}(?![\w=-])\S*", text)
            assert set(named) == {name}, path


def test_the_trainer_stands_on_cuda() -> None:
    found = stages()
    base = found["trainer"].base
    while base in found:
        base = found[base].base
    assert base.startswith("nvidia/cuda:")
    # An environment is bound to the interpreter that made it.
    assert found["trainer"].base == found["predictor"].base
    assert found["trainer-build"].base == found[found["trainer"].base].base
    assert found["mentor-build"].base == found["mentor"].base


def test_what_is_copied_is_there_and_not_ignored() -> None:
    admitted = [
        line.removeprefix("!").partition("/")[0]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    copied = [
        source
        for stage in stages().values()
        for line in stage.all("COPY")
        if not line.startswith("--from")
        for source in line.split()[:-1]
    ]
    assert {"constraints.txt", "client", "trainer_service"} <= set(copied)
    for source in copied:
        assert (ROOT / source).exists(), source
        first = Path(Path(source).parts[0])
        assert any(first.match(pattern) for pattern in admitted), source
    named = [
        line.split()[0].removeprefix("--from=")
        for stage in stages().values()
        for line in stage.all("COPY")
        if line.startswith("--from")
    ]
    assert set(named) <= stages().keys()


CERTIFICATES = "/run/secrets/tls"


def certificates(service: str) -> set[str]:
    """The files of certificates that a service of the compose file reads."""
    given = compose()["services"][service]["environment"].values()
    paths = [Path(value) for value in given if CERTIFICATES in value]
    assert all(str(path.parent) == CERTIFICATES for path in paths)
    return {path.name for path in paths}


def test_every_secret_that_compose_mounts_is_made(tmp_path: Path) -> None:
    """By the script; the command that it calls for certificates has tests of its own."""
    stub = tmp_path / "bin" / "mentorgrad"
    stub.parent.mkdir()
    stub.write_text(
        '#!/bin/sh\nprintf "%s\\n" "$*"\nmkdir -p "$3"; cd "$3"\n'
        "for file in ca.pem ca.key server.pem server.key client.pem client.key; do\n"
        '  echo "$$" >"$file"\ndone\n'
    )
    stub.chmod(0o755)
    folder = tmp_path / "secrets"
    folder.mkdir(mode=0o755)
    command = [str(ROOT / "deploy/make-secrets.sh"), str(folder), "gpu1.lan"]
    environment = {"PATH": f"{stub.parent}:/usr/bin:/bin"}
    for _ in range(2):  # the second time renews
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [
            f"certs dev {folder}/authority --host trainer --host gpu1.lan",
            f"certs dev {folder}/authority --host mentor",
            f"certs dev {folder}/authority --host predictor --host gpu1.lan",
            f"certs dev {folder}/authority --host ui --host gpu1.lan",
        ]
        newest = (folder / "authority/server.pem").read_text()
        assert (folder / "tls/ui/server.pem").read_text() == newest
    whole = compose()
    files = {name: ROOT / secret["file"] for name, secret in whole["secrets"].items()}
    services = whole["services"].values()
    mounted = {name for service in services for name in service.get("secrets", ())}
    assert mounted == files.keys()
    for path in files.values():
        assert path.parent == ROOT / "secrets"
        made = folder / path.name
        assert made.stat().st_mode & 0o777 == 0o444, path.name
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in (folder / "tls").iterdir()} == {"ca.pem", *SERVICES, "ui"}
    assert (folder / "tls").stat().st_mode & 0o777 == 0o755
    keys = set()
    for name in (*SERVICES, "ui"):
        own = folder / "tls" / name
        assert {path.name for path in own.iterdir()} == certificates(name)
        assert {path.stat().st_mode & 0o777 for path in own.iterdir()} == {0o444}
        assert own.stat().st_mode & 0o777 == 0o755
        keys.add((own / "server.key").read_text())
        mounts = [entry for entry in whole["services"][name]["volumes"] if "source" in entry]
        said = "a file alone would be the old one for ever"
        assert mounts[0]["source"] == f"./secrets/tls/{name}", said
        assert mounts[0]["target"] == CERTIFICATES
        assert all(mount["read_only"] is True for mount in mounts)
    assert len(keys) == len(SERVICES) + 1
    password = (folder / "postgres-password").read_text()
    assert re.fullmatch(r"[0-9a-f]{64}", password)
    assert f":{password}@postgres/" in (folder / "trainer.toml").read_text()


@pytest.mark.parametrize("whose", ["link", "another user's"])
def test_secrets_are_made_in_a_folder_of_ones_own(tmp_path: Path, whose: str) -> None:
    folder, programs = tmp_path / "secrets", tmp_path / "bin"
    programs.mkdir()
    if whose == "link":
        folder.symlink_to(tmp_path)
    else:
        folder.mkdir()
        (programs / "id").write_text("#!/bin/sh\necho 4242\n")
        (programs / "id").chmod(0o755)
    done = subprocess.run(
        [str(ROOT / "deploy/make-secrets.sh"), str(folder)],
        env={"PATH": f"{programs}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1
    assert "name one of your own" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"secrets", "bin"}
    assert whose == "link" or not list(folder.iterdir())


def test_compose_publishes_on_loopback_only_and_the_mentor_not_at_all() -> None:
    services = compose()["services"]
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    ports = {"trainer": 50551, "predictor": 50553, "ui": 8080}
    assert published == {name: [f"127.0.0.1:{port}:{port}"] for name, port in ports.items()}
    for name in (*SERVICES, "ui"):
        assert services[name]["read_only"] is True
        assert services[name]["cap_drop"] == ["ALL"]
        assert services[name]["build"]["target"] == name
    for service in services.values():
        assert set(service["networks"]) <= {"default", *compose()["networks"]}
    target = services["trainer"]["environment"]["MENTORGRAD_TRAINER_MENTOR"].partition("=")[2]
    assert target == "mentor:50552"


def pods() -> dict[str, dict[str, Any]]:
    return {name: obj["spec"]["template"] for name, obj in of_kind("Deployment").items()}


@pytest.mark.parametrize("service", SERVICES)
def test_a_pod_has_no_rights_that_it_does_not_need(service: str) -> None:
    spec = pods()[service]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    user = stages()[service].last("USER").partition(":")[0]
    assert spec["securityContext"]["runAsUser"] == int(user)
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "memory" in container["resources"]["limits"]
    assert ("nvidia.com/gpu" in container["resources"]["limits"]) == (service == "trainer")


@pytest.mark.parametrize("service", SERVICES)
def test_what_a_pod_names_is_there(service: str) -> None:
    spec = pods()[service]["spec"]
    (container,) = spec["containers"]
    mounts = {entry["name"]: entry["mountPath"] for entry in container["volumeMounts"]}
    volumes = {entry["name"]: entry for entry in spec["volumes"]}
    assert mounts.keys() == volumes.keys()
    for volume in volumes.values():
        if claim := volume.get("persistentVolumeClaim"):
            assert claim["claimName"] in of_kind("PersistentVolumeClaim")
    # Files are named under something that is mounted, or can be written.
    values = environments(service)["deploy/kubernetes"].values()
    files = [value for value in values if str(value).startswith("/")]
    assert files
    assert all(any(Path(value).is_relative_to(path) for path in mounts.values()) for value in files)
    # The file names of a secret of certificates are those that are made.
    names = {Path(value).name for value in files if value.startswith(mounts["tls"])}
    assert names == certificates(service)
    assert volumes["tls"]["secret"]["secretName"] == f"{service}-tls"
    ports = {entry["name"]: entry["containerPort"] for entry in container["ports"]}
    (port,) = of_kind("Service")[service]["spec"]["ports"]
    assert ports[port["targetPort"]] == port["port"] == int(stages()[service].last("EXPOSE"))
    assert container["livenessProbe"]["tcpSocket"]["port"] in ports
    assert f":{ports['metrics']}" in str(environments(service)["deploy/kubernetes"])
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["exec"]["command"][-1] == f"localhost:{ports['grpc']}"


def test_every_selector_finds_its_pods_and_every_file_is_listed() -> None:
    labels = {name: pod["metadata"]["labels"] for name, pod in pods().items()}
    selected = []
    for obj in manifests():
        if obj["kind"] == "Service":
            selected.append(obj["spec"]["selector"])
        elif obj["kind"] in ("Deployment", "PodDisruptionBudget"):
            selected.append(obj["spec"]["selector"]["matchLabels"])
        elif obj["kind"] == "NetworkPolicy" and obj["spec"]["podSelector"]:
            selected.append(obj["spec"]["podSelector"]["matchLabels"])
    assert len(selected) == 17
    assert all(selector in labels.values() for selector in selected)
    for folder, listed in kustomizations().items():
        files = {path.name for path in folder.iterdir() if path.is_file()}
        assert {*listed, "kustomization.yaml"} == files
    namespaces = {obj["metadata"].get("namespace", obj["metadata"]["name"]) for obj in manifests()}
    assert namespaces == {"mentorgrad"}


def test_a_predict_service_reads_a_result_that_it_cannot_write() -> None:
    given = environments("predictor").values()
    (folder,) = {found["MENTORGRAD_PREDICTOR_RESULT"] for found in given}
    volumes = compose()["services"]["predictor"]["volumes"]
    (bound,) = [entry for entry in volumes if "source" in entry and entry["target"] == folder]
    assert (bound["read_only"], bound["bind"]["create_host_path"]) == (True, False)
    assert compose()["services"]["predictor"]["profiles"] == ["predictor"]
    (container,) = pods()["predictor"]["spec"]["containers"]
    (mount,) = [one for one in container["volumeMounts"] if one["mountPath"] == folder]
    assert mount["readOnly"] is True


def test_no_container_takes_the_whole_machine() -> None:
    for name, service in compose()["services"].items():
        assert 0 < service["pids_limit"] <= 1024, name
        assert re.fullmatch(r"\d+g", service["mem_limit"]), name
    for service in SERVICES:
        limit = pods()[service]["spec"]["containers"][0]["resources"]["limits"]["memory"]
        assert compose()["services"][service]["mem_limit"] == limit.lower().removesuffix("i")


def test_pods_call_only_who_is_named() -> None:
    for name, policy in of_kind("NetworkPolicy").items():
        assert "Egress" in policy["spec"]["policyTypes"] or name.startswith("mentor")
        for rule in policy["spec"].get("egress", ()):
            assert rule["ports"], name
            for peer in rule["to"]:
                block = peer.get("ipBlock", {}).get("cidr", "/32")
                assert block.endswith("/32"), name
                assert "ipBlock" in peer or "podSelector" in peer, name


def test_base_images_are_arguments_and_compose_passes_them_on() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    given = dict(line[4:].split("=") for line in lines if line.startswith("ARG "))
    named = [line.split()[1] for line in lines if line.startswith("FROM ")]
    assert {name for name in named if name not in stages()} == {f"${{{name}}}" for name in given}
    for service in SERVICES:
        passed = compose()["services"][service]["build"]["args"]
        assert passed == {name: f"${{{name}:-{image}}}" for name, image in given.items()}


def test_no_manifest_holds_a_secret() -> None:
    assert not of_kind("Secret")
    text = "".join(path.read_text() for path in (ROOT / "deploy").rglob("*.yaml"))
    assert not re.search(r"postgresql://\w+:\w+@", text + (ROOT / "compose.yaml").read_text())


def test_a_probe_can_tell_yes_from_no_from_nonsense(free_port: int) -> None:
    """That it says yes is shown beside real services."""
    command = health_command("trainer")
    absent = CliRunner().invoke(app, [*command[1:-1], f"127.0.0.1:{free_port}"])
    assert absent.exit_code == 1
    assert "no answer" in absent.stderr
    assert CliRunner().invoke(app, [*command[1:-1], "nowhere"]).exit_code == 2
