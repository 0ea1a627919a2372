"""An OpenAI-compatible server whose model is a few lines: it scores label words after a text.

A text with "good" or "bad" in it belongs to the last label, every other one to the first; a prompt
shifts the scores by its digest. The server speaks the dialects of several servers.
"""

from __future__ import annotations

import json
import math
import threading
import zlib
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DIALECTS = ("vllm", "llama-server", "chats", "answers", "chat-answers")
"""Completions with a list of dicts, and echoes; completions with ``content``; chats with
``content``; completions, and chats, without log-probabilities."""

LEAST = -9.0
"""Log-probability of the word "the"."""

Reply = tuple[int, dict[str, Any]]


class LabelServer:
    """See the module.

    Args:
        labels: The label words.
        dialect: One of `DIALECTS`.
        piece: Characters of a label's first token, with its space; 0: the whole label.
        echoes: Whether completions echo their prompts.
    """

    def __init__(
        self,
        labels: Sequence[str] = ("other", "worth"),
        dialect: str = "vllm",
        *,
        piece: int = 0,
        echoes: bool = True,
    ) -> None:
        self.labels, self.dialect, self.piece = list(labels), dialect, piece
        self.echoes = echoes and dialect == "vllm"
        self.model = "tiny"
        """The name that it reports."""
        self.hidden: tuple[str, ...] = ()
        """Labels that are not among the likely tokens."""
        self.most_listed = 20
        """It rejects requests for more likely tokens, as vLLM does."""
        self.echoes_wrongly = False
        """Its echoes have the log-probabilities of the next tokens."""
        self.before: Callable[[], Reply | None] = lambda: None
        """Called before each request but that for the models; may reply instead."""
        self.requests: list[tuple[str, dict[str, Any]]] = []
        """Paths and bodies, but for requests of the models."""
        self.keys: set[str] = set()
        """Authorisation headers."""
        self.tokens = 0
        """Tokens that it reported."""

    def __enter__(self) -> LabelServer:
        handler = type("Handler", (_Handler,), {"owner": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        # Callers may leave.
        self._http.handle_error = lambda *_: None  # type: ignore[method-assign]
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    # -- the model ----------------------------------------------------------------------------

    def scores(self, text: str) -> dict[str, float]:
        """Log-probabilities of the labels after an input."""
        last = text.rpartition("Text: ")[2]
        right = self.labels[-1 if "good" in last or "bad" in last else 0]
        raw = {}
        for label in self.labels:
            noise = zlib.crc32(f"{text}/{label}".encode()) % 1000 / 800
            raw[label] = 1.0 * (label == right) - noise
        total = math.log(sum(map(math.exp, raw.values())))
        return {label: value - total for label, value in raw.items()}

    def pieces(self, label: str) -> list[str]:
        word = f" {label}"
        return [word[: self.piece], word[self.piece :]] if self.piece else [word]

    # -- the dialects -------------------------------------------------------------------------

    def reply(self, path: str, body: dict[str, Any]) -> Reply:
        chats = self.dialect.startswith("chat")
        if path.endswith("chat/completions") != chats:
            return 404, {"error": {"message": "no such path"}}
        listed = body.get("top_logprobs" if chats else "logprobs", 0)
        if listed > self.most_listed:
            return 400, {"error": {"message": f"at most {self.most_listed} logprobs"}}
        text = body["messages"][0]["content"] if chats else body["prompt"]
        if body.get("echo"):
            if not self.echoes:
                return 400, {"error": {"message": "echo is not supported"}}
            choice = self._echoed(text)
        else:
            scores = self.scores(text)
            best = max(scores, key=scores.__getitem__)
            choice = {"message": {"content": f"{best}."}} if chats else {"text": f" {best}"}
            if "answers" not in self.dialect:
                choice["logprobs"] = self._listed(scores, chats)
        counted = len(text.split())
        self.tokens += counted + 1
        usage = {"prompt_tokens": counted, "completion_tokens": 1}
        return 200, {"model": self.model, "choices": [choice], "usage": usage}

    def _likely(self, scores: dict[str, float]) -> dict[str, float]:
        """Log-probabilities of the first tokens."""
        found = {" the": LEAST}
        for label, score in scores.items():
            token = self.pieces(label)[0]
            found[token] = math.log(math.exp(found.get(token, -math.inf)) + math.exp(score))
        return found

    def _listed(self, scores: dict[str, float], chats: bool) -> dict[str, Any]:
        shown = {label: score for label, score in scores.items() if label not in self.hidden}
        tops = self._likely(shown)
        if self.dialect == "vllm":
            return {"tokens": [" the"], "token_logprobs": [LEAST], "top_logprobs": [tops]}
        entries = [
            {"token": token.strip() if chats else token, "logprob": value, "bytes": []}
            for token, value in tops.items()
        ]
        return {"content": [{"token": " the", "logprob": LEAST, "top_logprobs": entries}]}

    def _echoed(self, text: str) -> dict[str, Any]:
        before, _, word = text.rpartition(" ")
        scores = self.scores(before)
        pieces = self.pieces(word) if word in scores else [f" {word}"]
        score = scores[word] if word in scores else self._likely(scores)[f" {word}"]
        score -= 5.0 * self.echoes_wrongly
        tokens = [before, *pieces]
        values = [None, *[score / len(pieces)] * len(pieces)]
        logprobs = {"tokens": tokens, "token_logprobs": values, "top_logprobs": None}
        return {"text": text, "logprobs": logprobs}


class _Handler(BaseHTTPRequestHandler):
    owner: LabelServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # otherwise each reply waits for 40 ms

    def do_GET(self) -> None:
        self._send(200, {"data": [{"id": self.owner.model}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.owner.requests.append((self.path, body))
        self.owner.keys.add(self.headers.get("authorization", ""))
        self._send(*(self.owner.before() or self.owner.reply(self.path, body)))

    def _send(self, status: int, document: dict[str, Any]) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass
