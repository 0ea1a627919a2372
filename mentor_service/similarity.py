"""Which phrases bring no news: the same words, the same words in another order, nearly the same.

A proposal costs an evaluation, and a small model likes to repeat itself with a word changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_EDGES = " \t\"'`“”‘’«».,:;!?()[]{}<>*_-–—…"

_FUNCTION_WORDS = frozenset(
    word
    for line in (
        "a an the this that these those my your his her its our their",
        "i you he she it we they me him us them",
        "of in on at by for from to with about as into over and or but if so not no",
        "is are was were be been am do does did have has had",
        "can could will would shall should may might must",
        "what which who whom whose when where why how there here",
    )
    for word in line.split()
)
"""Words that carry little meaning of their own."""

_SHORTEST_NEAR = 4
"""Phrases of fewer words say something else when a word of them is another."""

_LONGEST = 16
"""Words of a phrase that is compared word by word; longer ones are only compared as a whole."""

_LONGEST_WORD = 40
"""Letters of a word that is written into a grammar."""

WordSequence = tuple[str, ...]


def canonical(text: str) -> str:
    """Lower-case words with single spaces, without punctuation at their edges."""
    words = (word.strip(_EDGES) for word in text.lower().split())
    return " ".join(word for word in words if word)


def plain_letters(word: str) -> bool:
    """Whether a grammar may spell the word: a proposal's words, and of bounded length."""
    return word.isascii() and word.isalpha() and len(word) <= _LONGEST_WORD


def edit_distance(left: WordSequence, right: WordSequence) -> int:
    """Words to be changed, added or left out to come from one phrase to the other (Levenshtein)."""
    row = list(range(len(right) + 1))
    for number, word in enumerate(left, start=1):
        previous, row[0] = row[0], number
        for column, other in enumerate(right, start=1):
            change = previous + (word != other)
            previous = row[column]
            row[column] = min(change, row[column] + 1, row[column - 1] + 1)
    return row[-1]


class SimilarityIndex:
    """A set of phrases that can be asked for like ones; a question costs about as much as a phrase
    has words, however many phrases there are.

    Args:
        texts: The first phrases.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._texts: set[WordSequence] = set()
        self._orders: set[WordSequence] = set()
        self._contents: set[frozenset[str]] = set()
        self._gaps: set[WordSequence] = set()
        self._shorter: set[WordSequence] = set()
        for text in texts:
            self.add(text)

    def add(self, text: str) -> None:
        """Takes in a phrase."""
        words = _words(text)
        if not words or words in self._texts:
            return
        self._texts.add(words)
        self._orders.add(tuple(sorted(words)))
        if len(words) <= _LONGEST:
            self._contents.add(_content(words))
            self._gaps.update(_with_gaps(words))
            self._shorter.update(_without_one(words))

    def same(self, text: str) -> bool:
        """Whether the phrase is there, whatever its case and punctuation."""
        return _words(text) in self._texts

    def near(self, text: str) -> bool:
        """Whether a phrase is there that has the same words in another order, or the same words of
        meaning; or, from four words on, one that differs by a single word."""
        words = _words(text)
        if tuple(sorted(words)) in self._orders:
            return True
        if len(words) > _LONGEST:
            return False
        content = _content(words)
        if content and content in self._contents:
            return True
        if len(words) < _SHORTEST_NEAR:
            return False
        return (
            not self._gaps.isdisjoint(_with_gaps(words))
            or words in self._shorter
            or not self._texts.isdisjoint(_without_one(words))
        )


def _words(text: str) -> WordSequence:
    return tuple(canonical(text).split())


def _content(words: WordSequence) -> frozenset[str]:
    return frozenset(words) - _FUNCTION_WORDS


def _with_gaps(words: WordSequence) -> Iterator[WordSequence]:
    for place in range(len(words)):
        yield (*words[:place], "", *words[place + 1 :])


def _without_one(words: WordSequence) -> Iterator[WordSequence]:
    for place in range(len(words)):
        yield words[:place] + words[place + 1 :]
