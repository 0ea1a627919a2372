"""Detection of duplicate and near-duplicate phrases.

Each proposal costs an evaluation, and small models tend to repeat themselves with one word changed.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator

_EDGES = " \t\"'`“”„‘’‚«»‹›「」『』.,:;!?()[]{}<>*_-–—…¿¡。，、：；！？（）【】《》〈〉·・．؟،؛٪۔।॥"

_THAI = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")  # and Lao, Burmese, Khmer
_CHINESE = re.compile(  # and kana
    "[\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_UNSPACED = ((_CHINESE, 2), (_THAI, 4))
"""Letters of scripts without spaces between words, and how many count as one word."""

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
"""Words without a meaning of their own, ignored when content words are compared."""

_SHORTEST_NEAR = 4
"""Minimum words of a phrase for which one changed word makes a near duplicate."""

_LONGEST = 16
"""Maximum words of a phrase that is compared word by word; longer ones are compared as a whole."""

_LONGEST_WORD = 40
"""Maximum letters of a word in a grammar."""

WordSequence = tuple[str, ...]


def canonical(text: str) -> str:
    """Normalises a phrase: lower case, single spaces, no punctuation around words."""
    words = (word.strip(_EDGES) for word in text.lower().split())
    return " ".join(word for word in words if word)


def exact_forms(text: str) -> frozenset[Hashable]:
    """What phrases share that are equal but for case and punctuation."""
    return frozenset({canonical(text)})


def wording(text: str) -> Hashable:
    """What phrases share that are the same words in another order or the same content words; of
    very long ones, the former only."""
    return _wording(_words(text))


def count_words(text: str) -> int:
    """Number of words; in scripts without spaces between words, by the number of letters."""
    count = 0
    for letters, each in _UNSPACED:
        text, found = letters.subn(" ", text)
        count += -(-found // each)
    return count + len(canonical(text).split())


def names(text: str, phrase: str) -> bool:
    """Whether a text contains a phrase as whole words, ignoring case and punctuation around them;
    in scripts without spaces between words, anywhere."""
    text, phrase = canonical(text), canonical(phrase)
    if any(letters.search(phrase) for letters, _ in _UNSPACED):
        return phrase in text
    return bool(phrase) and f" {phrase} " in f" {text} "


def plain_letters(word: str) -> bool:
    """Whether a grammar may contain the word: ASCII letters only, of bounded length."""
    return word.isascii() and word.isalpha() and len(word) <= _LONGEST_WORD


def edit_distance(left: WordSequence, right: WordSequence) -> int:
    """Levenshtein distance in words: words changed, inserted or deleted."""
    row = list(range(len(right) + 1))
    for number, word in enumerate(left, start=1):
        previous, row[0] = row[0], number
        for column, other in enumerate(right, start=1):
            change = previous + (word != other)
            previous = row[column]
            row[column] = min(change, row[column] + 1, row[column - 1] + 1)
    return row[-1]


class SimilarityIndex:
    """An index of phrases for duplicate lookups. The cost of a lookup depends on the length of the
    phrase, not on the number of phrases.

    Args:
        texts: Initial phrases.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._texts: set[WordSequence] = set()
        self._wordings: set[Hashable] = set()
        self._gaps: set[WordSequence] = set()
        self._shorter: set[WordSequence] = set()
        for text in texts:
            self.add(text)

    def add(self, text: str) -> None:
        """Adds a phrase."""
        words = _words(text)
        if not words or words in self._texts:
            return
        self._texts.add(words)
        self._wordings.add(_wording(words))
        if len(words) <= _LONGEST:
            self._gaps.update(_with_gaps(words))
            self._shorter.update(_without_one(words))

    def same(self, text: str) -> bool:
        """Whether the index contains the phrase, ignoring case and punctuation."""
        return _words(text) in self._texts

    def near(self, text: str) -> bool:
        """Whether the index contains a near duplicate: the same words in another order, the same
        content words, or, from four words on, a phrase that differs in a single word."""
        words = _words(text)
        if _wording(words) in self._wordings:
            return True
        if not _SHORTEST_NEAR <= len(words) <= _LONGEST:
            return False
        return (
            not self._gaps.isdisjoint(_with_gaps(words))
            or words in self._shorter
            or not self._texts.isdisjoint(_without_one(words))
        )


def _words(text: str) -> WordSequence:
    return tuple(canonical(text).split())


def _wording(words: WordSequence) -> Hashable:
    content = frozenset(words) - _FUNCTION_WORDS if len(words) <= _LONGEST else None
    return content or tuple(sorted(words))


def _with_gaps(words: WordSequence) -> Iterator[WordSequence]:
    for place in range(len(words)):
        yield (*words[:place], "", *words[place + 1 :])


def _without_one(words: WordSequence) -> Iterator[WordSequence]:
    for place in range(len(words)):
        yield words[:place] + words[place + 1 :]
