"""A local GGUF model in this process, through llama.cpp. The only module that knows llama_cpp.

A `Llama` object is for one thread, so one worker thread owns it and takes questions from a bounded
line. Three things make it fast enough to sit inside a training loop:

- the prefix that a question shares with the last one stays in the context;
- a grammar is applied to the likeliest tokens only, since on a whole vocabulary it costs more than
  the model does (12 to 20 ms a token against 10 ms for a small model);
- compiled grammars are kept.

An HTTP or gRPC deadline reaches the generation: it is looked at before every token and between
the pieces in which a long question is read.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import llama_cpp
import numpy as np
import structlog
from llama_cpp import llama_chat_format, llama_grammar

from mentor_service.backends.worker import Generated, WorkerBackend
from mentor_service.protocols import Question
from mentorgrad.errors import InvalidInput, Unavailable

log = structlog.get_logger(__name__)

_LIKELIEST = 256
"""Tokens that a grammar looks at before it has to look at the whole vocabulary. The sampling chain
keeps 40 of them at most, so this loses next to nothing."""

_PIECE = 128
"""Tokens of a question read at once; between two pieces a cancellation is noticed."""

_TOP_K, _TOP_P, _MIN_P = 40, 0.95, 0.05
"""Sampling defaults of llama.cpp."""

_GRAMMARS_KEPT = 32
_TOKEN_DATA = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])


class _Engine:
    """The model and its context; everything here runs in the worker thread.

    Raises:
        Unavailable: The file is missing or no model (reason MODEL_NOT_LOADED).
    """

    def __init__(self, path: Path, threads: int, gpu_layers: int | None, context: int) -> None:
        if not path.is_file():
            raise Unavailable(f"there is no model file {path}", reason="MODEL_NOT_LOADED")
        if gpu_layers is None:
            gpu_layers = -1 if llama_cpp.llama_supports_gpu_offload() else 0
        try:
            self._llm: Any = llama_cpp.Llama(
                model_path=str(path),
                n_ctx=context,
                n_batch=min(512, context),
                n_threads=threads,
                n_threads_batch=threads,
                n_gpu_layers=gpu_layers,
                verbose=False,
            )
        except (ValueError, RuntimeError, OSError) as error:
            raise Unavailable(
                f"{path} cannot be loaded as a GGUF model ({error})", reason="MODEL_NOT_LOADED"
            ) from None
        model = self._llm.model
        self._vocab = llama_cpp.llama_model_get_vocab(model)
        self._n_vocab: int = self._llm.n_vocab()
        self._newline: int = self._llm.tokenize(b"\n", add_bos=False)[-1]
        self._memory = llama_cpp.llama_get_memory(self._llm.ctx)
        self._grammars: OrderedDict[str, Any] = OrderedDict()
        self._format = _chat_formatter(self._llm)
        self.gpu_layers = gpu_layers
        self.parameters: int = llama_cpp.llama_model_n_params(model)
        self.context: int = min(self._llm.n_ctx(), llama_cpp.llama_model_n_ctx_train(model))

    def close(self) -> None:
        for grammar in self._grammars.values():
            llama_cpp.llama_sampler_free(grammar)
        self._grammars.clear()
        self._llm.close()

    def tokens(self, question: Question) -> list[int]:
        """The question in the model's own chat template, as tokens."""
        text = self._format(question)
        return list(self._llm.tokenize(text.encode(), add_bos=False, special=True))

    def generate(self, question: Question, check: Callable[[], None]) -> Generated:
        """Answers one question; see `mentor_service.backends.worker.Engine`."""
        tokens = self.tokens(question)
        if len(tokens) + question.max_tokens > self.context:
            raise InvalidInput(
                f"the question has {len(tokens)} tokens and the reply may have "
                f"{question.max_tokens}, more than the context of {self.context}",
                reason="QUESTION_TOO_LONG",
            )
        with self._samplers(question) as (chain, grammar):
            self._read(tokens, check)
            reply: list[int] = []
            used: dict[int, float] = {}
            finish = "length"
            while len(reply) < question.max_tokens:
                check()
                token = self._draw(chain, grammar, used)
                if llama_cpp.llama_vocab_is_eog(self._vocab, token):
                    finish = "stop"
                    break
                reply.append(token)
                if question.repeat_penalty and token != self._newline:
                    used[token] = used.get(token, question.repeat_penalty) + question.repeat_penalty
                if len(reply) < question.max_tokens:
                    self._llm.eval([token])
        text = self._llm.detokenize(reply, prev_tokens=tokens).decode(errors="replace")
        return Generated(text, len(tokens), len(reply), finish)

    def _read(self, tokens: Sequence[int], check: Callable[[], None]) -> None:
        """Brings the context to `tokens`, keeping the prefix that is there already."""
        llm = self._llm
        held = llm.input_ids[: llm.n_tokens]
        length = min(len(held), len(tokens) - 1)
        differing = np.flatnonzero(held[:length] != np.asarray(tokens[:length]))
        shared = int(differing[0]) if len(differing) else length
        # Recurrent models cannot forget a part of what they read.
        if not llama_cpp.llama_memory_seq_rm(self._memory, 0, shared, -1):
            llama_cpp.llama_memory_clear(self._memory, True)
            shared = 0
        llm.n_tokens = shared
        for start in range(shared, len(tokens), _PIECE):
            check()
            llm.eval(tokens[start : start + _PIECE])

    @contextlib.contextmanager
    def _samplers(self, question: Question) -> Iterator[tuple[Any, Any]]:
        """The sampling chain, and the grammar's sampler at its start (None without a grammar)."""
        text = question.grammar
        if not text and question.json_schema is not None:
            text = llama_grammar.json_schema_to_gbnf(json.dumps(question.json_schema))
        grammar = self._grammar(text) if text else None
        chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
        if question.temperature <= 0:
            members = [llama_cpp.llama_sampler_init_greedy()]
        else:
            members = [
                llama_cpp.llama_sampler_init_top_k(_TOP_K),
                llama_cpp.llama_sampler_init_top_p(_TOP_P, 1),
                llama_cpp.llama_sampler_init_min_p(_MIN_P, 1),
                llama_cpp.llama_sampler_init_temp(question.temperature),
                # The largest value means "random" to llama.cpp.
                llama_cpp.llama_sampler_init_dist(question.seed % (2**32 - 1)),
            ]
        for member in members:
            llama_cpp.llama_sampler_chain_add(chain, member)
        try:
            yield chain, grammar
        finally:
            llama_cpp.llama_sampler_free(chain)
            if grammar is not None:
                llama_cpp.llama_sampler_free(grammar)

    def _grammar(self, text: str) -> Any:
        """A fresh copy of the compiled grammar.

        An unreadable grammar gives a null pointer, which would crash the process if it were used.
        """
        compiled = self._grammars.get(text)
        if compiled is None:
            compiled = llama_cpp.llama_sampler_init_grammar(self._vocab, text.encode(), b"root")
            if not compiled:
                raise InvalidInput("the grammar cannot be read", reason="BAD_GRAMMAR")
            self._grammars[text] = compiled
            if len(self._grammars) > _GRAMMARS_KEPT:
                llama_cpp.llama_sampler_free(self._grammars.popitem(last=False)[1])
        self._grammars.move_to_end(text)
        return llama_cpp.llama_sampler_clone(compiled)

    def _draw(self, chain: Any, grammar: Any, used: dict[int, float]) -> int:
        """Samples the next token; `used` says what is taken off the logits of earlier ones."""
        if grammar is None and not used:
            return int(llama_cpp.llama_sampler_sample(chain, self._llm.ctx, -1))
        pointer = llama_cpp.llama_get_logits_ith(self._llm.ctx, -1)
        logits = np.ctypeslib.as_array(pointer, shape=(self._n_vocab,))
        if used:
            logits = logits.copy()
            tokens = np.fromiter(used, dtype=np.int64, count=len(used))
            logits[tokens] -= np.fromiter(used.values(), dtype=np.float32, count=len(used))
        count = min(_LIKELIEST, self._n_vocab)
        token = _sample(chain, grammar, logits, np.argpartition(logits, -count)[-count:])
        if token is None:
            token = _sample(chain, grammar, logits, np.arange(self._n_vocab))
        if token is None:
            raise InvalidInput("the grammar allows no token here", reason="BAD_GRAMMAR")
        if grammar is not None:
            llama_cpp.llama_sampler_accept(grammar, token)
        return token


def _sample(chain: Any, grammar: Any, logits: np.ndarray, ids: np.ndarray) -> int | None:
    """A token out of `ids` that the grammar allows; None if it allows none of them."""
    data = np.empty(len(ids), dtype=_TOKEN_DATA)
    data["id"], data["logit"], data["p"] = ids, logits[ids], 0.0
    array = llama_cpp.llama_token_data_array(
        data=data.ctypes.data_as(llama_cpp.llama_token_data_p),
        size=len(ids),
        selected=-1,
        sorted=False,
    )
    if grammar is not None:
        llama_cpp.llama_sampler_apply(grammar, ctypes.byref(array))
    if not np.isfinite(data["logit"]).any():
        return None
    llama_cpp.llama_sampler_apply(chain, ctypes.byref(array))
    return int(array.data[array.selected].id)


def _chat_formatter(llm: Any) -> Callable[[Question], str]:
    """Writes a question in the template that the file carries (ChatML where it has none)."""
    template = llm.metadata.get("tokenizer.chat_template", llama_chat_format.CHATML_CHAT_TEMPLATE)

    def piece(token: int) -> str:
        return str(llm.detokenize([token], special=True).decode()) if token >= 0 else ""

    formatter = llama_chat_format.Jinja2ChatFormatter(
        template=template, eos_token=piece(llm.token_eos()), bos_token=piece(llm.token_bos())
    )

    def write(question: Question) -> str:
        user = {"role": "user", "content": question.user}
        if not question.system:
            return str(formatter(messages=[user]).prompt)
        system = {"role": "system", "content": question.system}
        try:
            return str(formatter(messages=[system, user]).prompt)
        except Exception:  # some templates refuse the system role, each in its own way
            user["content"] = f"{question.system}\n\n{question.user}"
            return str(formatter(messages=[user]).prompt)

    return write


class LlamaCppBackend(WorkerBackend[_Engine]):
    """A GGUF model; see the module. A bad grammar is InvalidInput with reason BAD_GRAMMAR.

    Args:
        path: The GGUF file.
        model: Reference that is reported; the file's name by default.
        threads: Threads of llama.cpp. They spin: leave cores to the others on this machine.
        gpu_layers: Layers on the GPU; -1: all; None: all where this build finds a GPU.
        context: Longest question and reply together; the model's own limit holds besides.
        queue_limit: Questions that may wait.

    Raises:
        Unavailable: The file is missing or cannot be loaded (reason MODEL_NOT_LOADED).
    """

    name: ClassVar[str] = "llama_cpp"

    def __init__(
        self,
        path: Path,
        *,
        model: str = "",
        threads: int = 1,
        gpu_layers: int | None = None,
        context: int = 4096,
        queue_limit: int = 16,
    ) -> None:
        super().__init__(
            model or path.name, lambda: _Engine(path, threads, gpu_layers, context), queue_limit
        )
        self.parameters: int = self.engine.parameters
        """Number of the model's weights."""
        self.gpu_layers: int = self.engine.gpu_layers
        """As loaded."""
        log.info(
            "model_loaded",
            model=self.model,
            parameters=self.parameters,
            context_tokens=self.context_tokens,
            threads=threads,
            gpu_layers=self.gpu_layers,
        )
