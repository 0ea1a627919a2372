from __future__ import annotations

import random

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mentor_service import formats, grammars
from mentorgrad.domain.advice import Constraints, ProposalKind
from tests.support import gbnf


def test_word_lines_number_every_line_and_bound_the_words() -> None:
    assert grammars.word_lines(2, 3) == (
        'root ::= "1. " line "2. " line\n'
        'line ::= word (" " word){0,2} "\\n"\n'
        "word ::= [A-Za-z] [a-z]{0,15}\n"
    )


def test_one_word_needs_no_repetition() -> None:
    assert 'line ::= word "\\n"' in grammars.word_lines(1, 1, min_words=2)


def test_only_some_words_can_be_allowed() -> None:
    assert grammars.word_lines(1, 2, words=("tall", "ship", "tall")).endswith(
        'word ::= "ship" | "tall"\n'
    )


def test_patterns_fix_words_and_leave_others_open() -> None:
    grammar = grammars.pattern_lines(1, [("a", None), ("a", ("tall", "ship"))], words=("sea",))
    assert {gbnf.write(grammar, random.Random(seed)) for seed in range(50)} == {
        "1. a sea\n",
        "1. a ship\n",
        "1. a tall\n",
    }


def test_a_sentence_is_one_line_that_ends() -> None:
    for seed in range(50):
        said = gbnf.write(grammars.sentence(40), random.Random(seed))
        assert 10 <= len(said) <= 42
        assert said.endswith(".")
        assert "\n" not in said


@given(
    lower=st.floats(-1e4, 0) | st.sampled_from([-5.12, -500.0, -30.0, 0.0, -0.5]),
    upper=st.floats(0.01, 1e4) | st.sampled_from([5.12, 500.0, 30.0, 3.14159, 1.0, 10.0]),
    dimensions=st.integers(1, 10),
    seed=st.integers(0, 2**32),
)
def test_what_a_grammar_of_numbers_allows_is_within_the_bounds(
    lower: float, upper: float, dimensions: int, seed: int
) -> None:
    limits = Constraints(kind=ProposalKind.NUMBERS, dimensions=dimensions, lower=lower, upper=upper)
    form = formats.number_format(limits)
    said = gbnf.write(grammars.number_lines(3, limits), random.Random(seed))
    lines = said.rstrip("\n").split("\n")
    assert len(lines) == 3
    slack = 10.0**-form.decimals  # the bounds are written with so many decimals
    for line in lines:
        values = [float(part) for part in line.split()[1:]]
        assert len(values) == dimensions
        assert all(lower - slack <= value <= upper + slack for value in values)


@pytest.mark.slow
@pytest.mark.parametrize("upper", [5.12, 0.25, 512.0])
def test_a_grammar_of_numbers_reaches_all_of_the_bounds(upper: float) -> None:
    limits = Constraints(kind=ProposalKind.NUMBERS, dimensions=1, lower=-upper, upper=upper)
    grammar = grammars.number_lines(1, limits)
    drawn = [float(gbnf.write(grammar, random.Random(seed)).split()[1]) for seed in range(200)]
    assert max(drawn) > 0.9 * upper
    assert min(drawn) < -0.9 * upper
    assert any(abs(value) < 0.2 * upper for value in drawn)


def test_numbers_have_no_sign_where_they_cannot_be_negative() -> None:
    limits = Constraints(kind=ProposalKind.NUMBERS, dimensions=2, lower=0, upper=1)
    assert '"-"' not in grammars.number_lines(1, limits)


@pytest.mark.parametrize(
    ("upper", "written"), [(5.12, "0.123"), (100.0, "0.1"), (1e6, "0.1"), (0.01, "0.12346")]
)
def test_numbers_get_digits_that_fit_the_bounds(upper: float, written: str) -> None:
    form = formats.number_format(Constraints(dimensions=1, lower=-upper, upper=upper))
    assert form.write(0.1234567)[: len(written)] == written
    assert len(form.write(upper).partition(".")[0]) <= form.whole


def test_the_schema_accepts_what_the_code_writes_and_nothing_else() -> None:
    schema = grammars.reply_schema(ProposalKind.TEXT)
    jsonschema.validate({"proposals": [{"rationale": "r", "text": "t"}]}, schema)
    for wrong in ({}, {"proposals": [{"text": "t"}]}, {"proposals": ["t"]}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)
    numbers = grammars.reply_schema(ProposalKind.NUMBERS)
    jsonschema.validate({"proposals": [{"rationale": "", "values": [1, 2.5]}]}, numbers)


@pytest.mark.parametrize("kind", list(ProposalKind))
def test_schemas_hold_nothing_that_servers_fail_on(kind: ProposalKind) -> None:
    text = str(grammars.reply_schema(kind))
    assert not any(word in text for word in ("maxLength", "maxItems", "minItems", "pattern"))
