"""Requests to OpenAI-compatible servers: what is refused by name, said of errors, kept secret."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from mentorgrad.errors import InvalidInput, MentorgradError, ResourceExhausted, Unavailable
from service_common import llm_server
from service_common.http_proxy import proxy_for
from service_common.llm_server import LLMServer

KEY = "MENTORGRAD_MENTOR_OPENAI_API_KEY"
SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": {}}}
REQUEST = {
    "model": "m",
    "max_tokens": 8,
    "temperature": 0.8,
    "seed": 1,
    "frequency_penalty": 0.2,
    "presence_penalty": 0.2,
    "stop": ["\n"],
    "response_format": SCHEMA,
    "messages": [{"role": "system", "content": "You advise."}, {"role": "user", "content": "Go."}],
}

Answer = Callable[[dict[str, Any]], tuple[int, Any]]


class Scripted:
    """A server whose answers are a function of the request; no network."""

    def __init__(self) -> None:
        self.answer: Answer = lambda request: (200, {"choices": []})
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []

    def handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(json.loads(request.content))
        self.keys.append(request.headers.get("authorization"))
        status, document = self.answer(self.requests[-1])
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return httpx.Response(status, stream=httpx.ByteStream(body))


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llm_server, "_FIRST_PAUSE", 0.0)


def client_of(server: Scripted, key: str = "", url: str = "http://127.0.0.1:1/v1") -> LLMServer:
    made = LLMServer(url, api_key=key, key_variable=KEY, busy_reason="BUSY")
    made._http._transport = httpx.MockTransport(server.handle)
    return made


@pytest.fixture
def server() -> Scripted:
    return Scripted()


async def post(client: LLMServer, request: dict[str, Any] | None = None) -> dict[str, Any]:
    return await client.post("chat/completions", request or REQUEST, time.monotonic() + 60.0, 2)


# -- what is refused by its name ----------------------------------------------------------------


def openai(parameter: str, text: str = "") -> dict[str, Any]:
    message = text or f"Unsupported parameter: '{parameter}' is not supported with this model."
    return {"error": {"message": message, "type": "invalid_request_error", "param": parameter}}


REFUSALS: dict[str, tuple[Callable[[dict[str, Any]], bool], int, Any]] = {
    "OpenAI, max_tokens": (
        lambda asked: "max_tokens" in asked,
        400,
        openai("max_tokens", "Unsupported parameter. Use 'max_completion_tokens' instead."),
    ),
    "OpenAI, temperature": (
        lambda asked: asked.get("temperature", 1) != 1,
        400,
        openai("temperature", "Only the default (1) value is supported."),
    ),
    "OpenAI, stop": (lambda asked: "stop" in asked, 400, openai("stop")),
    "OpenAI, system": (
        lambda asked: asked["messages"][0]["role"] == "system",
        400,
        openai(
            "messages[0].role",
            "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
        ),
    ),
    "Gemma's template on vLLM": (
        lambda asked: asked["messages"][0]["role"] == "system",
        400,
        {"object": "error", "message": "System role not supported", "code": 400},
    ),
    "DeepSeek": (
        lambda asked: asked.get("response_format", {}).get("type") == "json_schema",
        400,
        {"error": {"message": "This response_format type is unavailable now", "param": None}},
    ),
    "LM Studio": (
        lambda asked: "response_format" in asked,
        400,
        {"error": "'response_format.type' must be 'text'"},
    ),
    "vLLM": (
        lambda asked: "response_format" in asked,
        400,
        {
            "error": {
                "message": "The provided JSON schema contains features not supported by xgrammar."
            }
        },
    ),
    "llama-server": (
        lambda asked: "response_format" in asked,
        400,
        {"error": {"code": 400, "message": "Failed to parse grammar", "type": "invalid_request"}},
    ),
    "LiteLLM": (
        lambda asked: "seed" in asked or "frequency_penalty" in asked,
        400,
        {
            "error": {
                "message": "litellm.UnsupportedParamsError: x does not support parameters: "
                "['seed', 'frequency_penalty'], for model=m.",
                "code": "400",
            }
        },
    ),
    "Mistral": (
        lambda asked: "seed" in asked,
        422,
        {"object": "error", "message": {"detail": [{"loc": ["body", "seed"], "msg": "Extra"}]}},
    ),
    "FastAPI": (
        lambda asked: "presence_penalty" in asked,
        422,
        {"detail": [{"loc": ["body", "presence_penalty"], "msg": "Extra inputs", "input": 1}]},
    ),
    "Google": (
        lambda asked: "seed" in asked,
        400,
        [{"error": {"code": 400, "message": 'Invalid JSON payload received. Unknown name "seed"'}}],
    ),
    "plain text": (lambda asked: "seed" in asked, 400, b"unknown field `seed`\n"),
    "status 200": (
        lambda asked: "seed" in asked,
        200,
        {"error": {"message": "seed is not supported", "code": 400}},
    ),
}


@pytest.mark.parametrize("dialect", REFUSALS)
async def test_what_a_server_refuses_by_name_is_left_out_and_not_sent_again(
    server: Scripted, dialect: str
) -> None:
    refused, status, error = REFUSALS[dialect]
    server.answer = lambda asked: (status, error) if refused(asked) else (200, {"choices": [1]})
    client = client_of(server)
    assert (await post(client))["choices"] == [1]
    assert len(server.requests) <= 4
    last = server.requests[-1]
    kept = {"model", "temperature", "seed", "stop", "messages"} - set(_parameters(error))
    assert kept <= set(last)
    assert "You advise." in last["messages"][0]["content"]
    assert last["messages"][-1]["role"] == "user"
    assert 8 in (last.get("max_tokens"), last.get("max_completion_tokens"))
    asked = len(server.requests)
    await post(client)
    assert server.requests[asked:] == [last]
    await client.close()


def _parameters(error: Any) -> list[str]:
    text = error.decode() if isinstance(error, bytes) else json.dumps(error)
    return [name for name in REQUEST if name in text]


async def test_a_refusal_that_names_nothing_is_not_asked_around(server: Scripted) -> None:
    server.answer = lambda asked: (400, {"error": {"message": "no such model"}})
    client = client_of(server)
    with pytest.raises(Unavailable, match="no such model"):
        await post(client)
    assert len(server.requests) == 1
    await client.close()


async def test_a_concession_that_does_not_help_is_not_kept(server: Scripted) -> None:
    server.answer = lambda asked: (400, openai("seed"))
    client = client_of(server)
    with pytest.raises(Unavailable, match="'seed' is not supported"):
        await post(client)
    assert ["seed" in asked for asked in server.requests] == [True, False]
    server.answer = lambda asked: (200, {"choices": []})
    await post(client)
    assert "seed" in server.requests[-1]
    await client.close()


# -- what is said of an error -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "document", "kind", "said"),
    [
        (200, {"error": {"message": "Rate limit reached", "code": 429}}, ResourceExhausted, "Rate"),
        (200, {"error": {"message": "Overloaded", "code": 503}}, Unavailable, "failed.*Overloaded"),
        (200, {"error": "model is loading"}, Unavailable, "model is loading"),
        (200, {"choices": [{"error": {"message": "provider died"}}]}, Unavailable, "provider died"),
        (404, {"error": "model 'm' not found"}, Unavailable, "model 'm' not found"),
        (400, {"detail": "no such adapter"}, Unavailable, "no such adapter"),
        (400, {"error": {"message": None, "param": "model"}}, Unavailable, r"\(model\)"),
        (400, {"error": {}}, Unavailable, "no reason given"),
        (400, b"<html>\n<b>Bad</b>", Unavailable, "<html> <b>Bad</b>"),
    ],
)
async def test_what_a_server_says_of_its_error_is_passed_on(
    server: Scripted, status: int, document: Any, kind: type[MentorgradError], said: str
) -> None:
    server.answer = lambda asked: (status, document)
    client = client_of(server)
    with pytest.raises(kind, match=said):
        await post(client)
    await client.close()


async def test_secrets_and_control_characters_of_an_error_are_not_passed_on(
    server: Scripted,
) -> None:
    said = "key my-s3cret of \x1b[31mhttp://me:pa55word@host, Bearer abc.def; sk-proj-12345678\r\n"
    server.answer = lambda asked: (400, {"error": {"message": said}})
    client = client_of(server, key="my-s3cret")
    with pytest.raises(Unavailable, match="key") as caught:
        await post(client)
    message = caught.value.message
    assert message.isprintable()
    for secret in ("my-s3cret", "pa55word", "abc.def", "12345678"):
        assert secret not in message
    await client.close()


def test_an_address_that_is_refused_does_not_show_its_password() -> None:
    with pytest.raises(InvalidInput) as caught:
        LLMServer("ftp://me:pa55word@host/v1", api_key="", key_variable=KEY, busy_reason="BUSY")
    assert "pa55word" not in caught.value.message


# -- keys ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["sk-abc\n", "sk-abc\r\n", "  sk-abc\t"])
async def test_the_line_end_of_a_key_is_not_sent(server: Scripted, key: str) -> None:
    client = client_of(server, key=key)
    await post(client)
    assert server.keys == ["Bearer sk-abc"]
    await client.close()


@pytest.mark.parametrize("key", ["sk-“abc”", "sk-a\nb", "two words", "sk-\x00", "ключ"])
def test_a_key_that_cannot_be_sent_is_refused_by_the_name_of_its_variable(key: str) -> None:
    with pytest.raises(InvalidInput, match=KEY) as caught:
        LLMServer("http://127.0.0.1:1/v1", api_key=key, key_variable=KEY, busy_reason="BUSY")
    assert key not in caught.value.message


# -- proxies ------------------------------------------------------------------------------------

PROXY = "http://proxy.example:3128"


@pytest.fixture
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name.upper()}_PROXY", raising=False)


@pytest.mark.usefixtures("_no_proxies")
@pytest.mark.parametrize(
    ("environment", "url", "proxy"),
    [
        ({}, "http://llm.example/v1", None),
        ({"http_proxy": PROXY}, "http://llm.example/v1", PROXY),
        ({"HTTPS_PROXY": PROXY}, "https://llm.example/v1", PROXY),
        ({"ALL_PROXY": "proxy.example:3128"}, "https://llm.example/v1", PROXY),
        ({"http_proxy": PROXY}, "http://127.0.0.1:8080/v1", None),
        ({"http_proxy": PROXY}, "http://localhost:8080/v1", None),
        ({"ALL_PROXY": "socks://h:1080"}, "http://[::1]:8080/v1", None),
        ({"http_proxy": PROXY, "no_proxy": "example"}, "http://llm.example/v1", None),
        ({"http_proxy": PROXY, "no_proxy": "*"}, "http://llm.example/v1", None),
        ({"http_proxy": PROXY, "no_proxy": "10.0.0.0/8"}, "http://10.1.2.3/v1", None),
        ({"http_proxy": PROXY, "NO_PROXY": "a,fd00::/8"}, "http://[fd00::1]/v1", None),
        ({"http_proxy": PROXY, "NO_PROXY": "[::1],,[fd00::2]"}, "http://[fd00::2]/v1", None),
        ({"http_proxy": PROXY, "no_proxy": "fd00::/8"}, "http://llm.example/v1", PROXY),
        ({"http_proxy": PROXY, "no_proxy": "a, *.example"}, "http://llm.example/v1", None),
        ({"http_proxy": PROXY, "no_proxy": "llm.example:8080"}, "http://llm.example:8080/v1", None),
        ({"http_proxy": PROXY, "no_proxy": "llm.example:80"}, "http://llm.example/v1", None),
        ({"http_proxy": PROXY, "no_proxy": "llm.example:80"}, "http://llm.example:8080/v1", PROXY),
    ],
)
def test_the_proxy_of_an_address(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], url: str, proxy: str | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = proxy_for(httpx.URL(url))
    assert (found and str(found.url)) == proxy


@pytest.mark.usefixtures("_no_proxies")
@pytest.mark.parametrize("value", ["socks://h:1080", "ftp://h", "http://", "http://h:port", "://"])
def test_a_variable_that_names_no_usable_proxy_is_refused_where_it_applies(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", value)
    with pytest.raises(InvalidInput, match="all_proxy"):
        proxy_for(httpx.URL("https://llm.example/v1"))


@pytest.mark.parametrize(
    "url", ["http://llm.example:99999/v1", "http://llm example/v1", "http://:80/v1", "llm:80/v1"]
)
def test_a_url_that_leads_nowhere_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(InvalidInput, match="base_url"):
        LLMServer(url, api_key="", key_variable=KEY, busy_reason="BUSY")


async def test_why_a_server_is_not_reached_is_said_without_secrets() -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("certificate verify failed\nfor sk-hidden-key\x1b[31m")

    made = client_of(Scripted(), "sk-hidden-key")
    made._http._transport = httpx.MockTransport(fail)
    for asked in (made.post("chat", REQUEST, time.monotonic() + 5, 1), made.status("models")):
        with pytest.raises(Unavailable) as caught:
            await asked
        assert caught.value.message == (
            "the LLM server cannot be reached (ConnectError: certificate verify failed for ***[31m)"
        )


async def test_a_redirection_is_named_and_not_followed() -> None:
    """The key would go to another server."""

    def redirect(request: httpx.Request) -> httpx.Response:
        headers = {"location": "https://u:hidden@other.example/v1"}
        return httpx.Response(307, headers=headers, stream=httpx.ByteStream(b""))

    made = client_of(Scripted(), "sk-hidden-key")
    made._http._transport = httpx.MockTransport(redirect)
    with pytest.raises(Unavailable, match=r"redirects to https://u:\*\*\*@other.example/v1"):
        await made.post("chat", REQUEST, time.monotonic() + 5, 1)


@pytest.mark.parametrize("end", ["", "/"])
async def test_the_query_of_a_base_url_is_sent_with_each_request(end: str) -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, stream=httpx.ByteStream(b"{}"))

    made = client_of(Scripted(), url=f"http://127.0.0.1:1/a%2Fb{end}?api-version=1")
    made._http._transport = httpx.MockTransport(answer)
    await made.post("chat", REQUEST, time.monotonic() + 5, 1)
    await made.get("models")
    base = "http://127.0.0.1:1/a%2Fb"
    assert asked == [f"{base}/chat?api-version=1", f"{base}/models?api-version=1"]
