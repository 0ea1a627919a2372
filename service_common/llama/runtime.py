"""Wrapper of llama.cpp's low-level API: model, KV cache, batches over sequences, and grammars.

Only this module imports llama_cpp. Not thread-safe.
"""

from __future__ import annotations

import ctypes
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from llama_cpp import llama_chat_format, llama_grammar
from numpy.typing import NDArray

from mentorgrad.errors import Unavailable

BATCH = 512
"""Maximum tokens per evaluation."""

_SLOTS, _TOGETHER = 6, 64
"""Sequences for cached questions, and for replies decoded in one batch. Cached questions are not
free: each step iterates over all cells in use; a thousand of them slow a small model by a tenth."""
_SLOTS_RECURRENT, _TOGETHER_RECURRENT = 2, 8
"""The same for recurrent models, where every sequence allocates its own memory from the start."""

_ROOM = 2
"""Size of the KV cache as a multiple of the context: besides the longest question and its reply,
there must be space for other sessions' questions and further replies."""

_TOKEN_DATA = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])

Logits = NDArray[np.float32]
Tokens = NDArray[np.int32]


class Runtime:
    """A loaded model with its KV cache: sequences of tokens, which can share the cells of a prefix.

    Args:
        path: The GGUF file.
        threads: Threads of llama.cpp.
        gpu_layers: Layers on the GPU; -1: all; None: all if this build finds a GPU.
        context: Maximum tokens of a question and its reply; limited by the model's own context.

    Raises:
        Unavailable: The file is missing or not a GGUF model (reason MODEL_NOT_LOADED).
    """

    def __init__(self, path: Path, threads: int, gpu_layers: int | None, context: int) -> None:
        if not path.is_file():
            raise Unavailable(f"the model file {path} does not exist", reason="MODEL_NOT_LOADED")
        # llama-cpp-python's logger prints to standard error; errors are raised here instead.
        logging.getLogger("llama-cpp-python").setLevel(logging.CRITICAL + 1)
        llama_cpp.llama_backend_init()
        if gpu_layers is None:
            gpu_layers = -1 if llama_cpp.llama_supports_gpu_offload() else 0
        self.gpu_layers = gpu_layers
        """Layers on the GPU, as loaded; -1: all."""
        wanted = llama_cpp.llama_model_default_params()
        # To llama.cpp, negative numbers mean its default; here, all layers.
        wanted.n_gpu_layers = gpu_layers if gpu_layers >= 0 else 0x7FFFFFFF
        self._model: Any = llama_cpp.llama_model_load_from_file(str(path).encode(), wanted)
        if not self._model:
            raise Unavailable(f"{path} cannot be loaded as a GGUF model", reason="MODEL_NOT_LOADED")
        self.context: int = min(context, llama_cpp.llama_model_n_ctx_train(self._model))
        """Maximum tokens of a question and its reply together."""
        self.divisible: bool = not (
            llama_cpp.llama_model_is_recurrent(self._model)
            or llama_cpp.llama_model_is_hybrid(self._model)
        )
        """Whether a prefix of a sequence can be shared; not in recurrent models."""
        self.slots = _SLOTS if self.divisible else _SLOTS_RECURRENT
        """Number of sequences for questions, with ids 0 to `slots` - 1."""
        self.together = _TOGETHER if self.divisible else _TOGETHER_RECURRENT
        """Number of sequences for replies, with ids from `slots` on."""
        self._ctx: Any = llama_cpp.llama_init_from_model(self._model, self._parameters(threads))
        if not self._ctx:
            llama_cpp.llama_model_free(self._model)
            raise Unavailable(
                f"{path} cannot be loaded with a context of {self.context} tokens, "
                "possibly for lack of memory",
                reason="MODEL_NOT_LOADED",
            )
        self.cells: int = llama_cpp.llama_n_ctx(self._ctx)
        """Size of the KV cache in tokens; a token shared by sequences takes one cell."""
        self.parameters: int = llama_cpp.llama_model_n_params(self._model)
        """Number of the model's weights."""
        self._memory = llama_cpp.llama_get_memory(self._ctx)
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)
        self.vocabulary: int = llama_cpp.llama_vocab_n_tokens(self._vocab)
        """Size of the vocabulary."""
        ends = [llama_cpp.llama_vocab_is_eog(self._vocab, i) for i in range(self.vocabulary)]
        self.ends: NDArray[np.intp] = np.flatnonzero(ends)
        """Ids of the end-of-generation tokens."""
        self._batch = _Batch(BATCH)

    def _parameters(self, threads: int) -> Any:
        wanted = llama_cpp.llama_context_default_params()
        wanted.n_ctx = _ROOM * self.context
        wanted.n_batch = wanted.n_ubatch = BATCH
        wanted.n_seq_max = self.slots + self.together
        # One buffer for all sequences, so that they share the cells of a common prefix.
        wanted.kv_unified = True
        wanted.n_threads = wanted.n_threads_batch = threads
        return wanted

    def close(self) -> None:
        """Frees the model."""
        llama_cpp.llama_free(self._ctx)
        llama_cpp.llama_model_free(self._model)

    # -- tokenizer ----------------------------------------------------------------------------

    @property
    def template(self) -> str | None:
        """The chat template in the GGUF file; None: it has none."""
        template = llama_cpp.llama_model_chat_template(self._model, None)
        return None if template is None else str(template.decode())

    def edge(self, name: str) -> str:
        """Text of the ``bos`` or ``eos`` token; empty if the model has none."""
        token = getattr(llama_cpp, f"llama_vocab_{name}")(self._vocab)
        return self._piece(token, special=True).decode() if token >= 0 else ""

    def tokenize(self, text: str, *, plain: bool = False) -> list[int]:
        """Tokenizes a text.

        Args:
            text: The text.
            plain: False: special tokens in the text are recognised, as in a filled chat template.
                True: they are read as text, and the start token of the model is put in front, if
                it has one.
        """
        data = text.encode()
        size = len(data) + 8
        tokens = (llama_cpp.llama_token * size)()
        found = llama_cpp.llama_tokenize(
            self._vocab, data, len(data), tokens, size, plain, not plain
        )
        if found < 0:
            raise RuntimeError(f"the tokenizer failed with {found}")
        return list(tokens[:found])

    def text(self, tokens: Sequence[int]) -> str:
        """Detokenizes, without special tokens."""
        return b"".join(map(self._piece, tokens)).decode(errors="replace")

    def _piece(self, token: int, special: bool = False) -> bytes:
        size = 64
        while True:
            room = ctypes.create_string_buffer(size)
            found: int = llama_cpp.llama_token_to_piece(self._vocab, token, room, size, 0, special)
            if found >= 0:
                return room.raw[:found]
            size = -found

    # -- the KV cache -------------------------------------------------------------------------

    def copy(self, source: int, target: int, length: int) -> None:
        """Makes the empty sequence `target` share the first `length` tokens of `source`."""
        llama_cpp.llama_memory_seq_cp(self._memory, source, target, 0, length)

    def cut(self, sequence: int, length: int) -> None:
        """Truncates a sequence to its first `length` tokens; frees cells that no other sequence
        shares."""
        if not llama_cpp.llama_memory_seq_rm(self._memory, sequence, length, -1):
            raise RuntimeError("the KV cache cannot remove a part of a sequence")

    def clear(self) -> None:
        """Empties all sequences. Equal evaluations after it give equal bits."""
        llama_cpp.llama_memory_clear(self._memory, False)

    # -- evaluation ---------------------------------------------------------------------------

    def read(self, tokens: Sequence[int], position: int, sequence: int) -> Logits:
        """Evaluates tokens at the end of one sequence.

        Args:
            tokens: At most 512 tokens.
            position: Position of the first one.
            sequence: Sequence id; the sequence holds the `position` tokens before.

        Returns:
            Logits after the last token, (vocabulary,); valid until the next evaluation.
        """
        n = len(tokens)
        positions = np.arange(position, position + n, dtype=np.int32)
        after: Logits = self.evaluate(tokens, positions, sequence, [n - 1])[0]
        return after

    def step(self, tokens: Sequence[int], position: int, sequences: Sequence[int]) -> Logits:
        """Evaluates one token for each of several sequences of equal length, as a batch.

        Args:
            tokens: The next token of each sequence.
            position: Their common position.
            sequences: Sequence ids, one per token.

        Returns:
            Logits, (sequences, vocabulary); valid until the next evaluation.
        """
        return self.evaluate(tokens, position, sequences, range(len(tokens)))

    def evaluate(
        self,
        tokens: Sequence[int],
        positions: Sequence[int] | NDArray[Any] | int,
        sequences: Sequence[int] | int,
        outputs: Sequence[int],
    ) -> Logits:
        """Evaluates tokens of one or several sequences as a batch.

        Args:
            tokens: At most `BATCH` tokens.
            positions: Position of each, or of all.
            sequences: Sequence id of each, or of all.
            outputs: Indices of the tokens after which logits are wanted, ascending.

        Returns:
            Logits, (outputs, vocabulary); valid until the next evaluation.
        """
        batch = self._batch.fill(tokens, positions, sequences, outputs)
        code = llama_cpp.llama_decode(self._ctx, batch)
        if code != 0:
            raise RuntimeError(f"llama_decode failed with {code}")
        if not len(outputs):
            return np.empty((0, self.vocabulary), np.float32)
        logits: Logits = np.ctypeslib.as_array(
            llama_cpp.llama_get_logits(self._ctx), shape=(len(outputs), self.vocabulary)
        )
        return logits

    def grammar(self, text: str) -> Grammar | None:
        """Compiles a GBNF grammar; None if it is invalid.

        For an invalid grammar llama.cpp returns a null pointer, whose use would crash the process.
        """
        sampler = llama_cpp.llama_sampler_init_grammar(self._vocab, text.encode(), b"root")
        return Grammar(sampler) if sampler else None


class _Batch:
    """A `llama_batch` over numpy arrays, which are filled without a Python loop."""

    def __init__(self, size: int) -> None:
        self._token = np.zeros(size, np.int32)
        self._position = np.zeros(size, np.int32)
        self._sequence = np.zeros(size, np.int32)
        self._sequences = np.ones(size, np.int32)
        self._output = np.zeros(size, np.int8)
        each = self._sequence.ctypes.data + self._sequence.itemsize * np.arange(size)
        self._pointers = each.astype(np.uintp)
        self._batch = llama_cpp.llama_batch(
            n_tokens=0,
            token=_pointer(self._token, ctypes.c_int32),
            pos=_pointer(self._position, ctypes.c_int32),
            n_seq_id=_pointer(self._sequences, ctypes.c_int32),
            seq_id=_pointer(self._pointers, ctypes.POINTER(ctypes.c_int32)),
            logits=_pointer(self._output, ctypes.c_int8),
        )

    def fill(
        self, tokens: Sequence[int], positions: Any, sequences: Any, outputs: Sequence[int]
    ) -> Any:
        """Fills the batch; the tokens with the indices `outputs` produce logits."""
        n = len(tokens)
        self._token[:n] = tokens
        self._position[:n] = positions
        self._sequence[:n] = sequences
        self._output[:n] = 0
        self._output[np.asarray(outputs, np.intp)] = 1
        self._batch.n_tokens = n
        return self._batch


def _pointer(array: NDArray[Any], kind: Any) -> Any:
    return ctypes.cast(array.ctypes.data, ctypes.POINTER(kind))


def schema_grammar(schema: Mapping[str, Any]) -> str:
    """The GBNF grammar of a JSON Schema."""
    return str(llama_grammar.json_schema_to_gbnf(json.dumps(schema)))


def chat_formatter(runtime: Runtime) -> Callable[[list[dict[str, str]]], str]:
    """A function from chat messages to text in the file's chat template (ChatML if it has none)."""
    formatter = llama_chat_format.Jinja2ChatFormatter(
        template=runtime.template or llama_chat_format.CHATML_CHAT_TEMPLATE,
        eos_token=runtime.edge("eos"),
        bos_token=runtime.edge("bos"),
    )
    return lambda messages: str(formatter(messages=messages).prompt)


class Grammar:
    """Parser state of a reply in a compiled grammar."""

    def __init__(self, sampler: Any) -> None:
        self._sampler = sampler

    def copy(self) -> Grammar:
        """Returns a copy with the same state."""
        return Grammar(llama_cpp.llama_sampler_clone(self._sampler))

    def free(self) -> None:
        """Frees it; must be called exactly once, as the last call."""
        llama_cpp.llama_sampler_free(self._sampler)

    def allows(self, ids: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Returns for each of these tokens whether it may come next, bool (n,).

        One token takes microseconds; the whole vocabulary takes longer than evaluating a small
        model.
        """
        data = np.zeros(len(ids), dtype=_TOKEN_DATA)
        data["id"] = ids
        array = llama_cpp.llama_token_data_array(
            data=ctypes.cast(data.ctypes.data, llama_cpp.llama_token_data_p),
            size=len(ids),
            selected=-1,
            sorted=False,
        )
        llama_cpp.llama_sampler_apply(self._sampler, ctypes.byref(array))
        allowed: NDArray[np.bool_] = np.isfinite(data["logit"])
        return allowed

    def accept(self, token: int) -> None:
        """Advances by an allowed token; a token that is not allowed would abort the process."""
        llama_cpp.llama_sampler_accept(self._sampler, token)
