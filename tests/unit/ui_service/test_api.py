"""The API of the page: what it answers, and to whom."""

from __future__ import annotations

import asyncio
import string
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mentorgrad.domain.event import RestartDecided
from mentorgrad.domain.query import RunFilter, RunOrder
from mentorgrad.domain.run import RunState
from mentorgrad.errors import Unauthenticated
from service_common import tokens
from service_common.token_file import TokenFile
from service_common.tokens import Scope
from tests.support.told_trainer import ToldTrainer
from ui_service import recorded_events
from ui_service.actions import Acting, Actions
from ui_service.api import Api
from ui_service.app import application
from ui_service.classifier import Predicting
from ui_service.event_stream import EventStreams
from ui_service.logins import LOGIN_SECONDS, Logins
from ui_service.page_files import PageFiles
from ui_service.protection import HEADERS
from ui_service.reads import Reads
from ui_service.recorded_events import RecordedEvents
from ui_service.run_feeds import RunFeeds

TOKEN_RATE = 1000.0


@pytest.fixture
async def trainer() -> ToldTrainer:
    return ToldTrainer()


@asynccontextmanager
async def browsing(
    trainer: ToldTrainer,
    folder: Path,
    logins: Logins | None = None,
    url: str = "http://127.0.0.1:8080",
    listen: str = "127.0.0.1:8080",
    hosts: tuple[str, ...] = (),
    acting: Acting | None = None,
    predicting: Predicting | None = None,
) -> AsyncIterator[httpx.AsyncClient]:
    recorded = RecordedEvents(trainer)
    streams = EventStreams(RunFeeds(trainer, recorded))
    actions = Actions(acting) if acting is not None else None
    reads = Reads(trainer, "127.0.0.1:50551", recorded)
    api = Api(reads, streams, logins, actions, predicting)
    app = application(api, PageFiles(folder), listen, hosts)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=url) as client:
        yield client


@pytest.fixture
async def browser(trainer: ToldTrainer, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with browsing(trainer, tmp_path) as client:
        yield client


async def asked(browser: httpx.AsyncClient, path: str, status: int = 200) -> Any:
    response = await browser.get(f"/api/v1{path}")
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    assert HEADERS.items() <= dict(response.headers).items()
    return response.json()


async def test_the_services_say_whether_the_trainer_answers(
    browser: httpx.AsyncClient, trainer: ToldTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = await asked(browser, "/services")
    assert (services["answers"], services["login"]) == (True, False)
    assert services["server"] == "127.0.0.1:50551"
    assert services["trainer"] == {"version": "0.1.0", "devices": ["cpu"], "workerSlots": "2"}
    assert "version" in services


async def test_an_absent_trainer_is_said_not_hidden(
    browser: httpx.AsyncClient, trainer: ToldTrainer
) -> None:
    trainer.go(away=True)
    services = await asked(browser, "/services")
    assert (services["answers"], services["trainer"]) == (False, None)
    assert services["error"]["reason"] == "UNAVAILABLE"
    error = (await asked(browser, "/runs", 503))["error"]
    assert (error["reason"], error["message"]) == ("UNAVAILABLE", "no answer from 127.0.0.1:1")


async def test_runs_are_asked_for_as_the_address_says(
    browser: httpx.AsyncClient, trainer: ToldTrainer
) -> None:
    trainer.add("a")
    found = await asked(browser, "/runs")
    assert [run["runId"] for run in found["runs"]] == ["a"]
    assert found["nextPageToken"] == "more"
    await asked(
        browser,
        "/runs?page_size=7&page_token=t&order=best_selection_loss&state=running"
        "&state=RUN_STATE_QUEUED&label=k%3Dv%3Dw&text=some&pattern=%5Es&experiment=e&mentor=",
    )
    wanted = RunFilter(
        states=(RunState.RUNNING, RunState.QUEUED),
        labels={"k": "v=w"},
        name_contains="some",
        name_pattern="^s",
        experiment_id="e",
    )
    assert trainer.lists == [
        (RunFilter(), RunOrder.NEWEST, 50, ""),
        (wanted, RunOrder.BEST_SELECTION_LOSS, 7, "t"),
    ]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/runs?page_size=0", "page_size"),
        ("/runs?page_size=1000000", "page_size"),
        ("/runs?page_size=x", "page_size"),
        ("/runs?order=worst", "order"),
        ("/runs?state=asleep", "state"),
        ("/runs?label=k", "label"),
        ("/runs?nonsense=1", "nonsense"),
        (f"/runs?text={'x' * 300}", "filter.name_contains"),
        ("/runs?pattern=a(", "filter.name_pattern"),
        ("/runs/a/events?after=-1", "after"),
        ("/runs/a/events?limit=1001", "limit"),
        ("/runs/a/events?kind=nothing", "kind"),
        ("/runs/a/trajectory?points=1", "points"),
        ("/runs/a/trajectory?first_step=5&last_step=4", "last_step"),
        ("/experiments?page_size=0", "page_size"),
        ("/experiments?state=running", "state"),
        ("/reports/e?points=1", "points"),
        ("/compare", "run"),
        ("/stream", "run"),
        ("/stream?run=a", "run"),
        ("/stream?run=a:1&run=a:2", "run"),
    ],
)
async def test_a_request_that_makes_no_sense_names_its_field(
    browser: httpx.AsyncClient, path: str, field: str
) -> None:
    assert (await asked(browser, path, 400))["error"]["field"] == field


@pytest.mark.parametrize(
    "path",
    [
        "/runs/nobody",
        "/runs/nobody/events",
        "/runs/nobody/trajectory",
        "/runs/nobody/artifacts",
        "/runs/nobody/path",
        "/reports/nobody",
        "/reports",
        "/stream?run=nobody:0",
        "/nothing",
    ],
)
async def test_what_is_not_there_is_not_found(browser: httpx.AsyncClient, path: str) -> None:
    reason = (await asked(browser, path, 404))["error"]["reason"]
    assert reason in ("RUN_NOT_FOUND", "EXPERIMENT_NOT_FOUND", "NO_SUCH_PATH")


NAMES = ("run", "page_size", "state", "order", "label", "text", "after", "limit", "kind", "points")
asked_texts = st.text(max_size=12) | st.sampled_from(["a:0", "a:2", "b:1", "1", "running", "k=v"])


@given(
    path=st.sampled_from(["/runs", "/runs/a", "/compare", "/stream"])
    | st.sampled_from(["/runs/a/events", "/runs/a/trajectory", "/runs/a/artifacts"])
    | st.sampled_from(["/runs/a/path", "/experiments"])
    | st.text(max_size=12).map(lambda text: f"/reports/{quote(text)}")
    | st.text(max_size=12).map(lambda text: f"/runs/{quote(text)}"),
    query=st.lists(
        st.tuples(st.sampled_from(NAMES) | st.text(max_size=5), asked_texts), max_size=3
    ),
    last_id=st.text(string.ascii_letters + ":,0", max_size=9),
)
def test_whatever_is_asked_for_is_answered_or_refused(
    path: str, query: list[tuple[str, str]], last_id: str
) -> None:
    async def ask() -> httpx.Response:
        trainer = ToldTrainer()
        trainer.add("a", 1)
        trainer.finish("a")
        async with browsing(trainer, Path("nothing")) as browser:
            return await browser.get(
                f"/api/v1{path}", params=query, headers={"last-event-id": last_id}
            )

    response = asyncio.run(ask())
    assert response.status_code in (200, 204, 400, 404)
    if response.status_code >= 400:
        assert set(response.json()["error"]) == {"reason", "message", "field"}


async def test_a_forged_event_id_is_refused(browser: httpx.AsyncClient) -> None:
    for forged in ("a", "b:1", "a:1,b:1", "a:-1"):
        response = await browser.get("/api/v1/stream?run=a:0", headers={"Last-Event-ID": forged})
        assert response.status_code == 400
        assert response.json()["error"]["field"] == "Last-Event-ID"


async def test_a_run_is_shown_with_its_events_points_and_files(
    browser: httpx.AsyncClient, trainer: ToldTrainer
) -> None:
    trainer.add("a", 2)
    trainer.tell("a", RestartDecided(stage=0, restarted=True))
    run = await asked(browser, "/runs/a")
    assert (run["run"]["runId"], run["run"]["state"]) == ("a", "RUN_STATE_RUNNING")
    assert run["lastSeq"] == 3
    points = (await asked(browser, "/runs/a/trajectory?points=4"))["points"]
    assert [point["step"] for point in points] == [1, 2, 3, 4]
    assert [point["isRestart"] for point in points] == [False, False, True, False]
    files = (await asked(browser, "/runs/a/artifacts"))["artifacts"]
    assert files == [{"name": "prompt.safetensors", "sizeBytes": str(2**40), "sha256": "ab"}]
    compared = await asked(browser, "/compare?run=a")
    assert compared["differences"] == [{"field": "seed", "values": ["1", "2"]}]


@pytest.mark.parametrize(
    ("asked_for", "steps"),
    [
        ("points=3&first_step=10&last_step=20", [10, 11, 12]),
        ("points=500&first_step=98", [98, 99, 100]),
        ("points=2&last_step=50", [1, 2]),
        ("first_step=50&last_step=50", [50]),
        ("first_step=101", []),
    ],
)
async def test_a_part_of_a_curve_can_be_asked_for(
    browser: httpx.AsyncClient, trainer: ToldTrainer, asked_for: str, steps: list[int]
) -> None:
    trainer.add("a")
    trainer.steps = 100
    points = (await asked(browser, f"/runs/a/trajectory?{asked_for}"))["points"]
    assert [point["step"] for point in points] == steps


async def test_events_come_in_portions(
    browser: httpx.AsyncClient, trainer: ToldTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer.add("a", 5)
    first = await asked(browser, "/runs/a/events?limit=3")
    assert [event["seq"] for event in first["events"]] == ["1", "2", "3"]
    assert first["next"] == 3
    last = await asked(browser, "/runs/a/events?after=3")
    assert ([event["seq"] for event in last["events"]], last["next"]) == (["4", "5"], None)
    assert await asked(browser, "/runs/a/events?after=5") == {"events": [], "next": None}
    monkeypatch.setattr(recorded_events, "PORTION_BYTES", 1)
    small = await asked(browser, "/runs/a/events")
    assert (len(small["events"]), small["next"]) == (1, 1)


async def test_events_can_be_asked_for_by_kind(
    browser: httpx.AsyncClient, trainer: ToldTrainer
) -> None:
    trainer.add("a", 2)
    trainer.finish("a")
    trainer.tell("a", RestartDecided(stage=0))
    wanted = "/runs/a/events?kind=finished&kind=EVENT_KIND_RESTART_DECIDED"
    found = await asked(browser, wanted)
    assert [event["seq"] for event in found["events"]] == ["3", "4"]
    assert (await asked(browser, f"{wanted}&limit=1"))["next"] == 3


async def test_a_large_answer_is_compressed_for_a_browser_that_can(
    browser: httpx.AsyncClient, trainer: ToldTrainer
) -> None:
    trainer.add("a", 300)
    large = await browser.get("/api/v1/runs/a/events")
    assert large.headers["content-encoding"] == "gzip"
    plain = await browser.get("/api/v1/runs/a/events", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.json() == large.json()


async def test_many_tabs_ask_the_trainer_once(
    browser: httpx.AsyncClient, trainer: ToldTrainer
) -> None:
    trainer.add("a")
    await asyncio.gather(*(asked(browser, "/runs") for _ in range(20)))
    await asyncio.gather(*(asked(browser, "/services") for _ in range(20)))
    assert (trainer.calls["list_runs"], trainer.calls["trainer_info"]) == (1, 1)
    await asked(browser, "/runs?page_size=2")
    assert trainer.calls["list_runs"] == 2


async def test_nothing_can_be_changed(browser: httpx.AsyncClient, trainer: ToldTrainer) -> None:
    trainer.add("a")
    for path in ("/runs", "/runs/a", "/stream", "/services", "/session"):
        for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            response = await browser.request(method, f"/api/v1{path}")
            assert response.status_code == 405
            assert not [name for name in response.headers if "access-control" in name]


async def test_a_bug_tells_a_browser_nothing(
    browser: httpx.AsyncClient, trainer: ToldTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> Any:
        raise KeyError("a secret")

    monkeypatch.setattr(trainer, "get_run", broken)
    error = (await asked(browser, "/runs/a", 500))["error"]
    assert error["reason"] == "INTERNAL"
    assert "secret" not in error["message"]


async def test_the_credentials_of_the_page_are_no_business_of_a_browser(
    browser: httpx.AsyncClient, trainer: ToldTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_: Any) -> Any:
        raise Unauthenticated("the token 1234 has expired", reason="TOKEN_EXPIRED")

    monkeypatch.setattr(trainer, "get_run", refused)
    assert (await asked(browser, "/runs/a", 503))["error"]["reason"] == "TOKEN_EXPIRED"


# -- hosts and sites ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listen", "host", "is_ours"),
    [
        ("127.0.0.1:8080", "127.0.0.1:8080", True),
        ("127.0.0.1:8080", "localhost:9", True),
        ("127.0.0.1:8080", "LocalHost", True),
        ("127.0.0.1:8080", "[::1]:8080", True),
        ("127.0.0.1:8080", "runs.example:8080", True),
        ("127.0.0.1:8080", "10.0.0.1:8080", False),
        ("127.0.0.1:8080", "evil.example:8080", False),
        ("127.0.0.1:8080", "127.0.0.1.evil.example", False),
        ("127.0.0.1:8080", "", False),
        ("0.0.0.0:8080", "10.0.0.1:8080", True),
        ("0.0.0.0:8080", "[fd00::1]", True),
        ("0.0.0.0:8080", "evil.example", False),
    ],
)
async def test_the_page_answers_for_names_of_its_own(
    trainer: ToldTrainer, tmp_path: Path, listen: str, host: str, is_ours: bool
) -> None:
    async with browsing(trainer, tmp_path, listen=listen, hosts=("Runs.example",)) as browser:
        response = await browser.get("/api/v1/services", headers={"host": host})
    assert response.status_code == (200 if is_ours else 421)
    assert HEADERS.items() <= dict(response.headers).items()


async def test_other_sites_are_refused(browser: httpx.AsyncClient) -> None:
    for site, status in {"same-origin": 200, "none": 200, "cross-site": 403}.items():
        response = await browser.get("/api/v1/services", headers={"sec-fetch-site": site})
        assert response.status_code == status


# -- logins ---------------------------------------------------------------------------------------


class Clock:
    """A time that a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


@pytest.fixture
def new_token(token_file: Path) -> Callable[..., tuple[str, str]]:
    def make(*scopes: Scope) -> tuple[str, str]:
        record, token = tokens.create(token_file, "somebody", scopes)
        return record.token_id, token

    return make


async def log_in(browser: httpx.AsyncClient, token: str) -> httpx.Response:
    return await browser.post("/api/v1/login", json={"token": token})


async def test_a_login_lasts_until_it_is_too_old_or_its_token_revoked(
    trainer: ToldTrainer,
    tmp_path: Path,
    token_file: Path,
    new_token: Callable[..., tuple[str, str]],
    clock: Clock,
) -> None:
    token_id, token = new_token(Scope.READ)
    logins = Logins(TokenFile(token_file), TOKEN_RATE, clock)
    async with browsing(trainer, tmp_path, logins, "https://127.0.0.1") as browser:
        assert (await asked(browser, "/services", 401))["error"]["reason"] == "LOGIN_REQUIRED"
        assert (await asked(browser, "/stream?run=a:0", 401))["error"]["reason"] == "LOGIN_REQUIRED"
        response = await log_in(browser, f" {token}\n")
        assert response.status_code == 204
        cookie = response.headers["set-cookie"]
        assert cookie.startswith("__Host-mentorgrad=")
        parts = {part.strip().lower() for part in cookie.split(";")[1:]}
        assert {"httponly", "secure", "samesite=strict", "path=/", "max-age=28800"} <= parts
        assert not any(part.startswith("domain") for part in parts)
        assert token not in cookie
        assert (await asked(browser, "/services"))["login"] is True
        clock.now += LOGIN_SECONDS
        await asked(browser, "/services", 401)
        await log_in(browser, token)
        await asked(browser, "/services")
        tokens.revoke(token_file, token_id)
        assert (await asked(browser, "/services", 401))["error"]["reason"] == "TOKEN_REVOKED"


async def test_a_logout_ends_the_session_not_the_cookie_alone(
    trainer: ToldTrainer,
    tmp_path: Path,
    token_file: Path,
    new_token: Callable[..., tuple[str, str]],
    clock: Clock,
) -> None:
    _, token = new_token(Scope.RUN)
    logins = Logins(TokenFile(token_file), TOKEN_RATE, clock)
    async with browsing(trainer, tmp_path, logins) as browser:
        await log_in(browser, token)
        kept = dict(browser.cookies)
        assert kept.keys() == {"mentorgrad"}  # over plain HTTP, on loopback, no `__Host-`
        assert (await browser.post("/api/v1/logout", json={})).status_code == 204
        assert not browser.cookies
        browser.cookies.update(kept)
        await asked(browser, "/services", 401)


async def test_a_refused_login_says_why_and_attempts_are_limited(
    trainer: ToldTrainer,
    tmp_path: Path,
    token_file: Path,
    new_token: Callable[..., tuple[str, str]],
    clock: Clock,
) -> None:
    _, predicts = new_token(Scope.PREDICT)
    logins = Logins(TokenFile(token_file), TOKEN_RATE, clock)
    async with browsing(trainer, tmp_path, logins) as browser:
        for token, reason in {"nonsense": "TOKEN_UNKNOWN", predicts: "SCOPE_MISSING"}.items():
            refused = await log_in(browser, token)
            assert (refused.status_code, refused.json()["error"]["reason"]) == (401, reason)
            assert not browser.cookies
        limited = await log_in(browser, "nonsense")
        assert limited.status_code == 429
        assert int(limited.headers["retry-after"]) > 0
        clock.now += 2
        assert (await log_in(browser, "nonsense")).status_code == 401


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"token": "t"}', "text/plain"),
        (b"token=t", "application/x-www-form-urlencoded"),
        (b"", "application/json"),
        (b"[1]", "application/json"),
        (b'{"token": 5}', "application/json"),
        (b'{"token": "\xc3\xa9"}', "application/json"),
        (b'{"token": "' + b"t" * 20_000 + b'"}', "application/json"),
    ],
)
async def test_what_is_no_login_is_refused(
    trainer: ToldTrainer,
    tmp_path: Path,
    token_file: Path,
    new_token: Callable[..., tuple[str, str]],
    body: bytes,
    kind: str,
) -> None:
    new_token(Scope.READ)
    logins = Logins(TokenFile(token_file), TOKEN_RATE)
    async with browsing(trainer, tmp_path, logins) as browser:
        response = await browser.post("/api/v1/login", content=body, headers={"content-type": kind})
        assert response.status_code == 400


async def test_an_owner_makes_only_so_many_requests(
    trainer: ToldTrainer,
    tmp_path: Path,
    token_file: Path,
    new_token: Callable[..., tuple[str, str]],
    clock: Clock,
) -> None:
    _, token = new_token(Scope.READ)
    logins = Logins(TokenFile(token_file), 0.5, clock)
    async with browsing(trainer, tmp_path, logins) as browser:
        await log_in(browser, token)
        await asked(browser, "/services")
        assert (await asked(browser, "/services", 429))["error"]["reason"] == "CALL_RATE"


async def test_the_files_of_the_page_need_no_login(
    trainer: ToldTrainer,
    tmp_path: Path,
    token_file: Path,
    new_token: Callable[..., tuple[str, str]],
) -> None:
    new_token(Scope.READ)
    (tmp_path / "index.html").write_text("<!doctype html>")
    logins = Logins(TokenFile(token_file), TOKEN_RATE)
    async with browsing(trainer, tmp_path, logins) as browser:
        for path in ("/", "/runs/a"):
            response = await browser.get(path)
            assert (response.status_code, response.text) == (200, "<!doctype html>")
            assert HEADERS.items() <= dict(response.headers).items()
