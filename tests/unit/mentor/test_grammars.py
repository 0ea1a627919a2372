from __future__ import annotations

import jsonschema
import pytest

from mentor_service import formats, grammars
from mentorgrad.model.advice import Constraints, ProposalKind


def test_word_lines_number_every_line_and_bound_the_words() -> None:
    assert grammars.word_lines(2, 3) == (
        'root ::= "1. " line "2. " line\n'
        'line ::= word (" " word){0,2} "\\n"\n'
        "word ::= [A-Za-z] [a-z]{0,15}\n"
    )


def test_one_word_needs_no_repetition() -> None:
    assert 'line ::= word "\\n"' in grammars.word_lines(1, 1, min_words=2)


def test_number_lines_have_signs_only_where_numbers_may_be_negative() -> None:
    limits = Constraints(kind=ProposalKind.NUMBERS, dimensions=2, lower=-30, upper=30)
    assert 'number ::= "-"? [0-9]{1,2} "." [0-9]{1,2}' in grammars.number_lines(1, limits)
    positive = Constraints(kind=ProposalKind.NUMBERS, dimensions=1, lower=0, upper=1)
    assert '"-"' not in grammars.number_lines(1, positive)


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
