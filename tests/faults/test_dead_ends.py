"""Grammars that lead nowhere, cannot be read or are huge, with the real model.

All grammars are made by `mentor_service.grammars`; none comes from a caller or a reply. It matters,
since llama.cpp does not come back from a repetition ``{5,2}`` nor from recursion on the left behind
something that may be empty, and a hundred thousand brackets end its process.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mentor_service.grammars import number_lines, pattern_lines, sentence, word_lines
from mentorgrad.domain.advice import Constraints, ProposalKind

ROOT = Path(__file__).parents[2]

DEAD_ENDS = {
    "nothing": "root ::= [^\\x00-\\U0010FFFF]",
    "a character that there is not": 'root ::= "\\UFFFFFFFF"',
    "a range from behind": "root ::= [z-a]",
    "nothing after a letter": 'root ::= "a" [^\\x00-\\U0010FFFF]',
    "NUL": 'root ::= "\\x00"',
}
UNREADABLE = {
    "blank": " \n ",
    "a remark": "# nothing",
    "noise": "\x01\x02\xff::=%$",
    "cut off": 'root ::= "abc',
    "an open bracket": 'root ::= ("a"',
    "an open class": "root ::= [",
    "no root": 'other ::= "a"',
    "a rule that there is not": "root ::= missing",
    "recursion on the left": 'root ::= root "a" | "b"',
    "recursion on the left by others": 'root ::= x "a"\nx ::= y\ny ::= root "b" | "c"',
    "nothing over and over": 'root ::= (""*)*',
    "repeated too often": 'root ::= "a"{1000000}',
    "repeated beyond numbers": 'root ::= "a"{99999999999999999999}',
    "NUL in the text": 'root ::= "a\x00b"',
}
READABLE = {
    "an empty rule": "root ::= ",
    "an empty text": 'root ::= ""',
    "an empty class": "root ::= []",
    "no end": 'root ::= "a" root',
    "many ways to the same": "root ::= ([a-z]* [a-z]* [a-z]* [a-z]*)*",
    "deep": "root ::= " + "(" * 500 + '"a"' + ")" * 500,
    "long": 'root ::= "' + "a" * 50_000 + '"',
    "many rules": "root ::= r0\n"
    + "".join(f"r{n} ::= r{n + 1}\n" for n in range(5_000))
    + 'r5000 ::= "a"',
    "the largest of words": word_lines(64, 6, 2),
}
OWN = {
    f"{count} lines of {size}": number_lines(
        count, Constraints(ProposalKind.NUMBERS, dimensions=size, lower=-5, upper=5)
    )
    for count in (1, 64)
    for size in (1, 30, 1_000, 10_000)
} | {"64 lines of many words": word_lines(64, 4_096)}


@pytest.mark.timeout(600)
def test_a_grammar_that_leads_nowhere_is_a_typed_outcome_and_the_model_lives_on() -> None:
    grammars = DEAD_ENDS | UNREADABLE | READABLE | OWN
    done = subprocess.run(
        [sys.executable, "-m", "campaigns.fuzz.confined", "tests.support.dead_ends"],
        input=json.dumps(list(grammars.values())),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=590,
        check=False,
    )
    came = dict(zip(grammars, map(json.loads, done.stdout.splitlines()), strict=False))
    last = list(grammars)[min(len(came), len(grammars) - 1)]
    assert done.returncode == 0, f"{last}: exit code {done.returncode}, {done.stderr[-2000:]}"
    assert set(came) == set(grammars)
    assert {name: came[name] for name in DEAD_ENDS} == dict.fromkeys(DEAD_ENDS, "dead_end")
    assert {name: came[name] for name in UNREADABLE} == dict.fromkeys(UNREADABLE, "BAD_GRAMMAR")
    assert {name: came[name] for name in READABLE} == dict.fromkeys(READABLE, "reply")
    assert {came[name] for name in OWN} <= {"reply", "BAD_GRAMMAR"}


_counts = st.integers(1, 64)
_word = st.from_regex(r"[a-z]{1,12}", fullmatch=True)
_words = st.lists(_word, max_size=5).map(tuple)
_slot = st.one_of(st.none(), _word, st.lists(_word, min_size=1, max_size=5).map(tuple))
_pattern = st.lists(_slot, min_size=1, max_size=8)
_limits = st.builds(
    lambda size, low, width: Constraints(
        ProposalKind.NUMBERS, dimensions=size, lower=low, upper=low + width
    ),
    st.integers(1, 10_000),
    st.floats(-1e9, 1e9),
    st.floats(1e-3, 1e9),
)


@given(
    st.one_of(
        st.builds(word_lines, _counts, st.integers(1, 4_096), st.integers(1, 4_096)),
        st.builds(number_lines, _counts, _limits),
        st.builds(pattern_lines, _counts, st.lists(_pattern, min_size=1, max_size=5), _words),
        st.builds(sentence, st.integers(8, 1_000)),
    )
)
def test_no_grammar_has_what_the_model_does_not_come_back_from(grammar: str) -> None:
    for low, high in re.findall(r"\{(\d+),(\d+)\}", grammar):
        assert int(low) <= int(high)
    rules = [line.partition(" ::= ") for line in grammar.splitlines()]
    names = [name for name, _, _ in rules]
    assert names[0] == "root"
    for at, (_, _, rule) in enumerate(rules):
        used = re.findall(r"[a-z]+", re.sub(r'"[^"]*"|\[[^\]]*\]', "", rule))
        assert set(used) <= set(names[at + 1 :]), "a rule names later ones only, so none recurs"
        assert _depth(rule) <= MOST_BRACKETS


MOST_BRACKETS = 40
"""Brackets within brackets: about as many as a bound of a number has digits."""


def _depth(rule: str) -> int:
    """How deep the brackets of a rule are nested, those in texts and classes aside."""
    deepest = depth = 0
    for bracket in re.findall(r"[()]", re.sub(r'"[^"]*"|\[[^\]]*\]', "", rule)):
        depth += 1 if bracket == "(" else -1
        deepest = max(deepest, depth)
    return deepest
