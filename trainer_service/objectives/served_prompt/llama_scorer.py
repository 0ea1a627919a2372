"""Scores labels with a GGUF file in llama.cpp.

What inputs share is evaluated once: the beginning that all rows have in common (demonstrations),
then each row up to the prompt, for all prompts of a call; and the common beginnings of labels. Many
rows are evaluated together. On a CPU, the scores of an input do not depend on what else is scored:
batches are kept so small that llama.cpp rounds them as single tokens (see `llama_evaluation`).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from mentorgrad.errors import InvalidInput
from service_common.llama.runtime import Runtime
from trainer_service.encoding.gguf_files import file_digest
from trainer_service.objectives.served_prompt.label_tokens import (
    Node,
    label_tokens,
    prefix_tree,
    shared_length,
)
from trainer_service.objectives.served_prompt.llama_evaluation import Evaluation, SequencePart

log = structlog.get_logger(__name__)

ROWS = 32
"""Rows in the KV cache at once: sequence 0 holds what they share, 1 to `ROWS` the rows, and as many
further ones the rows with a prompt."""

_LEAST_ROOM = 1024
"""Tokens of an input that always fit, if the model's own context allows them."""


class LlamaScorer:
    """A `LabelScorer` over a GGUF file.

    Args:
        path: The file.
        labels: The label words.
        context: What stands in front of a label, to tokenise the label behind it.
        opening: What all inputs begin with.
        heads: What follows it up to the prompt, in each input of the run; the longest determines
            the size of the KV cache.
        characters: Maximum characters of a prompt.
        threads: Threads of llama.cpp.
        on_gpu: Whether to use a GPU if there is one.
        cuts: Whether the heads will be cut to `room` where they are too long.
        abort: Called between evaluations; may raise to abort.

    Raises:
        InvalidInput: The labels cannot be told apart, the model cannot be used, or an input leaves
            no room for a prompt.
        Unavailable: The file cannot be loaded (reason MODEL_NOT_LOADED).
    """

    gives_probabilities = True

    def __init__(
        self,
        path: Path,
        labels: Sequence[str],
        context: str,
        *,
        opening: str = "",
        heads: Sequence[str],
        characters: int,
        threads: int,
        on_gpu: bool,
        abort: Callable[[], None],
        cuts: bool = False,
    ) -> None:
        self.model = f"{path.name} sha256:{file_digest(path, abort)}"
        rest = context + max(labels, key=len)
        longest = likely_tokens_of(opening + rest) + max(map(likely_tokens_of, heads))

        def load(room: int) -> Runtime:
            return Runtime(path, threads, None if on_gpu else 0, room)

        self._runtime = load(max(_LEAST_ROOM, longest + characters))
        try:
            if not self._runtime.divisible:
                raise InvalidInput("recurrent models are not supported", reason="BAD_MODEL")
            self.labels = label_tokens(labels, context, self._tokenize)
            self._tree = prefix_tree(self.labels)
            self._longest = len(self._tokenize(opening)) + max(map(self._length, heads))
            # Most prompts have fewer tokens than half of their characters.
            taken = self._longest + self._length(context) + characters // 2
            if self._needed(taken) > self._runtime.context:  # texts have more tokens than likely
                self._runtime.close()
                self._runtime = load(self._needed(taken))
            excess = self._needed(taken) - self._runtime.context
            self.room: int | None = None
            if cuts and excess > 0:
                self.room = max(map(self._length, heads)) - excess
                self._longest, taken = self._longest - excess, taken - excess
            self._check_room(taken)
        except InvalidInput:
            self._runtime.close()
            raise
        self._evaluation = Evaluation(self._runtime, abort)
        log.info("tuned_model_loaded", model=self.model, label_tokens=self.labels, threads=threads)

    def scores(self, heads: Sequence[str], tails: Sequence[str]) -> NDArray[np.float64]:
        """See `LabelScorer`."""
        rows = [self._tokenize(head) for head in heads]
        shared = shared_length(rows)
        whole = [[self._tokenize(head + tail) for head in heads] for tail in tails]
        self._check_room(max(len(tokens) for of_tail in whole for tokens in of_tail))
        found = np.empty((len(tails), len(heads), len(self.labels)))
        self._runtime.clear()
        self._evaluation.log_probabilities([SequencePart(rows[0][:shared], 0, 0)])
        for group in self._groups(rows, shared, whole):
            for sequence in range(1, len(group) + 1):
                self._runtime.copy(0, sequence, shared)
            self._evaluation.log_probabilities(
                [
                    SequencePart(rows[row][shared:], shared, sequence)
                    for sequence, row in enumerate(group, start=1)
                ]
            )
            for index, of_tail in enumerate(whole):
                found[index, group] = self._with_prompt(
                    [rows[row] for row in group], [of_tail[row] for row in group]
                )
            for sequence in range(1, len(group) + 1):
                self._runtime.cut(sequence, 0)
        return found

    def count(self, text: str) -> int:
        """See `LabelScorer`."""
        return self._length(text)

    def has_room(self, tail: str) -> bool:
        """See `LabelScorer`."""
        return self._needed(self._longest + self._length(tail)) <= self._runtime.context

    def take_tokens(self) -> int:
        """See `LabelScorer`."""
        return self._evaluation.take_tokens()

    def close(self) -> None:
        """See `LabelScorer`."""
        self._runtime.close()

    def _tokenize(self, text: str) -> array[int]:
        # An array takes a ninth of the memory of a list, and all inputs of a call are held.
        return array("i", self._runtime.tokenize(text, plain=True))

    def _length(self, text: str) -> int:
        """Tokens of a part of an input, without the start token."""
        return len(self._tokenize(text)) - len(self._tokenize(""))

    def _needed(self, tokens: int) -> int:
        """Tokens of an input with a label."""
        return tokens + self._tree.depth

    def _check_room(self, longest: int) -> None:
        needed, room = self._needed(longest), self._runtime.context
        if needed > room:
            raise InvalidInput(
                f"a text with a prompt and a label has {needed} tokens; the tuned model has room "
                f"for {room}",
                reason="PROMPT_TOO_LONG",
            )

    def _groups(
        self,
        rows: Sequence[array[int]],
        shared: int,
        whole: Sequence[Sequence[array[int]]],
    ) -> Iterator[list[int]]:
        """Rows that fit the KV cache together with the longest prompt."""
        group: list[int] = []
        free = self._runtime.cells - shared
        used = 0
        for row, tokens in enumerate(rows):
            # Where tokens of row and prompt merge, the row's last ones are held twice.
            longest = max(len(of_tail[row]) - len(tokens) for of_tail in whole)
            cells = len(tokens) - shared + longest + self._tree.depth + 4
            if group and (used + cells > free or len(group) == ROWS):
                yield group
                group, used = [], 0
            group.append(row)
            used += cells
        if group:
            yield group

    def _with_prompt(
        self, rows: Sequence[array[int]], whole: Sequence[array[int]]
    ) -> NDArray[np.float64]:
        """Scores of one prompt on a group of rows, [rows, labels].

        Args:
            rows: Tokens up to the prompt, which sequences 1 and so on hold.
            whole: Tokens of the whole inputs.
        """
        pieces = []
        for sequence, (row, tokens) in enumerate(zip(rows, whole, strict=True), start=1):
            kept = min(shared_length([row, tokens]), len(tokens) - 1)
            self._runtime.copy(sequence, ROWS + sequence, kept)
            pieces.append(SequencePart(tokens[kept:], kept, ROWS + sequence))
        found = np.empty((len(rows), len(self.labels)))
        logs = self._evaluation.log_probabilities(pieces, self._tree.next_tokens)
        self._walk(self._tree, np.zeros(len(rows)), logs, [len(tokens) for tokens in whole], found)
        for piece in pieces:
            self._runtime.cut(piece.sequence, 0)
        return found

    def _walk(
        self,
        node: Node,
        so_far: NDArray[np.float64],
        logs: NDArray[np.float64],
        lengths: Sequence[int],
        found: NDArray[np.float64],
    ) -> None:
        """Fills in the scores of a node's labels, from the log-probabilities of its tokens."""
        sums = so_far[:, None] + logs
        found[:, list(node.ends.values())] = sums[:, : len(node.ends)]
        for index, (token, child) in enumerate(node.children.items(), start=len(node.ends)):
            pieces = [
                SequencePart([token], length, ROWS + sequence)
                for sequence, length in enumerate(lengths, start=1)
            ]
            further = self._evaluation.log_probabilities(pieces, child.next_tokens)
            longer = [length + 1 for length in lengths]
            self._walk(child, sums[:, index], further, longer, found)
            for piece in pieces:
                self._runtime.cut(piece.sequence, piece.start)


def likely_tokens_of(text: str) -> int:
    """About as many tokens as a text may have before a tokenizer is loaded: one per byte beyond
    ASCII, and one per two ASCII characters."""
    plain = sum(character < "\x80" for character in text)
    return len(text.encode()) - plain // 2
