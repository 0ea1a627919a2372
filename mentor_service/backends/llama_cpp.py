"""In-process backend for local GGUF models, through llama.cpp.

The model is single-threaded: one worker thread owns it and takes questions from a bounded queue.
Four optimisations make it fast enough for use within a training loop:

- a prefix that a question shares with an earlier one is not evaluated again (`prefix_cache`);
- all replies to one question are decoded in one batch: each step evaluates one token of each;
- a token is sampled first and checked against the grammar afterwards, since applying a grammar to
  the whole vocabulary costs more than the model (12 to 20 ms per token, against 10 ms for a small
  model);
- compiled grammars are cached.

The deadline of a request is checked before every decoding step and between the chunks in which a
long prompt is evaluated.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import numpy as np
import structlog

from mentor_service.backends.distinct_replies import (
    CUT,
    EXCLUDED,
    Choices,
    DistinctReplies,
    PartialReply,
    ReplySequences,
)
from mentor_service.backends.prefix_cache import CachedPrefix, PrefixCache
from mentor_service.backends.threaded_backend import ThreadedBackend
from mentor_service.backends.token_sampling import choices, draw, likeliest, likely
from mentor_service.protocols import Question, Reply
from mentor_service.reasoning import answer_of, as_reasoning
from mentor_service.similarity import names
from mentorgrad.errors import InvalidInput
from service_common.llama.runtime import (
    Grammar,
    Logits,
    Runtime,
    chat_formatter,
    schema_grammar,
)

log = structlog.get_logger(__name__)

_LIKELIEST = 256
"""After the grammar rejects a sampled token, it is applied to this many of the most likely tokens
before it is applied to the whole vocabulary."""

_CHUNK = 128
"""Prompt tokens evaluated at once; cancellation is checked between chunks."""

_WIDER, _KNOWN = 2, 16
"""Partial replies in progress per distinct reply, and besides for known lines, which take places
too until they end."""

_GRAMMARS_KEPT = 32


class _Sample:
    """One reply in progress, in its own sequence of the KV cache.

    The sampled tokens depend on the question, its seed and the reply's number only, not on other
    replies in the batch; except for rounding, which differs by batch size.

    Args:
        question: The question.
        number: Index of the reply among the question's replies, from 0.
        sequence: Sequence id in the KV cache.
        grammar: Grammar at its start, owned by this reply; None: unconstrained.
        model: Engine; gives the end-of-reply and newline tokens.
    """

    def __init__(
        self,
        question: Question,
        number: int,
        sequence: int,
        grammar: Grammar | None,
        model: _Engine,
    ) -> None:
        self.sequence = sequence
        self.grammar = grammar
        self.reply: list[int] = []
        """Tokens generated so far."""
        self.finish = ""
        """Finish reason; empty: not finished."""
        self._question = question
        self._model = model
        self._ends = f"\n{question.last}" if question.completes else ""
        self._uniform = np.random.default_rng((question.seed, number)).random
        self._used: dict[int, float] = {}

    def step(self, logits: Logits, check: Callable[[], None]) -> None:
        """Samples the next token.

        Args:
            logits: Logits of the whole vocabulary, (vocabulary,); modified in place.
            check: Called before slow operations; raises to stop.
        """
        if self._used:
            tokens = np.fromiter(self._used, dtype=np.intp, count=len(self._used))
            logits[tokens] -= np.fromiter(self._used.values(), np.float32, len(self._used))
        token = self._allowed(logits, check)
        if token is None:
            self.finish = "dead_end"
        elif token in self._model.ends:
            self.finish = "stop"
        else:
            self._take(token)

    def _take(self, token: int) -> None:
        if self.grammar is not None:
            self.grammar.accept(token)
        self.reply.append(token)
        penalty = self._question.repeat_penalty
        if penalty and token != self._model.newline:
            self._used[token] = self._used.get(token, penalty) + penalty
        if self._ends and not set(self._ends).isdisjoint(self._model.text([token])):
            self.finish = "stop"
        elif len(self.reply) == self._question.reply_tokens:
            self.finish = "length"

    def _allowed(self, logits: Logits, check: Callable[[], None]) -> int | None:
        """Samples a token that the grammar allows; None if there is none.

        A token sampled without the grammar is mostly allowed. If not, the grammar is applied to
        the most likely and the end-of-reply tokens; if it allows none, to the whole vocabulary.
        """
        token = self._draw(likely(logits), logits)
        if self.grammar is None or self.grammar.allows(np.array([token]))[0]:
            return token
        ids = np.union1d(likeliest(logits, _LIKELIEST), self._model.end_ids)
        if (found := ids[self.grammar.allows(ids)]).size:
            return self._draw(found, logits)
        check()
        ids = np.arange(len(logits))
        if (found := ids[self.grammar.allows(ids)]).size:
            return self._draw(found, logits)
        return None

    def _draw(self, ids: np.ndarray, logits: Logits) -> int:
        return draw(ids, logits[ids], self._question.temperature, self._uniform())


class _Engine:
    """The model, its prefix cache and compiled grammars; used by the worker thread only.

    Raises:
        Unavailable: The file is missing or not a GGUF model (reason MODEL_NOT_LOADED).
    """

    def __init__(self, path: Path, threads: int, gpu_layers: int | None, context: int) -> None:
        self._runtime = runtime = Runtime(path, threads, gpu_layers, context)
        self._prefixes = PrefixCache(runtime, runtime.slots, runtime.cells, runtime.divisible)
        self._grammars: OrderedDict[str, Grammar] = OrderedDict()
        self._format = _chat_formatter(runtime)
        hello = Question("", "Hello", "", None, max_tokens=1, temperature=0.0, seed=0)
        self._opens_reasoning = answer_of(self._format(hello).rstrip().rpartition("\n")[2]) is None
        self.newline: int = runtime.tokenize("\n")[-1]
        self.end_ids = runtime.ends
        self.ends = frozenset(runtime.ends.tolist())
        self.gpu_layers = runtime.gpu_layers
        self.parameters = runtime.parameters
        self.context = runtime.context

    def close(self) -> None:
        for grammar in self._grammars.values():
            grammar.free()
        self._grammars.clear()
        self._runtime.close()

    def tokens(self, question: Question) -> list[int]:
        """Tokenizes the question: a text to continue as it is, otherwise in the chat template."""
        if question.completes:
            return self._runtime.tokenize(question.user, plain=True)
        return self._runtime.tokenize(self._format(question))

    def text(self, tokens: Sequence[int]) -> str:
        """Detokenizes, without special tokens."""
        return self._runtime.text(tokens)

    def generate(self, question: Question, check: Callable[[], None]) -> Reply:
        """Answers one question; see `mentor_service.backends.threaded_backend.Engine`."""
        tokens = self.tokens(question)
        if len(tokens) + question.reply_tokens > self.context:
            raise InvalidInput(
                f"the question has {len(tokens)} tokens and the reply up to "
                f"{question.reply_tokens}, together more than the context of {self.context}",
                reason="QUESTION_TOO_LONG",
            )
        grammar = self._grammar(question)
        try:
            return self._replies(question, tokens, grammar, check)
        except RuntimeError:
            # After a failed evaluation, the content of the KV cache is unknown.
            self._prefixes.clear()
            raise

    def _replies(
        self,
        question: Question,
        tokens: Sequence[int],
        grammar: Grammar | None,
        check: Callable[[], None],
    ) -> Reply:
        slot = self._prefixes.take(tokens)
        evaluated = len(tokens) - len(slot.tokens)
        together = self._together(question, slot, evaluated)
        # A copy: the same logits start every reply, and the next evaluation overwrites them.
        logits = self._read(slot, tokens, check).copy()
        samples: list[_Sample | PartialReply] = []
        if _is_distinct(question):
            samples += self._decode_distinct(question, together, slot, logits, check)
        else:
            for first in range(0, question.samples, together):
                numbers = range(first, min(first + together, question.samples))
                samples += self._decode(question, numbers, slot, grammar, logits, check)
        texts = [self.text(sample.reply) for sample in samples]
        if self._opens_reasoning and grammar is None and not question.completes:
            texts = list(map(as_reasoning, texts))
        return Reply(
            texts=tuple(said.partition("\n")[0] if question.completes else said for said in texts),
            prompt_tokens=len(tokens),
            evaluated_tokens=evaluated,
            reply_tokens=sum(len(sample.reply) for sample in samples),
            duration=timedelta(0),
            finish_reasons=tuple(sample.finish for sample in samples),
            completed=question.completes,
        )

    def _together(self, question: Question, slot: CachedPrefix, evaluated: int) -> int:
        """Number of replies in progress that fit the KV cache; evicts cached questions if
        necessary."""
        each = max(1, question.reply_tokens - 1)  # the last token is not evaluated
        wanted = question.samples
        if _is_distinct(question):
            wanted = _WIDER * wanted + min(_KNOWN, len(question.known))
        most = min(wanted, self._runtime.together)
        room = self._prefixes.room(slot, evaluated + most * each)
        return max(1, min(most, (room - evaluated) // each))

    def _read(self, slot: CachedPrefix, tokens: Sequence[int], check: Callable[[], None]) -> Logits:
        """Evaluates the uncached part of a question; returns the logits of the next token."""
        logits = np.empty(0, np.float32)
        while len(slot.tokens) < len(tokens):
            check()
            start = len(slot.tokens)
            piece = tokens[start : start + _CHUNK]
            logits = self._runtime.read(piece, start, slot.sequence)
            self._prefixes.grew(slot, piece)
        return logits

    def _decode(
        self,
        question: Question,
        numbers: range,
        slot: CachedPrefix,
        grammar: Grammar | None,
        logits: Logits,
        check: Callable[[], None],
    ) -> list[_Sample]:
        """Decodes several replies to a question as a batch, until all are finished."""
        samples = [
            _Sample(question, number, sequence, grammar.copy() if grammar else None, self)
            for sequence, number in enumerate(numbers, start=self._runtime.slots)
        ]
        try:
            for sample in samples:
                self._runtime.copy(slot.sequence, sample.sequence, len(slot.tokens))
            position = len(slot.tokens)
            live = samples
            rows = np.tile(logits, (len(samples), 1))
            while live:
                check()
                for sample, row in zip(live, rows, strict=True):
                    sample.step(row, check)
                live = [sample for sample in live if not sample.finish]
                if live:
                    last = [sample.reply[-1] for sample in live]
                    where = [sample.sequence for sample in live]
                    rows = self._runtime.step(last, position, where)
                    position += 1
        finally:
            for sample in samples:
                self._runtime.cut(sample.sequence, 0)
                if sample.grammar is not None:
                    sample.grammar.free()
        return samples

    def _decode_distinct(
        self,
        question: Question,
        together: int,
        slot: CachedPrefix,
        logits: Logits,
        check: Callable[[], None],
    ) -> list[PartialReply]:
        """Decodes replies to a text to continue as a batch, without replacement."""
        replies = DistinctReplies(
            question.samples,
            together,
            np.random.default_rng(question.seed),
            lambda tokens: self._ended(question, tokens),
            ("", *question.known),
            question.forms,
        )
        first = self._runtime.slots
        sequences = ReplySequences(self._runtime, range(first, first + together), slot.sequence)
        length = len(slot.tokens)
        rows = logits[None]
        try:
            while replies.live:
                check()
                replies.extend([_choices(row, question.temperature) for row in rows])
                if held := sequences.follow(replies.live, length):
                    last = [branch.reply[-1] for branch in replies.live]
                    rows = self._runtime.step(last, length, held)
                    length += 1
        finally:
            sequences.clear()
        return replies.finished

    def _ended(self, question: Question, tokens: Sequence[int]) -> tuple[str, str]:
        """Text of a reply up to the end of its line, and its finish reason; see
        `DistinctReplies`."""
        text = self.text([token for token in tokens if token not in self.ends])
        if any(names(text, part) if part.isalnum() else part in text for part in question.excluded):
            return text, EXCLUDED
        ends = f"\n{question.last}"
        if tokens[-1] in self.ends or not set(ends).isdisjoint(self.text(tokens[-1:])):
            return text.partition("\n")[0].strip(), "stop"
        return text, CUT if len(tokens) == question.max_tokens else ""

    def _grammar(self, question: Question) -> Grammar | None:
        """The compiled grammar of a question, if any, from a cache; must be copied before use."""
        text = question.grammar
        if not text and question.json_schema is not None:
            text = schema_grammar(question.json_schema)
        if not text:
            return None
        compiled = self._grammars.get(text)
        if compiled is None:
            compiled = self._runtime.grammar(text)
            if compiled is None:
                raise InvalidInput("the grammar cannot be compiled", reason="BAD_GRAMMAR")
            self._grammars[text] = compiled
            if len(self._grammars) > _GRAMMARS_KEPT:
                self._grammars.popitem(last=False)[1].free()
        self._grammars.move_to_end(text)
        return compiled


def _is_distinct(question: Question) -> bool:
    """Whether replies are drawn without replacement; not at temperature 0, where there is one."""
    return question.completes and question.distinct and question.temperature > 0


def _choices(logits: Logits, temperature: float) -> Choices:
    ids = likely(logits)
    return choices(ids, logits[ids], temperature)


def _chat_formatter(runtime: Runtime) -> Callable[[Question], str]:
    """Returns a formatter for the chat template of the file (ChatML if it has none)."""
    formatted = chat_formatter(runtime)

    def write(question: Question) -> str:
        user = {"role": "user", "content": question.user}
        if not question.system:
            return formatted([user])
        system = {"role": "system", "content": question.system}
        try:
            return formatted([system, user])
        except Exception:  # some templates reject the system role, with different errors
            user["content"] = f"{question.system}\n\n{question.user}"
            return formatted([user])

    return write


class LlamaCppBackend(ThreadedBackend[_Engine]):
    """Backend for a local GGUF model. `ask` raises InvalidInput (BAD_GRAMMAR) for a bad grammar.

    Args:
        path: The GGUF file.
        model: Model reference to report; by default the file's name.
        threads: Threads of llama.cpp. They spin, so leave cores for other processes.
        gpu_layers: Layers on the GPU; -1: all; None: all if this build finds a GPU.
        context: Maximum tokens of a question and its reply; limited by the model's own context.
        queue_limit: Maximum queued questions.

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
        """Layers on the GPU, as loaded; -1: all."""
        log.info(
            "model_loaded",
            model=self.model,
            parameters=self.parameters,
            context_tokens=self.context_tokens,
            threads=threads,
            gpu_layers=self.gpu_layers,
        )
