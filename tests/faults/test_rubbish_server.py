"""A mentor whose LLM is a server that behaves badly: typed outcomes, in time, in bounded memory."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from campaigns.faults import faulty_llm_server as ways
from campaigns.faults.faulty_llm_server import MEBIBYTE, FaultyLLMServer, Way, said
from mentor_service.backends.openai import OpenAIBackend
from mentor_service.composition import MentorServer
from mentor_service.profiles import PROFILES
from mentor_service.protocols import Question
from mentorgrad.domain.advice import (
    AdviseOpen,
    Answer,
    AnswerStatus,
    Constraints,
    ProposalRequest,
    ProposeInput,
    TaskCard,
)
from mentorgrad.errors import Unavailable
from mentorgrad.mentor_client import AsyncMentorClient
from service_common import llm_server

USABLE, UNUSABLE = AnswerStatus.USABLE, AnswerStatus.UNUSABLE
TIMED_OUT, UNAVAILABLE = AnswerStatus.TIMED_OUT, AnswerStatus.UNAVAILABLE

GOOD = '{"proposals": [{"rationale": "it is new", "text": "a note about"}]}'
OPENED = AdviseOpen("session", TaskCard("label_prompt", "what a message is about"), Constraints())
QUESTION = Question("", "What is good?", "", None, max_tokens=8, temperature=0.0, seed=1)
TRIES = 4
"""Requests for one question at most."""
MOST_WRITTEN = 16 * MEBIBYTE
"""What may be taken from a server, with all that lies in a socket's buffers."""
MOST_BUFFERED = 5 * MEBIBYTE
"""What the kernel takes of one more connection, though nobody reads it."""


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llm_server, "_FIRST_PAUSE", 0.02)


@pytest.fixture
async def server() -> AsyncIterator[FaultyLLMServer]:
    found = FaultyLLMServer()
    await found.start()
    yield found
    await found.close()


@pytest.fixture
async def client(server: FaultyLLMServer) -> AsyncIterator[AsyncMentorClient]:
    """Of a real mentor service whose backend is that server."""
    mentor = MentorServer(
        OpenAIBackend(server.url, "model", api_key="the-secret"), PROFILES["capable"]
    )
    address = await mentor.start()
    async with AsyncMentorClient(address) as found:
        yield found
    await mentor.stop(0.0)


async def ask(client: AsyncMentorClient, timeout: float = 60.0, **options: Any) -> Answer:
    request = ProposalRequest("r1", count=1, timeout=timedelta(seconds=timeout))
    opened = AdviseOpen("session", OPENED.card, OPENED.constraints, options=options)
    return await client.propose(ProposeInput(opened, request=request))


def check(answer: Answer, status: AnswerStatus) -> None:
    assert answer.status is status, answer.detail
    assert bool(answer.proposals) is (status is USABLE)
    assert answer.proposals or answer.detail
    assert "\n" not in answer.detail
    assert "the-secret" not in answer.detail


async def test_a_right_answer_is_usable(server: FaultyLLMServer, client: AsyncMentorClient) -> None:
    server.way = ways.body(said(GOOD))
    check(await ask(client), USABLE)


# -- no answer, or none that ends --------------------------------------------------------------


@pytest.mark.parametrize(
    "way",
    [ways.silence, ways.drip, ways.endless_patience, ways.events],
    ids=lambda way: way.__name__,
)
async def test_what_does_not_end_is_timed_out_and_the_server_is_left(
    server: FaultyLLMServer, client: AsyncMentorClient, way: Way
) -> None:
    server.way = way
    asking = asyncio.create_task(ask(client, timeout=300.0))
    await server.asked.wait()
    loop = asyncio.get_running_loop()
    clock = loop.time
    loop.time = lambda: clock() + 301.0  # type: ignore[method-assign]
    check(await asking, TIMED_OUT)
    await asyncio.wait_for(server.gone.wait(), 120)
    assert len(server.requests) == 1


@pytest.mark.parametrize("way", [ways.silence, ways.endless_patience], ids=lambda way: way.__name__)
async def test_a_question_given_up_twice_at_once_leaves_the_server_too(
    server: FaultyLLMServer, way: Way
) -> None:
    """As two deadlines of the same moment do."""
    server.way = way
    backend = OpenAIBackend(server.url, "model")
    asking = asyncio.ensure_future(backend.ask(QUESTION, 60.0))
    await server.asked.wait()
    await asyncio.sleep(0.05)
    while not asking.done():
        asking.cancel()
        await asyncio.sleep(0)
    assert asking.cancelled()
    await asyncio.wait_for(server.gone.wait(), 120)
    await backend.close()


@pytest.mark.parametrize(
    ("way", "most"),
    [
        (ways.endless, 1),
        (ways.endless_error, 1),
        (ways.gigantic, 1),
        (ways.endless_headers, TRIES),
    ],
    ids=["endless", "endless error", "gigantic", "endless headers"],
)
async def test_what_has_no_bounds_is_cut_off(
    server: FaultyLLMServer, client: AsyncMentorClient, way: Way, most: int
) -> None:
    server.way = way
    check(await ask(client), UNAVAILABLE)
    await asyncio.wait_for(server.gone.wait(), 120)
    assert 1 <= len(server.requests) <= most
    assert server.written < MOST_WRITTEN + (len(server.requests) - 1) * MOST_BUFFERED


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "deflate", "br", "gzip, gzip"])
async def test_what_is_compressed_is_not_unpacked(
    server: FaultyLLMServer, client: AsyncMentorClient, coding: str
) -> None:
    server.way = ways.body(ways.bomb(), content_encoding=coding)
    tracemalloc.start()
    try:
        check(await ask(client), UNAVAILABLE)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * MEBIBYTE
    assert server.requests[0][0]["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    "way",
    [
        *(ways.half_a_body, ways.half_a_head, ways.half_a_chunk),
        *(ways.dropped, ways.torn, ways.no_http),
    ],
    ids=lambda way: way.__name__,
)
async def test_a_broken_response_is_asked_for_again_a_few_times(
    server: FaultyLLMServer, client: AsyncMentorClient, way: Way
) -> None:
    server.way = way
    check(await ask(client), UNAVAILABLE)
    assert len(server.requests) == TRIES


# -- statuses ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "status",
    [408, 429, 500, *(pytest.param(n, marks=pytest.mark.campaign) for n in (425, 503, 599))],
)
async def test_what_may_pass_is_tried_again_and_then_given_up(
    server: FaultyLLMServer, client: AsyncMentorClient, status: int
) -> None:
    server.way = ways.body(b"busy", status)
    check(await ask(client), UNAVAILABLE)
    assert len(server.requests) == TRIES
    server.requests.clear()
    server.way = ways.after(TRIES - 1, status, said(GOOD))
    check(await ask(client), USABLE)
    assert len(server.requests) == TRIES


async def test_what_will_not_pass_is_not_tried_again(
    server: FaultyLLMServer, client: AsyncMentorClient
) -> None:
    for status in (201, 204, 300, 304, 400, 401, 403, 404, 405, 418, 422):
        server.requests.clear()
        server.way = ways.body(b"" if status in (204, 304) else said(GOOD), status)
        check(await ask(client), UNAVAILABLE)
        assert len(server.requests) == 1


@pytest.mark.parametrize("place", ["other", "itself", "http://[", "file:///etc/passwd"])
async def test_a_redirect_is_not_followed(
    server: FaultyLLMServer, client: AsyncMentorClient, place: str
) -> None:
    other = FaultyLLMServer()
    await other.start()
    location = {"other": f"{other.url}/chat/completions", "itself": "/v1/chat/completions"}
    for status in (301, 302, 303, 307, 308):
        server.requests.clear()
        server.way = ways.body(b"", status, location=location.get(place, place))
        check(await ask(client), UNAVAILABLE)
        assert 1 <= len(server.requests) <= TRIES
    await other.close()
    assert other.requests == []


def _in_seconds(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("form", [str, _in_seconds], ids=["seconds", "a date"])
async def test_a_server_that_asks_for_time_gets_it(
    server: FaultyLLMServer, client: AsyncMentorClient, status: int, form: Any, monkeypatch: Any
) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr(llm_server.asyncio, "sleep", note)
    server.way = ways.after(1, status, said(GOOD), retry_after=form(100))
    answer = await ask(client, timeout=300)
    monkeypatch.undo()
    check(answer, USABLE)
    assert len(server.requests) == 2
    assert any(1 < pause <= 100 for pause in pauses), pauses


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    "wish", ["3600", "1e300", "inf", _in_seconds(3_600)], ids=["3600", "1e300", "inf", "a date"]
)
async def test_more_time_than_there_is_ends_the_question_at_once(
    server: FaultyLLMServer, client: AsyncMentorClient, status: int, wish: str
) -> None:
    server.way = ways.after(1, status, said(GOOD), retry_after=wish)
    check(await ask(client, timeout=120), UNAVAILABLE)  # and not timed out
    assert len(server.requests) == 1


NO_WISHES = ("", "soon", "-5", "nan", "-inf", "0", _in_seconds(-9), "Mon, 99 Foo 99999 99:99:99")


@pytest.mark.parametrize("number", range(len(NO_WISHES)))
async def test_a_wish_that_says_nothing_is_none(
    server: FaultyLLMServer, client: AsyncMentorClient, number: int
) -> None:
    server.way = ways.after(2, 503, said(GOOD), retry_after=NO_WISHES[number])
    check(await ask(client), USABLE)
    assert len(server.requests) == 3


@settings(max_examples=200)
@given(st.one_of(st.text(max_size=40), st.floats().map(str), st.datetimes().map(format_datetime)))
def test_any_wish_is_a_number_of_seconds_or_none(header: str) -> None:
    seconds = llm_server.seconds_of(header)
    assert seconds is None or 0.0 <= seconds <= 86_400.0


# -- bodies -----------------------------------------------------------------------------------

RUBBISH = {
    "empty": b"",
    "a page": b"<html><body>502 Bad Gateway</body></html>",
    "null": b"null",
    "a list": b"[1, 2]",
    "no choices": b'{"choices": []}',
    "choices of another kind": b'{"choices": {"0": 1}}',
    "a choice of another kind": b'{"choices": ["text"]}',
    "no message": b'{"choices": [{"text": "1. an old form"}]}',
    "a message of another kind": b'{"choices": [{"message": "words"}]}',
    "content of another kind": said({"text": "words"}),
    "content that is missing": said(None),
    "bytes": bytes(range(256)),
    "another encoding": said(GOOD).decode().encode("utf-16")[:-1],
    "cut off": said(GOOD)[:-7],
    "deep": b"[" * 300_000,
    "deep and closed": b'{"choices":' + b"[" * 800 + b"]" * 800 + b"}",
    "a number too long to read": b'{"choices": ' + b"9" * 100_000 + b"}",
    "NaN": b"NaN",
    "an event": b"data: " + said(GOOD) + b"\n\n",
}


@pytest.mark.parametrize("name", RUBBISH)
async def test_a_body_that_is_no_answer_is_a_typed_outcome(
    server: FaultyLLMServer, client: AsyncMentorClient, name: str
) -> None:
    for count, kind in enumerate(("application/json", "text/html", "x; charset=\xff", ""), 1):
        server.way = ways.body(RUBBISH[name], content_type=kind)
        check(await ask(client), UNAVAILABLE)
        assert len(server.requests) == count


async def test_the_type_of_a_right_body_does_not_matter(
    server: FaultyLLMServer, client: AsyncMentorClient
) -> None:
    for kind in ("text/html", "application/octet-stream", ""):
        server.way = ways.body(said(GOOD), content_type=kind)
        check(await ask(client), USABLE)


@pytest.mark.parametrize("status", [400, pytest.param(429, marks=pytest.mark.campaign), 500])
async def test_whatever_an_error_says_is_told_in_a_line(
    server: FaultyLLMServer, client: AsyncMentorClient, status: int
) -> None:
    deep: Any = "deep"
    for _ in range(900):
        deep = [deep]
    odd = ("\ud800", "a\x00b\nc", "x" * 10**6, deep, {"a": {}}, 10**30, None, 0.5)
    for message in odd:
        server.way = ways.body(json.dumps({"error": {"message": message}}).encode(), status)
        answer = await ask(client)
        check(answer, UNAVAILABLE)
        assert len(answer.detail) < 400


async def test_counts_that_are_none_are_not_taken(
    server: FaultyLLMServer, client: AsyncMentorClient
) -> None:
    for count in (10**30, 2**63, -1, True, 1.5, "12", None, [], {}):
        usage = {"prompt_tokens": count, "completion_tokens": count}
        server.way = ways.body(said(GOOD, usage=usage))
        answer = await ask(client)
        check(answer, USABLE)
        assert [(r.prompt_tokens, r.reply_tokens) for r in answer.records] == [(0, 0)]


@pytest.mark.parametrize("text", ["\ud83d words", "", "no proposals here", "blah " * 300_000])
async def test_rubbish_in_a_right_body_is_unusable_and_recorded(
    server: FaultyLLMServer, client: AsyncMentorClient, text: str
) -> None:
    server.way = ways.body(said(text))
    answer = await ask(client)
    check(answer, UNUSABLE)
    assert {reply for record in answer.records for reply in record.raw_replies} == {
        text.encode("utf-8", "replace").decode()
    }


async def test_long_rubbish_at_every_call_of_an_answer_fits_a_message(
    server: FaultyLLMServer, client: AsyncMentorClient
) -> None:
    server.way = ways.body(said("ж" * 900_000, usage={}).decode("unicode-escape").encode("utf-8"))
    answer = await ask(client, calls=5)
    check(answer, UNUSABLE)
    assert len(answer.records) == 5
    assert "raw replies are truncated to" in answer.detail


# -- the connection ---------------------------------------------------------------------------


async def test_cookies_are_not_kept(server: FaultyLLMServer, client: AsyncMentorClient) -> None:
    server.way = ways.body(said(GOOD), set_cookie="a=" + "b" * 3_000)
    for _ in range(3):
        check(await ask(client), USABLE)
    assert all("cookie" not in headers for headers, _ in server.requests)


async def test_giving_up_a_question_ends_it_at_the_server(
    server: FaultyLLMServer, client: AsyncMentorClient
) -> None:
    task = asyncio.create_task(ask(client))
    await asyncio.wait_for(server.asked.wait(), 120)
    assert not server.gone.is_set()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.wait_for(server.gone.wait(), 120)
    server.way = ways.body(said(GOOD))
    check(await ask(client), USABLE)


@pytest.mark.parametrize(
    "way",
    [ways.dropped, ways.half_a_head, ways.no_http, ways.body(b"", 500), ways.body(b"", 401)],
    ids=["dropped", "half a head", "no http", "500", "401"],
)
async def test_the_look_at_a_bad_server_says_unavailable(server: FaultyLLMServer, way: Way) -> None:
    backend = OpenAIBackend(server.url, "model")
    server.look = way
    with pytest.raises(Unavailable):
        await backend.check()
    await backend.close()


@pytest.mark.parametrize(
    "way", [ways.endless, ways.gigantic, ways.body(b"\xff", content_encoding="gzip")]
)
async def test_the_look_reads_no_body(server: FaultyLLMServer, way: Way) -> None:
    backend = OpenAIBackend(server.url, "model")
    server.look = way
    await backend.check()
    await backend.close()
    assert server.written < MOST_WRITTEN
