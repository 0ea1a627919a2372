"""Changes of runs: who may ask for them, from where, and what becomes of each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from service_common import tokens
from service_common.token_file import TokenFile
from service_common.tokens import Scope
from tests.support.told_trainer import ToldTrainer
from tests.unit.ui_service.test_api import asked, browsing
from ui_service.actions import MAX_RUNS
from ui_service.logins import Logins
from ui_service.page_token import TOKEN_HEADER

PAGE = "http://127.0.0.1:8080"


class Acts:
    """A page with actions, whose runs `a`, `b` and `c` are running."""

    def __init__(self, folder: Path, logins: Logins | None = None, url: str = PAGE) -> None:
        self.trainer = ToldTrainer()
        for run_id in "abc":
            self.trainer.add(run_id)
        self.tokens: list[str] = []
        self.page = browsing(self.trainer, folder, logins, url, acting=self._acting)

    @asynccontextmanager
    async def _acting(self, token: str) -> AsyncIterator[ToldTrainer]:
        self.tokens.append(token)
        yield self.trainer


async def act(browser: httpx.AsyncClient, body: Any, **headers: str) -> httpx.Response:
    """Asks as the page does; a header that is empty is not sent."""
    token = (await asked(browser, "/session"))["token"]
    given = {"origin": str(browser.base_url).rstrip("/"), TOKEN_HEADER: token} | headers
    sent = {name: value for name, value in given.items() if value}
    return await browser.post("/api/v1/actions", json=body, headers=sent)


def reason(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["reason"]


async def test_each_run_is_changed_or_says_why_not(tmp_path: Path) -> None:
    acts = Acts(tmp_path)
    async with acts.page as browser:
        await act(browser, {"action": "cancel", "run_ids": ["b"]})
        response = await act(browser, {"action": "pause", "run_ids": ["a", "b", "a"]})
        assert response.status_code == 200
        paused, refused = response.json()["results"]
        assert (paused["runId"], paused["run"]["state"]) == ("a", "RUN_STATE_PAUSED")
        assert refused["error"]["reason"] == "TRANSITION_FORBIDDEN"
        (missing,) = (await act(browser, {"action": "cancel", "run_ids": ["z"]})).json()["results"]
        assert missing["error"]["reason"] == "RUN_NOT_FOUND"
    assert acts.trainer.changes == [("cancel", "b"), ("pause", "a")]
    assert set(acts.tokens) == {""}  # the page's own


async def test_all_actions_reach_the_trainer(tmp_path: Path) -> None:
    acts = Acts(tmp_path)
    update = {"labels": {"k": "v"}, "remove_labels": ["old"], "note": "a note"}
    async with acts.page as browser:
        for action in ("pause", "resume", "finish", "cancel"):
            assert (await act(browser, {"action": action, "run_ids": ["a"]})).status_code == 200
        asking = {"action": "update", "run_ids": ["a"], "update": update}
        (result,) = (await act(browser, asking)).json()["results"]
    assert result["run"]["note"] == "a note"
    names = ("pause", "resume", "finish", "cancel")
    edits = ({"k": "v"}, ("old",), "a note")
    assert acts.trainer.changes == [*((name, "a") for name in names), edits, ("update", "a")]


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"origin": ""}, "OTHER_SITE"),
        ({"origin": "null"}, "OTHER_SITE"),
        ({"origin": "http://["}, "OTHER_SITE"),
        ({"origin": "http://127.0.0.1:8081"}, "OTHER_SITE"),
        ({"origin": "http://evil.example"}, "OTHER_SITE"),
        ({"origin": "ftp://127.0.0.1:8080"}, "OTHER_SITE"),
        ({"sec-fetch-site": "same-site"}, "OTHER_SITE"),
        ({TOKEN_HEADER: ""}, "PAGE_TOKEN"),
        ({TOKEN_HEADER: "0" * 64}, "PAGE_TOKEN"),
    ],
)
async def test_another_site_changes_nothing(
    tmp_path: Path, headers: dict[str, str], said: str
) -> None:
    acts = Acts(tmp_path)
    async with acts.page as browser:
        response = await act(browser, {"action": "cancel", "run_ids": ["a"]}, **headers)
        assert reason(response) == (403, said)
    assert acts.trainer.changes == []


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {"action": "cancel"},
        {"run_ids": ["a"]},
        {"action": "delete", "run_ids": ["a"]},
        {"action": "cancel", "run_ids": []},
        {"action": "cancel", "run_ids": ["a"] * (MAX_RUNS + 1)},
        {"action": "cancel", "run_ids": ["a"], "update": {"note": "n"}},
        {"action": "update", "run_ids": ["a"]},
        {"action": "update", "run_ids": ["a"], "update": {"note": "n" * 10_001}},
        {"action": "update", "run_ids": ["a"], "update": {"note": "n" * 300_000}},
        {"action": "cancel", "run_ids": ["a"], "nonsense": 1},
    ],
)
async def test_what_is_no_action_is_refused(tmp_path: Path, body: Any) -> None:
    acts = Acts(tmp_path)
    async with acts.page as browser:
        assert (await act(browser, body)).status_code == 400
        form = await act(
            browser, {"action": "cancel", "run_ids": ["a"]}, **{"content-type": "text/plain"}
        )
        assert form.status_code == 400
    assert acts.trainer.changes == []


async def test_a_page_without_actions_is_read_only(tmp_path: Path) -> None:
    trainer = ToldTrainer()
    trainer.add("a")
    async with browsing(trainer, tmp_path) as browser:
        assert (await asked(browser, "/session"))["actions"] is False
        response = await act(browser, {"action": "cancel", "run_ids": ["a"]})
        assert reason(response) == (403, "READ_ONLY")
        assert "--allow-actions" in response.json()["error"]["message"]


async def test_visitors_act_by_their_own_tokens(tmp_path: Path) -> None:
    file, cancel = tmp_path / "tokens.json", {"action": "cancel", "run_ids": ["a"]}
    _, reader = tokens.create(file, "reader", [Scope.READ])
    _, runner = tokens.create(file, "runner", [Scope.RUN])
    now = 0.0
    acts = Acts(tmp_path, Logins(TokenFile(file), 1000.0, lambda: now), "https://127.0.0.1")
    async with acts.page as browser:
        response = await browser.post("/api/v1/actions", json=cancel)
        assert reason(response) == (401, "LOGIN_REQUIRED")
        await browser.post("/api/v1/login", json={"token": reader})
        assert (await asked(browser, "/session"))["actions"] is False
        assert reason(await act(browser, cancel)) == (403, "SCOPE_MISSING")
        now += 10.0
        await browser.post("/api/v1/login", json={"token": runner})
        of_session = (await asked(browser, "/session"))["token"]
        assert reason(await act(browser, cancel, origin="http://127.0.0.1")) == (403, "OTHER_SITE")
        assert (await act(browser, cancel)).status_code == 200
        now += 10.0
        await browser.post("/api/v1/login", json={"token": runner})
        assert reason(await act(browser, cancel, **{TOKEN_HEADER: of_session})) == (
            403,
            "PAGE_TOKEN",
        )
    assert acts.tokens == [runner]
