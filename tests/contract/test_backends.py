"""What every Backend guarantees, and what is special to that of other servers.

The first part holds the scripted backend to it here, and those with a real model in
`tests/e2e/test_real_llm.py`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from mentor_service.backends.openai import OpenAIBackend
from mentor_service.backends.scripted import ScriptedBackend
from mentor_service.grammars import reply_schema
from mentor_service.line_replies import line_forms
from mentor_service.protocols import Question
from mentor_service.reasoning import answer_of
from mentorgrad.domain.advice import ProposalKind
from mentorgrad.errors import (
    DeadlineExceeded,
    InvalidInput,
    MentorgradError,
    ResourceExhausted,
    Unavailable,
)
from service_common import llm_server

CONTEXT = 2048

SHORT = Question("", "Say hello.", "", None, 8, 0.8, 1)
LONG = Question("", "Tell a long story about a ship.", "", None, 80, 0.8, 1)
CONTINUED = Question(
    "Go on.", "One, two,\nthree, four,\nfive,", "", None, 8, 0.8, 1, completes=True
)
TOO_LONG = Question("", "word " * 20_000, "", None, 8, 0.8, 1)


def slow_for_long_questions(question: Question) -> str:
    return "Hello there."


class SlowScript(ScriptedBackend):
    """Takes as long as a model would for many tokens."""

    async def ask(self, question: Question, timeout: float) -> Any:
        self._delay = 0.01 * question.max_tokens
        return await super().ask(question, timeout)


@pytest.fixture
async def backend() -> AsyncIterator[Any]:
    made = SlowScript(slow_for_long_questions, context_tokens=CONTEXT)
    yield made
    await made.close()


async def test_a_question_is_answered_and_accounted_for(backend: Any) -> None:
    reply = await backend.ask(SHORT, 30.0)
    assert reply.texts[0]
    assert reply.prompt_tokens > 0
    assert 0 < reply.reply_tokens <= SHORT.max_tokens
    assert reply.duration.total_seconds() > 0
    assert len(reply.texts) == len(reply.finish_reasons) == 1
    assert reply.finish_reasons[0] in ("stop", "length")
    assert 0 < reply.evaluated_tokens <= reply.prompt_tokens


async def test_the_backend_says_what_it_is(backend: Any) -> None:
    assert backend.name in ("scripted", "llama_cpp", "openai")
    assert backend.model
    assert backend.context_tokens == CONTEXT
    await backend.check()


async def test_too_little_time_is_deadline_exceeded_and_the_next_is_served(backend: Any) -> None:
    with pytest.raises(DeadlineExceeded):
        await backend.ask(LONG, 0.1)
    assert (await backend.ask(SHORT, 30.0)).texts[0]


async def test_cancelling_frees_the_backend_for_the_next(backend: Any) -> None:
    task = asyncio.create_task(backend.ask(LONG, 60.0))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await backend.ask(SHORT, 30.0)).texts[0]


async def test_a_question_beyond_the_context_is_invalid_input(backend: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        await backend.ask(TOO_LONG, 30.0)
    assert caught.value.reason == "QUESTION_TOO_LONG"


async def test_as_many_replies_as_samples_and_the_question_counts_once(backend: Any) -> None:
    one = await backend.ask(SHORT, 60.0)
    many = await backend.ask(dataclasses.replace(SHORT, samples=5), 60.0)
    assert len(many.texts) == len(many.finish_reasons) == 5
    assert all(many.texts)
    assert set(many.finish_reasons) <= {"stop", "length"}
    assert many.prompt_tokens == one.prompt_tokens
    assert many.reply_tokens >= 5
    if not isinstance(backend, OpenAIBackend):
        # A server may count by tokenizing the text again, which can give more.
        assert many.reply_tokens <= 5 * SHORT.max_tokens


async def test_a_text_is_continued_to_the_end_of_its_line(backend: Any) -> None:
    reply = await backend.ask(dataclasses.replace(CONTINUED, samples=3), 60.0)
    assert len(reply.texts) == len(reply.finish_reasons) == 3
    assert set(reply.finish_reasons) <= {"stop", "length"}
    assert reply.completed
    assert not any("\n" in text for text in reply.texts)
    assert not any("system" in text for text in reply.texts)
    assert 0 < reply.evaluated_tokens <= reply.prompt_tokens
    assert not (await backend.ask(SHORT, 30.0)).completed


async def test_distinct_replies_may_be_asked_of_every_backend(backend: Any) -> None:
    asked = dataclasses.replace(
        CONTINUED, samples=6, distinct=True, forms=line_forms, excluded=('"', "four")
    )
    reply = await backend.ask(asked, 60.0)
    assert 1 <= len(reply.texts) == len(reply.finish_reasons) <= 6
    assert set(reply.finish_reasons) <= {"stop", "length"}
    if backend.name == "llama_cpp":
        pairs = itertools.combinations(map(line_forms, reply.texts), 2)
        assert all(one.isdisjoint(other) for one, other in pairs)
        assert not any("four" in text for text in reply.texts)
        assert (await backend.ask(asked, 60.0)).texts == reply.texts
        at_once = dataclasses.replace(asked, temperature=0.0)
        assert len(set((await backend.ask(at_once, 60.0)).texts)) == 1


@pytest.mark.slow
async def test_many_samples_end_with_the_time_or_the_asker_and_the_next_is_served(
    backend: Any,
) -> None:
    many = dataclasses.replace(LONG, samples=6)
    with pytest.raises(DeadlineExceeded):
        await backend.ask(many, 0.2)
    task = asyncio.create_task(backend.ask(many, 60.0))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await backend.ask(SHORT, 60.0)).texts[0]


@pytest.mark.slow
async def test_questions_at_once_wait_for_each_other_and_are_all_answered(backend: Any) -> None:
    asked = [dataclasses.replace(SHORT, seed=seed, samples=1 + seed) for seed in range(3)]
    replies = await asyncio.gather(*(backend.ask(question, 60.0) for question in asked))
    assert [len(reply.texts) for reply in replies] == [1, 2, 3]
    assert all(text for reply in replies for text in reply.texts)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llm_server, "_FIRST_PAUSE", 0.02)


# -- openai: a server that misbehaves ---------------------------------------------------------

Respond = Callable[[int, dict[str, str], Any], tuple[int, dict[str, str], bytes]]


class BadServer:
    """Speaks just enough HTTP to answer badly."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], Any]] = []
        self.paths: list[str] = []
        self.respond: Respond = lambda turn, headers, body: (200, {}, b"")
        self.together = 0
        """So many must be at once before one is answered that asks for one reply."""
        self.cut = False
        self.at_once = self.most_at_once = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            headers = {
                name.lower(): value
                for name, _, value in (line.partition(": ") for line in head.split("\r\n")[1:])
            }
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            asked = json.loads(body) if body else None
            self.requests.append((headers, asked))
            self.paths.append(head.split(" ")[1])
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            while self.most_at_once < self.together and "n" not in asked:
                await asyncio.sleep(0.01)
            self.at_once -= 1
            if not self.cut:
                status, more, payload = self.respond(len(self.requests), headers, asked)
                more = {"content-length": str(len(payload)), "connection": "close", **more}
                lines = [f"HTTP/1.1 {status} X", *(f"{k}: {v}" for k, v in more.items()), "", ""]
                writer.write("\r\n".join(lines).encode() + payload)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def bad_server() -> AsyncIterator[BadServer]:
    bad = BadServer()
    server = await asyncio.start_server(bad.serve, "127.0.0.1", 0)
    bad.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    yield bad
    server.close()
    await server.wait_closed()


@pytest.fixture
async def asking(bad_server: BadServer) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    backend = OpenAIBackend(bad_server.url, "some-model", api_key="the-key")

    async def ask(question: Question = SHORT, timeout: float = 20.0) -> Any:
        return await backend.ask(question, timeout)

    yield ask
    await backend.close()


def said(text: Any = "Hello.", **more: Any) -> bytes:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return json.dumps({"choices": [choice], **more}).encode()


async def test_openai_asks_for_the_schema_twice_and_never_for_a_grammar(
    bad_server: BadServer, asking: Callable[..., Awaitable[Any]]
) -> None:
    usage = {"prompt_tokens": 12, "completion_tokens": 3}
    bad_server.respond = lambda *_: (200, {}, said(usage=usage))
    schema = reply_schema(ProposalKind.TEXT)
    asked = Question("You advise.", "Propose.", "", schema, 64, 0.5, 2**40 + 5, 0.25)
    reply = await asking(asked)
    assert (reply.texts, reply.prompt_tokens, reply.reply_tokens) == (("Hello.",), 12, 3)
    headers, body = bad_server.requests[0]
    assert headers["authorization"] == "Bearer the-key"
    assert body["model"] == "some-model"
    assert body["response_format"]["type"] == "json_schema"
    assert body["response_format"]["json_schema"]["schema"] == schema
    assert json.dumps(schema) in body["messages"][1]["content"]
    assert body["messages"][0] == {"role": "system", "content": "You advise."}
    assert "grammar" not in body
    assert body["seed"] == 5
    assert body["frequency_penalty"] == body["presence_penalty"] == 0.25


def said_often(texts: list[str], **more: Any) -> bytes:
    choices = [
        {"message": {"role": "assistant", "content": text}, "finish_reason": "length"}
        for text in texts
    ]
    return json.dumps({"choices": choices, **more}).encode()


MANY = dataclasses.replace(SHORT, samples=6)


async def test_openai_asks_for_all_samples_at_once_where_the_server_takes_n(
    bad_server: BadServer, asking: Callable[..., Awaitable[Any]]
) -> None:
    usage = {
        "prompt_tokens": 12,
        "completion_tokens": 30,
        "prompt_tokens_details": {"cached_tokens": 10},
    }
    bad_server.respond = lambda *_: (200, {}, said_often(list("abcdefgh"), usage=usage))
    reply = await asking(MANY)
    assert reply.texts == tuple("abcdef")
    assert reply.finish_reasons == ("length",) * 6
    assert (reply.prompt_tokens, reply.evaluated_tokens, reply.reply_tokens) == (12, 2, 30)
    assert [body["n"] for _, body in bad_server.requests] == [6]


@pytest.mark.parametrize("refuses", [False, True])
async def test_openai_asks_one_by_one_where_the_server_ignores_or_refuses_n(
    bad_server: BadServer, asking: Callable[..., Awaitable[Any]], refuses: bool
) -> None:
    usage = {"prompt_tokens": 12, "completion_tokens": 3}

    def respond(turn: int, headers: dict[str, str], body: Any) -> tuple[int, dict[str, str], bytes]:
        if refuses and body.get("n", 1) > 1:
            return 400, {}, b'{"error": {"message": "only n = 1 is supported"}}'
        return 200, {}, said(str(body["seed"]), usage=usage)

    bad_server.respond = respond
    bad_server.together = 4
    reply = await asking(MANY)
    assert reply.texts == tuple(str(SHORT.seed + i) for i in range(6))
    assert (reply.prompt_tokens, reply.reply_tokens) == (12, 18)
    before = len(bad_server.requests)
    assert before == (7 if refuses else 6)
    assert bad_server.most_at_once == 4
    assert len((await asking(MANY)).texts) == 6
    assert ["n" in body for _, body in bad_server.requests[before:]] == [False] * 6


def continued(*texts: Any, finish: str = "stop") -> bytes:
    choices = [{"text": text, "finish_reason": finish} for text in texts]
    return json.dumps({"choices": choices}).encode()


async def test_openai_continues_texts_without_a_chat(
    bad_server: BadServer, asking: Callable[..., Awaitable[Any]]
) -> None:
    bad_server.respond = lambda *_: (200, {}, continued(" six", " six\nseven", finish="length"))
    reply = await asking(dataclasses.replace(CONTINUED, samples=2))
    assert (reply.texts, reply.completed) == ((" six", " six"), True)
    assert reply.finish_reasons == ("length", "stop")  # the second went on behind its line
    assert bad_server.paths == ["/v1/completions"]
    ((_, body),) = bad_server.requests
    assert (body["prompt"], body["stop"], body["n"]) == (CONTINUED.user, ["\n"], 2)
    assert "messages" not in body


def refuses(status: int) -> tuple[int, dict[str, str], bytes]:
    return status, {}, b'{"error": {"message": "not offered"}}'


@pytest.mark.parametrize(
    "answer",
    [
        refuses(404),
        refuses(405),
        refuses(501),
        (200, {}, said()),  # answers every path as a chat
        (200, {}, b"{}"),
        (200, {}, continued(None)),
    ],
)
async def test_openai_asks_by_chat_where_texts_are_not_continued_and_remembers_it(
    bad_server: BadServer, asking: Callable[..., Awaitable[Any]], answer: Any
) -> None:
    bad_server.respond = lambda turn, headers, body: (
        answer if "prompt" in body else (200, {}, said())
    )
    once = dataclasses.replace(CONTINUED, samples=1)
    reply = await asking(once)
    assert (reply.texts, reply.completed) == (("Hello.",), False)
    _, body = bad_server.requests[-1]
    assert body["messages"] == [
        {"role": "system", "content": "Go on."},
        {"role": "user", "content": CONTINUED.user},
    ]
    assert not (await asking(once)).completed
    again = bad_server.paths[bad_server.paths.index("/v1/chat/completions") + 1 :]
    if answer[0] == 501:  # a failure may pass, so it is not remembered
        assert again[-1] == "/v1/chat/completions"
        assert len(again) > 1
    else:
        assert again == ["/v1/chat/completions"]


async def test_openai_remembers_that_texts_are_continued(
    bad_server: BadServer, asking: Callable[..., Awaitable[Any]]
) -> None:
    bad_server.respond = lambda turn, *_: (
        (200, {}, continued(" six")) if turn == 1 else refuses(400)
    )
    assert (await asking(CONTINUED)).texts == (" six",)
    with pytest.raises(Unavailable, match="not offered"):
        await asking(CONTINUED)
    assert bad_server.paths == ["/v1/completions"] * 2


async def test_openai_says_of_a_text_what_went_wrong_by_chat_too(
    bad_server: BadServer, asking: Callable[..., Awaitable[Any]]
) -> None:
    bad_server.respond = lambda *_: refuses(401)
    with pytest.raises(Unavailable, match="API key"):
        await asking(CONTINUED)
    assert bad_server.paths == ["/v1/completions", "/v1/chat/completions"]


async def test_openai_says_of_samples_one_by_one_what_went_wrong(
    bad_server: BadServer, asking: Callable[..., Awaitable[Any]]
) -> None:
    bad_server.respond = lambda *_: (400, {}, b'{"error": {"message": "no such model"}}')
    with pytest.raises(Unavailable, match="no such model"):
        await asking(MANY)


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_openai_tries_again_when_the_server_is_busy_or_fails(
    bad_server: BadServer, asking: Callable[..., Awaitable[Any]], status: int
) -> None:
    bad_server.respond = lambda turn, *_: (
        (status, {"retry-after": "0.01"}, b"busy") if turn < 3 else (200, {}, said())
    )
    assert (await asking()).texts == ("Hello.",)
    assert len(bad_server.requests) == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "kind"), [(429, ResourceExhausted), (500, Unavailable), (502, Unavailable)]
)
async def test_openai_gives_up_after_some_tries(
    bad_server: BadServer,
    asking: Callable[..., Awaitable[Any]],
    status: int,
    kind: type[MentorgradError],
) -> None:
    bad_server.respond = lambda *_: (status, {}, b'{"error": {"message": "over capacity"}}')
    with pytest.raises(kind, match="over capacity"):
        await asking()
    assert len(bad_server.requests) == 4


async def test_openai_does_not_wait_for_a_try_that_would_come_too_late(
    bad_server: BadServer, asking: Callable[..., Awaitable[Any]]
) -> None:
    bad_server.respond = lambda *_: (503, {"retry-after": "30"}, b"")
    with pytest.raises(Unavailable):
        await asking(timeout=5.0)
    assert len(bad_server.requests) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>hello</html>",
        b"[]",
        b"{}",
        b'{"choices": []}',
        b'{"choices": [{"message": null}]}',
        b'{"choices": [3]}',
        said(None),
        said(["text"]),
        b"[" * 100_000,
    ],
)
async def test_openai_does_not_trust_a_200(
    bad_server: BadServer, asking: Callable[..., Awaitable[Any]], body: bytes
) -> None:
    bad_server.respond = lambda *_: (200, {}, body)
    with pytest.raises(Unavailable) as caught:
        await asking()
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
@pytest.mark.parametrize("content", [None, "", "Hello."])
async def test_openai_does_not_take_the_reasoning_for_the_answer(
    bad_server: BadServer, asking: Callable[..., Awaitable[Any]], field: str, content: str | None
) -> None:
    message = {"role": "assistant", "content": content, field: "Should I greet?"}
    choices = [{"message": message, "finish_reason": "length"}]
    bad_server.respond = lambda *_: (200, {}, json.dumps({"choices": choices}).encode())
    reply = await asking(dataclasses.replace(SHORT, reasoning_tokens=100))
    assert answer_of(reply.texts[0]) == (content or None)
    assert ("Should I greet?" in reply.texts[0]) == (not content)
    assert bad_server.requests[0][1]["max_tokens"] == SHORT.max_tokens + 100


async def test_openai_leaves_room_for_reasoning_in_a_chat_instead_of_a_continuation_only(
    bad_server: BadServer, asking: Callable[..., Awaitable[Any]]
) -> None:
    bad_server.respond = lambda turn, headers, body: (
        refuses(404) if "prompt" in body else (200, {}, said("<think>a</think>six"))
    )
    reply = await asking(dataclasses.replace(CONTINUED, reasoning_tokens=100))
    assert [body["max_tokens"] for _, body in bad_server.requests] == [8, 108]
    assert answer_of(reply.texts[0]) == "six"


async def test_openai_reads_content_in_parts(
    bad_server: BadServer, asking: Callable[..., Awaitable[Any]]
) -> None:
    thought = {"type": "thinking", "thinking": "hm", "text": "hm"}
    parts = [thought, {"type": "text", "text": "Hel"}, {"type": "text", "text": "lo."}]
    bad_server.respond = lambda *_: (200, {}, said(parts))
    assert (await asking()).texts == ("Hello.",)


@pytest.mark.parametrize(
    ("finish", "why"),
    [
        ("length", "cut off at the limit of 8 tokens"),
        ("content_filter", "content_filter"),
        ("stop", r"\(refusal: I cannot help\)"),
    ],
)
async def test_openai_says_why_there_is_no_text(
    bad_server: BadServer, asking: Callable[..., Awaitable[Any]], finish: str, why: str
) -> None:
    for content in (None, "") if finish == "length" else (None,):
        message = {"content": content}
        if finish == "stop":
            message["refusal"] = "I cannot\nhelp"
        choice = {"message": message, "finish_reason": finish}
        document = {"choices": [choice], "usage": {"completion_tokens": 8}}
        bad_server.respond = lambda *_, d=document: (200, {}, json.dumps(d).encode())
        with pytest.raises(Unavailable, match=why):
            await asking()


async def test_openai_does_not_read_an_endless_answer(
    bad_server: BadServer, asking: Callable[..., Awaitable[Any]]
) -> None:
    bad_server.respond = lambda *_: (200, {}, said("x" * 3_000_000))
    with pytest.raises(Unavailable, match="exceeds"):
        await asking()


async def test_openai_says_that_the_key_was_refused_without_showing_it(
    bad_server: BadServer, asking: Callable[..., Awaitable[Any]]
) -> None:
    bad_server.respond = lambda *_: (401, {}, b"")
    with pytest.raises(Unavailable, match="MENTORGRAD_MENTOR_OPENAI_API_KEY") as caught:
        await asking()
    assert "the-key" not in caught.value.message
    assert len(bad_server.requests) == 1


async def test_openai_counts_nothing_when_the_usage_is_wrong(
    bad_server: BadServer, asking: Callable[..., Awaitable[Any]]
) -> None:
    bad_server.respond = lambda *_: (200, {}, said(usage={"prompt_tokens": "many"}))
    reply = await asking()
    assert (reply.prompt_tokens, reply.reply_tokens) == (0, 0)


async def test_openai_tries_again_when_the_connection_is_cut(
    bad_server: BadServer, asking: Callable[..., Awaitable[Any]]
) -> None:
    bad_server.cut = True
    with pytest.raises(Unavailable, match="cannot be reached"):
        await asking()
    assert len(bad_server.requests) == 4


async def test_openai_without_a_server_is_unavailable(free_port: int) -> None:
    backend = OpenAIBackend(f"http://127.0.0.1:{free_port}/v1", "m")
    try:
        with pytest.raises(Unavailable):
            await backend.check()
    finally:
        await backend.close()


@pytest.mark.parametrize("url", ["", "localhost:8080", "ftp://host/v1", "http://"])
def test_openai_refuses_what_is_no_address(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        OpenAIBackend(url, "m")
    assert caught.value.violations[0].field == "base_url"
