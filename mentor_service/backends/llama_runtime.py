"""llama.cpp's low-level interface, as far as the backend needs it: a model, the memory of what its
sequences read, batches of tokens over several sequences, and grammars.

With `mentor_service.backends.llama_cpp` the only module that knows llama_cpp. Everything here is
for one thread.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from mentorgrad.errors import Unavailable

_BATCH = 512
"""Most tokens evaluated in one go."""

_SLOTS, _TOGETHER = 6, 64
"""Questions kept, and replies decoded together. What is kept is not free: each step passes over all
cells in use, and a thousand of them cost a small model a tenth of its speed."""
_SLOTS_RECURRENT, _TOGETHER_RECURRENT = 2, 8
"""The same for recurrent models, where every sequence takes memory of its own from the start."""

_ROOM = 2
"""Tokens that the memory holds, for each token of the context: beside the longest question and its
reply there are other sessions' questions and further replies."""

_TOKEN_DATA = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])

Logits = NDArray[np.float32]
Tokens = NDArray[np.int32]


class Runtime:
    """A loaded model with its memory; also a `mentor_service.backends.prefix_cache.SequenceMemory`.

    Args:
        path: The GGUF file.
        threads: Threads of llama.cpp.
        gpu_layers: Layers on the GPU; -1: all; None: all where this build finds a GPU.
        context: Longest question and reply together; the model's own limit holds besides.

    Raises:
        Unavailable: The file is missing or no model (reason MODEL_NOT_LOADED).
    """

    def __init__(self, path: Path, threads: int, gpu_layers: int | None, context: int) -> None:
        if not path.is_file():
            raise Unavailable(f"there is no model file {path}", reason="MODEL_NOT_LOADED")
        # llama-cpp-python's own logger prints to standard error; what matters is raised.
        logging.getLogger("llama-cpp-python").setLevel(logging.CRITICAL + 1)
        llama_cpp.llama_backend_init()
        if gpu_layers is None:
            gpu_layers = -1 if llama_cpp.llama_supports_gpu_offload() else 0
        self.gpu_layers = gpu_layers
        """As loaded."""
        wanted = llama_cpp.llama_model_default_params()
        # Negative numbers mean the default to llama.cpp, and "all" here.
        wanted.n_gpu_layers = gpu_layers if gpu_layers >= 0 else 0x7FFFFFFF
        self._model: Any = llama_cpp.llama_model_load_from_file(str(path).encode(), wanted)
        if not self._model:
            raise Unavailable(f"{path} cannot be loaded as a GGUF model", reason="MODEL_NOT_LOADED")
        self.context: int = min(context, llama_cpp.llama_model_n_ctx_train(self._model))
        """Longest question and reply together, in tokens."""
        self.divisible: bool = not (
            llama_cpp.llama_model_is_recurrent(self._model)
            or llama_cpp.llama_model_is_hybrid(self._model)
        )
        """Whether a sequence can be shared in part."""
        self.slots = _SLOTS if self.divisible else _SLOTS_RECURRENT
        """Sequences for questions: 0 to `slots` - 1."""
        self.together = _TOGETHER if self.divisible else _TOGETHER_RECURRENT
        """Sequences for replies: `slots` to `slots` + `together` - 1."""
        self._ctx: Any = llama_cpp.llama_init_from_model(self._model, self._parameters(threads))
        if not self._ctx:
            llama_cpp.llama_model_free(self._model)
            raise Unavailable(
                f"{path} cannot be loaded with a context of {self.context} tokens; "
                "is there memory for it?",
                reason="MODEL_NOT_LOADED",
            )
        self.cells: int = llama_cpp.llama_n_ctx(self._ctx)
        """Tokens that the memory holds in all; those that sequences share count once."""
        self.parameters: int = llama_cpp.llama_model_n_params(self._model)
        """Number of the model's weights."""
        self._memory = llama_cpp.llama_get_memory(self._ctx)
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)
        self.vocabulary: int = llama_cpp.llama_vocab_n_tokens(self._vocab)
        """Number of the model's tokens."""
        ends = [llama_cpp.llama_vocab_is_eog(self._vocab, i) for i in range(self.vocabulary)]
        self.ends: NDArray[np.intp] = np.flatnonzero(ends)
        """Tokens that end a reply."""
        self._batch = _Batch(_BATCH)

    def _parameters(self, threads: int) -> Any:
        wanted = llama_cpp.llama_context_default_params()
        wanted.n_ctx = _ROOM * self.context
        wanted.n_batch = wanted.n_ubatch = _BATCH
        wanted.n_seq_max = self.slots + self.together
        # One buffer for all sequences, in which they share the cells of a common prefix.
        wanted.kv_unified = True
        wanted.n_threads = wanted.n_threads_batch = threads
        return wanted

    def close(self) -> None:
        """Frees the model."""
        llama_cpp.llama_free(self._ctx)
        llama_cpp.llama_model_free(self._model)

    # -- words and tokens ---------------------------------------------------------------------

    @property
    def template(self) -> str | None:
        """The chat template that the file carries."""
        template = llama_cpp.llama_model_chat_template(self._model, None)
        return None if template is None else str(template.decode())

    def edge(self, name: str) -> str:
        """The ``bos`` or ``eos`` token as it is written; empty where the model has none."""
        token = getattr(llama_cpp, f"llama_vocab_{name}")(self._vocab)
        return self._piece(token, special=True).decode() if token >= 0 else ""

    def tokenize(self, text: str) -> list[int]:
        """The tokens of a text in which special tokens may be written out."""
        data = text.encode()
        size = len(data) + 8
        tokens = (llama_cpp.llama_token * size)()
        found = llama_cpp.llama_tokenize(self._vocab, data, len(data), tokens, size, False, True)
        if found < 0:
            raise RuntimeError(f"the tokenizer failed with {found}")
        return list(tokens[:found])

    def text(self, tokens: Sequence[int]) -> str:
        """What tokens say, without the special ones."""
        return b"".join(map(self._piece, tokens)).decode(errors="replace")

    def _piece(self, token: int, special: bool = False) -> bytes:
        size = 64
        while True:
            room = ctypes.create_string_buffer(size)
            found: int = llama_cpp.llama_token_to_piece(self._vocab, token, room, size, 0, special)
            if found >= 0:
                return room.raw[:found]
            size = -found

    # -- the memory ---------------------------------------------------------------------------

    def copy(self, source: int, target: int, length: int) -> None:
        """See `mentor_service.backends.prefix_cache.SequenceMemory`."""
        llama_cpp.llama_memory_seq_cp(self._memory, source, target, 0, length)

    def cut(self, sequence: int, length: int) -> None:
        """See `mentor_service.backends.prefix_cache.SequenceMemory`."""
        if not llama_cpp.llama_memory_seq_rm(self._memory, sequence, length, -1):
            raise RuntimeError("the model's memory cannot forget a part of a sequence")

    # -- evaluation ---------------------------------------------------------------------------

    def read(self, tokens: Sequence[int], position: int, sequence: int) -> Logits:
        """Evaluates tokens at the end of one sequence.

        Args:
            tokens: At most 512.
            position: Of the first one.
            sequence: Holds the `position` tokens before.

        Returns:
            Logits after the last one, (vocabulary,); of use until the next evaluation.
        """
        n = len(tokens)
        positions = np.arange(position, position + n, dtype=np.int32)
        after: Logits = self._evaluate(tokens, positions, sequence, outputs=1)[0]
        return after

    def step(self, tokens: Sequence[int], position: int, sequences: Sequence[int]) -> Logits:
        """Evaluates one token of each of several sequences of one length together.

        Args:
            tokens: The next one of each sequence.
            position: Theirs.
            sequences: As many as tokens.

        Returns:
            Logits of each, (sequences, vocabulary); of use until the next evaluation.
        """
        return self._evaluate(tokens, position, sequences, outputs=len(tokens))

    def _evaluate(self, tokens: Any, positions: Any, sequences: Any, outputs: int) -> Logits:
        batch = self._batch.fill(tokens, positions, sequences, outputs)
        code = llama_cpp.llama_decode(self._ctx, batch)
        if code != 0:
            raise RuntimeError(f"llama_decode failed with {code}")
        logits: Logits = np.ctypeslib.as_array(
            llama_cpp.llama_get_logits(self._ctx), shape=(outputs, self.vocabulary)
        )
        return logits

    def grammar(self, text: str) -> Grammar | None:
        """The compiled grammar at its start; None where it cannot be read.

        An unreadable one gives a null pointer, which would crash the process if it were used.
        """
        sampler = llama_cpp.llama_sampler_init_grammar(self._vocab, text.encode(), b"root")
        return Grammar(sampler) if sampler else None


class _Batch:
    """llama.cpp's batch over numpy's memory, which is filled without a loop."""

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

    def fill(self, tokens: Sequence[int], positions: Any, sequences: Any, outputs: int) -> Any:
        """The batch with these tokens; the last `outputs` of them give logits."""
        n = len(tokens)
        self._token[:n] = tokens
        self._position[:n] = positions
        self._sequence[:n] = sequences
        self._output[:n] = 0
        self._output[n - outputs : n] = 1
        self._batch.n_tokens = n
        return self._batch


def _pointer(array: NDArray[Any], kind: Any) -> Any:
    return ctypes.cast(array.ctypes.data, ctypes.POINTER(kind))


class Grammar:
    """Where a reply is in a grammar."""

    def __init__(self, sampler: Any) -> None:
        self._sampler = sampler

    def copy(self) -> Grammar:
        """Another one at the same place."""
        return Grammar(llama_cpp.llama_sampler_clone(self._sampler))

    def free(self) -> None:
        """Must be called once, as the last."""
        llama_cpp.llama_sampler_free(self._sampler)

    def allows(self, ids: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Which of these tokens may come next, (n,).

        A token takes microseconds; the whole vocabulary more than a small model's evaluation.
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
        """Goes on by a token that is allowed; any other one would end the process."""
        llama_cpp.llama_sampler_accept(self._sampler, token)
