"""What every Backend guarantees, and what is special to each."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from mentor_service.backends.llama_cpp import LlamaCppBackend
from mentor_service.backends.openai import OpenAIBackend
from mentor_service.backends.scripted import ScriptedBackend
from mentor_service.grammars import number_lines, reply_schema, word_lines
from mentor_service.protocols import Question
from mentorgrad.domain.advice import Constraints, ProposalKind
from mentorgrad.errors import (
    DeadlineExceeded,
    InvalidInput,
    MentorgradError,
    ResourceExhausted,
    Unavailable,
)
from mentorgrad.model_refs import DEFAULT_MENTOR_MODEL, resolve

CONTEXT = 2048

SHORT = Question("", "Say hello.", "", None, 8, 0.8, 1)
LONG = Question("", "Tell a long story about a ship.", "", None, 80, 0.8, 1)
LONGER = dataclasses.replace(LONG, max_tokens=1500)
TOO_LONG = Question("", "word " * 20_000, "", None, 8, 0.8, 1)


@pytest.fixture(scope="session")
def llm_server() -> Iterator[str]:
    """The real model behind llama-cpp-python's own OpenAI server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    model = str(resolve(DEFAULT_MENTOR_MODEL))
    command = [sys.executable, "-m", "llama_cpp.server", "--model", model]
    options = {"port": port, "n_ctx": CONTEXT, "n_threads": 1, "n_threads_batch": 1}
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}/v1"
    for _ in range(300):
        try:
            httpx.get(f"{url}/models").raise_for_status()
            break
        except httpx.HTTPError:
            assert process.poll() is None
            time.sleep(0.1)
    yield url
    process.kill()
    process.wait(10)


def slow_for_long_questions(question: Question) -> str:
    return "Hello there."


class SlowScript(ScriptedBackend):
    """Takes as long as a model would for many tokens."""

    async def ask(self, question: Question, timeout: float) -> Any:
        self._delay = 0.01 * question.max_tokens
        return await super().ask(question, timeout)


@pytest.fixture(params=["scripted", "llama_cpp", "openai"])
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    if request.param == "scripted":
        made: Any = SlowScript(slow_for_long_questions, context_tokens=CONTEXT)
    elif request.param == "openai":
        url = request.getfixturevalue("llm_server")
        made = OpenAIBackend(url, "smollm2", context_tokens=CONTEXT)
    else:
        yield request.getfixturevalue("llama")
        return
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


async def test_questions_at_once_are_all_answered(backend: Any) -> None:
    asked = [dataclasses.replace(SHORT, seed=seed) for seed in range(3)]
    replies = await asyncio.gather(*(backend.ask(question, 60.0) for question in asked))
    assert all(reply.texts[0] for reply in replies)


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


async def test_questions_of_many_samples_wait_for_each_other(backend: Any) -> None:
    asked = [dataclasses.replace(SHORT, seed=seed, samples=2 + seed) for seed in range(3)]
    replies = await asyncio.gather(*(backend.ask(question, 60.0) for question in asked))
    assert [len(reply.texts) for reply in replies] == [2, 3, 4]


# -- llama_cpp --------------------------------------------------------------------------------


async def test_llama_keeps_to_a_grammar_of_lines(llama: LlamaCppBackend) -> None:
    grammar = word_lines(3, 4, 2)
    question = Question("", "List three short phrases.", grammar, None, 120, 0.9, 3, 0.5)
    reply = await llama.ask(question, 60.0)
    lines = reply.texts[0].rstrip("\n").split("\n")
    assert reply.finish_reasons == ("stop",)
    assert [line[:3] for line in lines] == ["1. ", "2. ", "3. "]
    assert all(2 <= len(line[3:].split()) <= 4 for line in lines)


async def test_llama_keeps_to_grammars_of_numbers_and_json(llama: LlamaCppBackend) -> None:
    limits = Constraints(kind=ProposalKind.NUMBERS, dimensions=2, lower=-5, upper=5)
    asked = Question("", "Two points.", number_lines(2, limits), None, 60, 0.8, 1)
    reply = await llama.ask(asked, 60.0)
    assert all(float(part) for part in reply.texts[0].split() if "." in part and part[-1] != ".")
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    asked = Question("Answer in JSON.", "Is it ok?", "", schema, 40, 0.0, 1)
    assert set(json.loads((await llama.ask(asked, 60.0)).texts[0])) == {"ok"}
    assert reply_schema(ProposalKind.TEXT)


async def test_llama_repeats_itself_for_a_seed_and_differs_for_others(
    llama: LlamaCppBackend,
) -> None:
    asked = Question("", "Name three colours.", word_lines(3, 3), None, 80, 1.0, 11)
    replies = [
        (await llama.ask(dataclasses.replace(asked, seed=seed), 60.0)).texts[0]
        for seed in (11, 11, 11, 12, 13, 14)
    ]
    # The first one reads the question afresh, which rounds differently.
    assert replies[1] == replies[2]
    assert len(set(replies)) > 1


async def test_llama_takes_the_largest_seed_and_a_system_message(llama: LlamaCppBackend) -> None:
    asked = dataclasses.replace(SHORT, system="Be brief.", seed=2**63 - 1)
    assert (await llama.ask(asked, 60.0)).texts[0]


LINE = Question("", "Name a colour and a fruit.", word_lines(1, 3, 2), None, 24, 1.0, 11, 0.5, 6)


async def test_llama_draws_samples_apart_and_repeats_them_for_a_seed(
    llama: LlamaCppBackend,
) -> None:
    await llama.ask(LINE, 60.0)  # reading the question afresh rounds differently
    first = (await llama.ask(LINE, 60.0)).texts
    assert (await llama.ask(LINE, 60.0)).texts == first
    assert len(set(first)) > 2
    other = (await llama.ask(dataclasses.replace(LINE, seed=12), 60.0)).texts
    assert set(other) != set(first)


async def test_llama_draws_a_sample_whatever_is_decoded_beside_it(llama: LlamaCppBackend) -> None:
    # Temperature 0 leaves nothing to the seed, and short replies little to rounding.
    asked = dataclasses.replace(LINE, max_tokens=2, samples=1)
    await llama.ask(asked, 60.0)
    alone = await llama.ask(asked, 60.0)
    beside = await llama.ask(dataclasses.replace(asked, samples=8), 60.0)
    assert beside.texts[0] == alone.texts[0]
    greedy = dataclasses.replace(asked, temperature=0.0, samples=4)
    assert len(set((await llama.ask(greedy, 60.0)).texts)) == 1


async def test_llama_keeps_every_sample_to_the_grammar(llama: LlamaCppBackend) -> None:
    asked = dataclasses.replace(LINE, grammar=word_lines(2, 3, 2), max_tokens=60, samples=16)
    reply = await llama.ask(asked, 120.0)
    assert reply.finish_reasons == ("stop",) * 16
    form = re.compile(r"(1|2)\. [A-Za-z][a-z]*( [A-Za-z][a-z]*){1,2}")
    for text in reply.texts:
        lines = text.splitlines()
        assert [line[0] for line in lines] == ["1", "2"]
        assert all(form.fullmatch(line) for line in lines), text


async def test_llama_decodes_in_waves_what_has_no_room_at_once(llama: LlamaCppBackend) -> None:
    # 12 replies may have 12 x 700 tokens, and the memory holds 2 x 2048.
    asked = dataclasses.replace(LINE, max_tokens=700, samples=12)
    reply = await llama.ask(asked, 120.0)
    assert reply.finish_reasons == ("stop",) * 12
    assert len(set(reply.texts)) > 3


@pytest.mark.parametrize(
    ("grammar", "text"),
    [
        ('root ::= "Zyzzyva \\U0001F98B" ', "Zyzzyva \U0001f98b"),
        ("root ::= [\\u4e00]{3}", "\u4e00" * 3),
        ('root ::= "a"', "a"),
    ],
)
async def test_llama_finds_unlikely_tokens_that_a_grammar_wants(
    llama: LlamaCppBackend, grammar: str, text: str
) -> None:
    asked = dataclasses.replace(SHORT, grammar=grammar, max_tokens=40, samples=2)
    reply = await llama.ask(asked, 60.0)
    assert reply.texts == (text, text)
    assert reply.finish_reasons == ("stop", "stop")


async def test_llama_ends_a_sample_where_the_grammar_allows_nothing(
    llama: LlamaCppBackend,
) -> None:
    # No text has a byte 0, so there is no way on after the first letter.
    asked = dataclasses.replace(SHORT, grammar='root ::= "a" [\\x00]', samples=2)
    reply = await llama.ask(asked, 60.0)
    assert reply.texts == ("a", "a")
    assert reply.finish_reasons == ("dead_end", "dead_end")
    assert (await llama.ask(SHORT, 60.0)).texts[0]


@pytest.mark.parametrize(
    "grammar",
    [
        "root ::= missing",
        "nonsense",
        'root ::= root "a"',
        'other ::= "a"',
        "root ::= [",
    ],
)
async def test_llama_refuses_a_bad_grammar_and_lives_on(
    llama: LlamaCppBackend, grammar: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        await llama.ask(dataclasses.replace(SHORT, grammar=grammar), 30.0)
    assert caught.value.reason == "BAD_GRAMMAR"
    assert (await llama.ask(SHORT, 30.0)).texts[0]


async def test_llama_stops_at_the_limit_of_tokens(llama: LlamaCppBackend) -> None:
    reply = await llama.ask(dataclasses.replace(LONG, max_tokens=5), 30.0)
    assert (reply.reply_tokens, reply.finish_reasons) == (5, ("length",))


async def test_llama_refuses_when_its_line_is_full_and_drops_what_nobody_waits_for() -> None:
    backend = LlamaCppBackend(resolve(DEFAULT_MENTOR_MODEL), context=CONTEXT, queue_limit=2)
    try:
        tasks = [asyncio.create_task(backend.ask(LONGER, 60.0))]
        await asyncio.sleep(0.2)
        tasks += [asyncio.create_task(backend.ask(LONGER, 60.0)) for _ in range(2)]
        while backend.waiting < 2:
            await asyncio.sleep(0.01)
        with pytest.raises(ResourceExhausted) as caught:
            await backend.ask(SHORT, 1.0)
        assert caught.value.retry_after > 0
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert backend.waiting == 0
        assert (await backend.ask(SHORT, 30.0)).texts[0]
        last = asyncio.create_task(backend.ask(LONGER, 60.0))
        await asyncio.sleep(0.1)
    finally:
        await backend.close()
    with pytest.raises(Unavailable):
        await last
    with pytest.raises(Unavailable):
        await backend.ask(SHORT, 1.0)
    with pytest.raises(Unavailable):
        await backend.check()


@pytest.mark.parametrize("content", [None, b"", b"not a model", b"GGUF" + b"\xff" * 200])
def test_llama_says_in_one_line_that_a_file_is_missing_or_no_model(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "model.gguf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Unavailable) as caught:
        LlamaCppBackend(path)
    assert caught.value.reason == "MODEL_NOT_LOADED"
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message


# -- openai: the real server ------------------------------------------------------------------


async def test_openai_passes_on_that_the_server_finds_the_question_too_long(
    llm_server: str,
) -> None:
    backend = OpenAIBackend(llm_server, "smollm2", context_tokens=100_000)
    try:
        with pytest.raises(InvalidInput) as caught:
            await backend.ask(dataclasses.replace(SHORT, user="word " * 3_000), 60.0)
        assert caught.value.reason == "QUESTION_TOO_LONG"
    finally:
        await backend.close()


# -- openai: a server that misbehaves ---------------------------------------------------------

Respond = Callable[[int, dict[str, str], Any], tuple[int, dict[str, str], bytes]]


class BadServer:
    """Speaks just enough HTTP to answer badly."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], Any]] = []
        self.respond: Respond = lambda turn, headers, body: (200, {}, b"")
        self.delay = 0.0
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
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            await asyncio.sleep(self.delay)
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
    bad_server.delay = 0.05
    reply = await asking(MANY)
    assert reply.texts == tuple(str(SHORT.seed + i) for i in range(6))
    assert (reply.prompt_tokens, reply.reply_tokens) == (12, 18)
    before = len(bad_server.requests)
    assert before == (7 if refuses else 6)
    assert bad_server.most_at_once == 4
    assert len((await asking(MANY)).texts) == 6
    assert ["n" in body for _, body in bad_server.requests[before:]] == [False] * 6


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
