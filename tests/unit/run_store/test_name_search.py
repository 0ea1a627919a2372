"""Patterns of names: what they match, what is refused, and what they cost."""

from __future__ import annotations

import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mentorgrad.domain import name_pattern
from mentorgrad.domain.name_pattern import compiled
from mentorgrad.domain.query import RunFilter
from mentorgrad.errors import InvalidInput
from mentorgrad.field_limits import check
from run_store import name_search
from run_store.name_search import NameMatcher, search

ATOMS = (*"abC-3", ".", "^", "$", "[ab]", "[^a]", "[A-C3-]", r"\d", r"\w", r"\s", r"\.", "[]^]")
REPEATS = ("*", "+", "?", "{2}", "{0,1}", "{1,}", "{0}")


def joined(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    several = st.lists(parts, max_size=4).map("".join)
    either = st.tuples(several, several).map("|".join)
    group = st.one_of(several, either).map("({})".format)
    return st.one_of(several, either, st.tuples(group, st.sampled_from(REPEATS)).map("".join))


ONES = st.sampled_from(ATOMS)
REPEATED = st.tuples(st.sampled_from([atom for atom in ATOMS if atom not in "^$"])).flatmap(
    lambda atom: st.sampled_from([atom[0], *(atom[0] + repeat for repeat in REPEATS)])
)
PATTERNS = st.recursive(st.one_of(ONES, REPEATED), joined, max_leaves=8)
NAMES = st.lists(st.text("abcABC3-]^. _", max_size=8), min_size=1, max_size=4)


@given(PATTERNS, NAMES)
def test_a_pattern_matches_what_that_of_python_matches(pattern: str, names: list[str]) -> None:
    reference = re.compile(pattern, re.IGNORECASE | re.ASCII)
    found = compiled(pattern)
    matcher = NameMatcher(found)
    for name in names:
        is_match = reference.search(name) is not None
        assert matcher.matches(name.casefold()) == is_match, name
        assert not is_match or found.literal in name.casefold()


@pytest.mark.parametrize(
    ("pattern", "literal"),
    [
        ("^sweep-[0-9]+ seed", "sweep-"),
        ("LR=0\\.01", "lr=0.01"),
        ("abc|abcd", ""),
        ("abcd?e", "abc"),
        ("(abcd)+", ""),
        ("Straße", "strasse"),
        ("", ""),
    ],
)
def test_the_longest_literal_is_known(pattern: str, literal: str) -> None:
    assert compiled(pattern).literal == literal


def test_letters_match_without_regard_to_case() -> None:
    for pattern, name in (
        ("ÜB", "üben"),
        ("stra[s]*e", "straße"),
        ("[À-Ö]", "é"),
        ("Straße", "STRASSE"),
    ):
        assert NameMatcher(compiled(pattern)).matches(name.casefold()), pattern


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("a(b", "this ( is not closed; write \\( for the character, at character 2"),
        ("ab)", "this ) closes nothing; write \\) for the character, at character 3"),
        ("a[b-", "this [ is not closed; write \\[ for the character, at character 2"),
        ("*a", "nothing to repeat; write \\* for the character, at character 1"),
        ("a|+", "nothing to repeat; write \\+ for the character, at character 3"),
        ("a**", "a repetition cannot be repeated; put it in parentheses, at character 3"),
        ("a{2", "must be {n}, {n,} or {n,m}; write \\{ for the character, at character 2"),
        ("a{3,2}", "must be ascending numbers of at most 200, at character 2"),
        ("(a{99}){99}", "the pattern stands for more than 1,000 characters, at character 1"),
        ("x(a{200}|b{200}|c{200}|d{200}|e{200}|f{200})", "1,000 characters, at character 3"),
        ("(?i)a", "(? is not supported, at character 2"),
        (
            "(a)\\1",
            "a backslash must have a punctuation mark behind it, or d, w or s, at character 4",
        ),
        ("a\\", "a backslash must have a punctuation mark behind it, or d, w or s, at character 2"),
        ("[z-a]", "z-a is an empty range, at character 2"),
        ("[[:digit:]]", "[:, [. and [= are not supported in brackets, at character 2"),
        ("[ß]", "ß is ss here; write it outside of brackets, at character 2"),
        ("(" * 21, "more than 20 parentheses within each other, at character 21"),
    ],
)
def test_a_pattern_that_is_not_valid_is_refused_at_its_character(pattern: str, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check(RunFilter(name_pattern=pattern), "filter")
    (violation,) = caught.value.violations
    assert violation.field == "filter.name_pattern"
    assert violation.description.endswith(said)


@given(st.text("a(|)*+?{2,}[^-].\\d", max_size=40))
def test_any_pattern_is_compiled_or_refused(pattern: str) -> None:
    try:
        found = compiled(pattern)
    except name_pattern.BadPattern:
        return
    NameMatcher(found).matches("abc 22")


@pytest.mark.parametrize(
    "pattern", ["(a*)*c", "(a|aa)+$b", "(a?){100}a{100}b", "(a|b)*a(a|b){99}c"]
)
def test_no_pattern_takes_long(pattern: str) -> None:
    """Those of other engines take time that is exponential in the name, or in the pattern."""
    matcher = NameMatcher(compiled(pattern))
    name = "ab" * 10 + "a" * 180
    assert not matcher.matches(name)
    assert matcher.work < (len(name) + 2) * 3 * name_pattern.MAX_PROGRAM


def test_states_are_forgotten_before_they_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(name_search, "_MAX_STATES", 3)
    matcher = NameMatcher(compiled("a.{4}b$"))
    reference = re.compile("a.{4}b$")
    for name in ("aaxaaxbabab", "ababaxxxxb", "", "abbbbb"):
        assert matcher.matches(name) == (reference.search(name) is not None)
        assert len(matcher._states) <= 3


def test_a_search_stops_at_its_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(float(at), f"run{at}", f"name {at}") for at in range(10)]
    nines = compiled("9")
    assert search(nines, rows, 5).stopped_at is None
    monkeypatch.setattr(name_search, "MAX_NAMES", 10)
    assert search(nines, rows, 5) == name_search.NamesFound(((9.0, "run9"),), None)
    monkeypatch.setattr(name_search, "MAX_NAMES", 4)
    assert search(nines, rows, 5) == name_search.NamesFound((), (3.0, "run3"))
    assert search(compiled("[12]"), rows, 2).stopped_at is None
    monkeypatch.setattr(name_search, "MAX_NAMES", sys.maxsize)
    monkeypatch.setattr(name_search, "MAX_WORK", 20)
    stopped = search(nines, rows, 5).stopped_at
    assert stopped is not None
    assert stopped < rows[-1][:2]
