"""Texts at the beginning of a line, as tokens and back."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mentorgrad.domain.advice import Proposal, ProposalRequest, ProposalStatus
from mentorgrad.domain.run import Candidate
from tests.support.numerics import causal, hints_at, objective, tiny_causal
from trainer_service.encoding.line_tokens import LineTokens
from trainer_service.encoding.projection import Vocabulary
from trainer_service.mentors.controls import build_control
from trainer_service.protocols import ProposalRejected, RandomWords, Scored


def tokens() -> LineTokens:
    return tiny_causal().tokens


def written(ids: Sequence[int]) -> str:
    return str(tiny_causal().tokenizer.decode(ids, clean_up_tokenization_spaces=False))


def whole_words() -> Vocabulary:
    return Vocabulary.of(tokens(), whole_words=True)


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_texts_come_back_as_they_are(text: str) -> None:
    ids = tokens().plain_ids(text)
    assert written(ids) == text
    begun = tokens().token_ids(text)
    assert written(begun) == text
    assert tokens().text_of(begun).strip("\n") == text.strip("\n")


@given(text=st.text("good bad.\n", max_size=20))
def test_a_text_has_the_tokens_that_it_has_behind_a_line_break(text: str) -> None:
    line = tokens().plain_ids(f"\n{text}")
    expected = line[1:] if line[0] == tokens().filler_id else tokens().plain_ids(text)
    assert tokens().token_ids(text) == expected


def test_a_space_at_the_start_counts() -> None:
    spaced, bare = tokens().token_ids(" good film"), tokens().token_ids("good film")
    assert spaced[1:] == bare[-1:]
    assert spaced[0] != bare[0]
    assert tokens().text_of(spaced) == " good film"
    assert tokens().text_of(bare) == "good film"


def test_the_filler_is_a_line_break_and_no_text() -> None:
    filler = tokens().filler_id
    assert written([filler]) == "\n"
    assert tokens().text_of([filler, filler, *tokens().token_ids(" good")]) == " good"
    assert tokens().text_of([filler] * 3) == ""


@pytest.mark.parametrize(
    ("beginning", "text", "alone"),
    [("Answer:", " good", False), ("a", "\nAnswer:", False), ("good mo", "vie", True)],
)
def test_a_text_that_continues_another_is_tokenised_with_it(
    beginning: str, text: str, alone: bool
) -> None:
    table = tokens()
    ids = table.continued_ids(beginning, text)
    assert written(ids) == text
    whole = table.plain_ids(beginning + text)
    assert (table.plain_ids(beginning) + ids == whole) is not alone


# -- words ------------------------------------------------------------------------------------


@given(seed=st.integers(0, 10_000))
@settings(max_examples=60)
def test_a_text_of_whole_words_has_a_token_per_word(seed: int) -> None:
    """In any order: a token without a space in front may be the end of a word."""
    ids = whole_words().ids
    chosen = ids[torch.randint(len(ids), (5,), generator=torch.Generator().manual_seed(seed))]
    text = tokens().joint.join(whole_words().words[token] for token in chosen.tolist())
    assert tokens().token_ids(text) == chosen.tolist()
    assert len(text.split()) == 5


def test_whole_words_begin_with_a_space() -> None:
    words = whole_words().words.values()
    assert len(words) > 50
    assert all(word.startswith(tokens().word_lead) for word in words)


def test_random_words_of_the_vocabulary_fill_the_prompt() -> None:
    built = objective("causal_prompt")
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        proposal = built.language.random_proposal(generator, RandomWords.VOCABULARY)
        assert len(proposal.text.split()) == 3
        assert len(tokens().token_ids(proposal.text)) == 3


def test_hinted_words_fit_the_prompt() -> None:
    built = causal(n_tokens=6)
    start = built.language.initial(torch.Generator().manual_seed(3))
    hints = hints_at(built, start, torch.arange(4), 4)
    base = Scored(Candidate("c"), start)
    request = ProposalRequest("s0", count=30, seed=3, hints=hints)
    answer = build_control("hint_tokens", built.language).propose(request, base, [base])
    allowed = [{token.token for token in hint.tokens} for hint in hints]
    for proposal in answer.proposals:
        built.language.embed(proposal, start)
        words = proposal.text.split()
        assert [word in some for word, some in zip(words, allowed, strict=True)] == [True] * 6


def test_a_short_proposal_stands_at_the_end_behind_line_breaks() -> None:
    built = causal(n_tokens=5)
    start = built.language.initial(torch.Generator().manual_seed(0))
    embedded = built.language.embed(Proposal(text="good film."), start)
    (words,) = built.language.project(embedded.parameters[None])
    written = tokens().token_ids("good film.")
    assert words.text == "good film."
    assert words.ids == (*[tokens().filler_id] * (5 - len(written)), *written)
    assert embedded.filled == tuple(range(5)), "nothing of the incumbent is left"
    for text in (" ", "\n\n", ""):
        with pytest.raises(ProposalRejected) as caught:
            built.language.embed(Proposal(text=text), start)
        assert caught.value.status is ProposalStatus.EMPTY


@given(text=st.text("a good🦋ü\n ", min_size=1, max_size=20), count=st.integers(1, 25))
def test_a_shortened_text_is_a_beginning_of_it(text: str, count: int) -> None:
    kept = tokens().shortened(text, count)
    assert text.startswith(kept)
    assert len(kept) < len(text)
    ids = tokens().plain_ids(text)
    assert written(ids[: max(len(ids) - count, 0)]).startswith(kept)
