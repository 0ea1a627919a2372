"""The page over a real trainer service, over real HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from mentorgrad.async_client import AsyncClient
from mentorgrad.domain.audit import AuditFilter
from mentorgrad.domain.event import StageStarted
from mentorgrad.domain.experiment import Arm, ExperimentSpec
from mentorgrad.domain.objective import Function
from mentorgrad.domain.run import Run
from mentorgrad.domain.spec import Budget, MentorChoice, RunSpec, Task
from mentorgrad.errors import InvalidInput
from mentorgrad.wire.credentials import Credentials
from run_store.temporary_store import TemporaryRunStore
from service_common import certificates, tokens
from service_common.security import Security
from service_common.token_file import TokenFile
from service_common.tokens import Scope
from tests.support.quick_runs import end_runs
from tests.support.served_page import served_page
from tests.support.served_runs import Worker, finished_run, queue_run, served
from ui_service import http_server
from ui_service.composition import serve
from ui_service.page_token import TOKEN_HEADER
from ui_service.settings import UiSettings


@pytest.fixture
def store() -> Any:
    with contextlib.closing(TemporaryRunStore()) as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "page").mkdir()
    (tmp_path / "page/index.html").write_text("<!doctype html><title>page</title>")
    return tmp_path / "page"


@asynccontextmanager
async def page(
    trainer: str, folder: Path, verify: ssl.SSLContext | bool = True, **more: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """A page of a trainer, and a browser on it."""
    async with (
        served_page(trainer, folder, **more) as address,
        httpx.AsyncClient(base_url=address, verify=verify, timeout=60, trust_env=False) as browser,
    ):
        yield browser


class Stream:
    """A stream that is read frame by frame."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.aiter_lines()

    async def frame(self) -> dict[str, str]:
        """The next event; comments are skipped."""
        found: dict[str, str] = {}
        async for line in self._lines:
            name, separator, value = line.partition(": ")
            if separator:
                found[name] = value
            elif "event" in found:
                return found
        raise EOFError

    async def end(self) -> None:
        """Waits until the page has ended the stream."""
        async for _ in self._lines:
            pass

    async def until(self, event: str) -> list[dict[str, str]]:
        """The frames up to one of a kind."""
        found = [await self.frame()]
        while found[-1]["event"] != event:
            found.append(await self.frame())
        return found


def seqs(frames: list[dict[str, str]]) -> list[int]:
    runs = [json.loads(frame["data"]) for frame in frames if frame["event"] == "run"]
    return [int(data["event"]["seq"]) for data in runs]


async def test_a_live_run_is_followed_to_its_end_across_an_outage(
    store: TemporaryRunStore, folder: Path
) -> None:
    run_id = queue_run(store)
    worker = Worker(store, run_id)
    worker.write(StageStarted(stage=0))
    async with contextlib.AsyncExitStack() as trainer:
        _, address = await trainer.enter_async_context(served(store))
        async with page(address, folder) as browser:
            url = f"/api/v1/stream?run={run_id}:0"
            async with browser.stream("GET", url) as response:
                stream = Stream(response)
                assert [(await stream.frame())["event"] for _ in range(worker.last)]
                worker.segment(0, 1)
                segment = await stream.frame()
                assert segment["id"] == f"{run_id}:{worker.last}"
                said = json.loads(segment["data"])["event"]["segment"]
                assert [snapshot["step"] for snapshot in said["snapshots"]] == ["1", "2", "3"]
                assert "parameters" not in said
                await trainer.aclose()
                away = await stream.frame()
                assert (away["event"], away["id"]) == ("away", segment["id"])
                assert (await browser.get("/api/v1/runs")).status_code == 503
                worker.finish()
                async with served(store, address):
                    frames = await stream.until("end")
                    assert seqs(frames) == [worker.last - 1, worker.last]
                    with pytest.raises(EOFError):
                        await stream.frame()
                    again = await browser.get(url, headers={"last-event-id": frames[-1]["id"]})
                    assert (again.status_code, again.content) == (204, b"")


async def test_what_is_recorded_is_shown(store: TemporaryRunStore, folder: Path) -> None:
    run_id = finished_run(store)
    async with served(store) as (_, address), page(address, folder) as browser:

        async def asked(path: str) -> Any:
            response = await browser.get(f"/api/v1{path}")
            assert response.status_code == 200, response.text
            return response.json()

        assert (await asked("/services"))["trainer"]["tasks"] == ["tickets"]
        work = await asked("/services/work")
        assert (work["agents"], work["waiting"]) == ([], [])
        assert (
            work["ended"]["hours"][-1]["succeeded"] + work["ended"]["hours"][-2]["succeeded"] == 1
        )
        (listed,) = (await asked("/runs?state=succeeded"))["runs"]
        run = await asked(f"/runs/{run_id}")
        assert run["run"] == listed
        events = await asked(f"/runs/{run_id}/events")
        assert len(events["events"]) == run["lastSeq"] == int(listed["lastSeq"])
        points = (await asked(f"/runs/{run_id}/trajectory?points=3"))["points"]
        assert [points[0]["step"], points[-1]["step"], len(points)] == [1, 6, 3]
        path = await asked(f"/runs/{run_id}/path")
        assert [point["step"] for point in path["points"]] == [1, 2, 3, 4, 5, 6]
        assert [point["stage"] for point in path["points"]] == [0, 0, 0, 1, 1, 1]
        (file,) = (await asked(f"/runs/{run_id}/artifacts"))["artifacts"]
        assert file["name"] == "prompt.safetensors"
        compared = await asked(f"/compare?run={run_id}&run={run_id}")
        assert (len(compared["runs"]), compared["differences"]) == (2, [])
        shown = await browser.get(f"/runs/{run_id}")
        assert "<title>page</title>" in shown.text


async def test_an_experiment_is_shown_from_its_first_run_to_its_verdict(
    store: TemporaryRunStore, folder: Path
) -> None:
    spec = ExperimentSpec(
        name="which",
        base=RunSpec(Function(), budget=Budget(gradient_steps=200)),
        tasks=(Task("toy"),),
        arms=(Arm("none"), Arm("noise", MentorChoice("perturb"))),
        seeds=(0, 1, 2),
    )
    async with (
        served(store) as (_, address),
        page(address, folder) as browser,
        AsyncClient(address) as client,
    ):
        experiment_id = (await client.create_experiment(spec)).experiment.experiment_id
        path = f"/api/v1/reports/{experiment_id}"
        begun = (await browser.get(path)).json()
        assert begun["experiment"]["state"] == "EXPERIMENT_STATE_RUNNING"
        assert (begun["report"]["isComplete"], begun["report"]["forest"]) == (False, None)

        def loss(run: Run) -> float | None:
            is_odd = run.spec.labels["arm"] == "noise" and run.spec.seed == 1
            return None if is_odd else 1.0 + run.spec.seed

        while not (await client.get_experiment(experiment_id)).state.is_final:
            end_runs(store, loss)
            await asyncio.sleep(0.01)
        found = (await browser.get("/api/v1/experiments")).json()
        assert [item["experimentId"] for item in found["experiments"]] == [experiment_id]
        while not (ended := (await browser.get(path)).json())["report"]["isComplete"]:
            await asyncio.sleep(0.05)  # an answer serves all tabs for a moment
        report = ended["report"]
        assert [row["other"] for row in report["forest"]["rows"]] == ["noise"]
        cells = [row["cells"][0] for row in report["grid"]]
        assert [(cell["succeeded"], cell["failed"]) for cell in cells] == [(3, 0), (2, 1)]
        (failure,) = report["failures"]
        assert (failure["arm"], failure["seed"], failure["reason"]) == ("noise", 1, "as told")
        run = await browser.get(f"/api/v1/runs/{failure['runId']}")
        assert run.json()["run"]["state"] == "RUN_STATE_FAILED"
        listed = await browser.get(f"/api/v1/runs?experiment={experiment_id}&state=failed")
        assert [item["runId"] for item in listed.json()["runs"]] == [failure["runId"]]


async def test_a_page_that_others_reach_has_tls_and_a_login(
    store: TemporaryRunStore, folder: Path, tmp_path: Path
) -> None:
    made = certificates.make(tmp_path, (), 1)
    certificate, key = tmp_path / "now.pem", tmp_path / "now.key"
    shutil.copy(made.server, certificate)
    shutil.copy(made.server_key, key)
    _, token = tokens.create(tmp_path / "tokens.json", "somebody", [Scope.READ])
    trusting = ssl.create_default_context(cafile=made.ca)
    protected = {
        "tls_certificate": certificate,
        "tls_key": key,
        "tokens": tmp_path / "tokens.json",
    }
    finished_run(store)
    async with (
        served(store) as (_, address),
        page(address, folder, trusting, **protected) as browser,
    ):
        assert (await browser.get("/api/v1/runs")).status_code == 401
        login = await browser.post("/api/v1/login", json={"token": token})
        assert login.headers["set-cookie"].startswith("__Host-mentorgrad=")
        assert len((await browser.get("/api/v1/runs")).json()["runs"]) == 1
        # A renewed certificate is shown to the next connection.
        (tmp_path / "others").mkdir()
        others = certificates.make(tmp_path / "others", (), 1)
        shutil.copy(others.server, certificate)
        shutil.copy(others.server_key, key)
        renewed = ssl.create_default_context(cafile=others.ca)
        async with httpx.AsyncClient(
            base_url=browser.base_url, verify=renewed, trust_env=False
        ) as second:
            assert (await second.get("/")).status_code == 200


async def test_a_visitor_changes_what_their_own_token_may(
    store: TemporaryRunStore, folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "tokens.json"
    _, own = tokens.create(file, "page", [Scope.ADMIN])
    (tmp_path / "page.token").write_text(own)
    _, alice = tokens.create(file, "alice", [Scope.RUN])
    _, bob = tokens.create(file, "bob", [Scope.RUN])
    protected = {"tokens": file, "token_file": tmp_path / "page.token", "allow_actions": True}
    async with (
        served(store, security=Security(tokens=TokenFile(file))) as (_, address),
        page(address, folder, **protected) as browser,
    ):
        runs = {}
        for token in (alice, bob):
            async with AsyncClient(address, credentials=Credentials(token=token)) as client:
                spec = RunSpec(Function(), mentor=MentorChoice("none"))
                runs[token] = (await client.create_run(spec)).run.run_id
        await browser.post("/api/v1/login", json={"token": alice})
        session = (await browser.get("/api/v1/session")).json()
        response = await browser.post(
            "/api/v1/actions",
            json={"action": "cancel", "run_ids": [runs[alice], runs[bob]]},
            headers={"origin": str(browser.base_url), TOKEN_HEADER: session["token"]},
        )
        cancelled, refused = response.json()["results"]
        assert cancelled["run"]["state"] == "RUN_STATE_CANCELLED"
        assert refused["error"]["reason"] == "RUN_NOT_FOUND"
    (entry,) = store.list_audit(AuditFilter(action="CancelRun", outcome="OK"))
    assert (entry.caller, entry.record_id) == ("alice", runs[alice])


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"listen": "0.0.0.0:0"}, "listen"),
        ({"login": True}, "login"),
        ({"listen": "nonsense"}, "listen"),
        ({"server": "far.example:50551"}, "token"),
        ({"tls_certificate": "certificate.pem"}, "tls_key"),
    ],
)
async def test_what_would_not_be_safe_does_not_start(
    given: dict[str, Any], field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MENTORGRAD_UI_TOKEN", "a-token")
    with pytest.raises(InvalidInput) as refused:
        await serve(UiSettings(**({"listen": "127.0.0.1:0"} | given)))
    assert refused.value.violations[0].field == field


async def test_a_page_can_ask_browsers_for_certificates(folder: Path, tmp_path: Path) -> None:
    made = certificates.make(tmp_path, (), 1)
    files = {
        "tls_certificate": made.server,
        "tls_key": made.server_key,
        "tls_client_ca": made.ca,
    }
    known = ssl.create_default_context(cafile=made.ca)
    known.load_cert_chain(made.client, made.client_key)
    unknown = ssl.create_default_context(cafile=made.ca)
    async with page("127.0.0.1:1", folder, known, **files) as browser:
        assert (await browser.get("/")).status_code == 200
        async with httpx.AsyncClient(
            base_url=browser.base_url, verify=unknown, trust_env=False
        ) as other:
            with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
                await other.get("/")


async def test_a_client_certificate_is_no_login(tmp_path: Path) -> None:
    made = certificates.make(tmp_path, (), 1)
    files = {
        "tls_certificate": made.server,
        "tls_key": made.server_key,
        "tls_client_ca": made.ca,
    }
    with pytest.raises(InvalidInput) as refused:
        await serve(UiSettings(listen="0.0.0.0:0", **files))
    assert refused.value.violations[0].field == "tokens"


async def test_the_command_says_where_it_serves_and_ends_with_its_streams(
    store: TemporaryRunStore,
) -> None:
    run_id = queue_run(store)
    async with served(store) as (_, address):
        command = (sys.executable, "-m", "ui_service", "serve", "--server", address)
        ui = await asyncio.create_subprocess_exec(
            *command,
            *("--listen", "127.0.0.1:0"),
            stdout=asyncio.subprocess.PIPE,
        )
        assert ui.stdout is not None
        said = json.loads(await ui.stdout.readline())
        assert said["service"] == "ui"
        async with (
            httpx.AsyncClient(base_url=f"http://{said['address']}", trust_env=False) as browser,
            browser.stream("GET", f"/api/v1/stream?run={run_id}:0", timeout=60) as response,
        ):
            stream = Stream(response)
            assert (await stream.frame())["event"] == "run"
            ui.send_signal(signal.SIGTERM)
            await stream.end()
            assert await ui.wait() == 0


async def test_a_port_in_use_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(InvalidInput) as refused:
            await serve(UiSettings(listen=listen))
    assert refused.value.message == f"listen: cannot listen on {listen}: Address already in use"


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: local"])
async def test_a_connection_that_asks_for_nothing_is_closed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(http_server, "SILENT_SECONDS", 0.01)
    async with page("127.0.0.1:1", folder) as browser:
        assert (await browser.get("/")).status_code == 200
        url = browser.base_url
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(sent)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
