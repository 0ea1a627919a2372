from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch

from mentorgrad.domain.advice import ProposalStatus
from mentorgrad.domain.objective import LabelPrompt
from tests.support.numerics import encoder, tiny_encoder, tiny_task
from trainer_service.encoding.token_table import TokenTable
from trainer_service.objectives.prompt_language import PromptLanguage
from trainer_service.objectives.text_words import TextWords
from trainer_service.protocols import ProposalRejected, RandomWords
from trainer_service.tasks.data import Row


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(texts: list[str], tokens: TokenTable, n_tokens: int, count: int = 50) -> list[str]:
    words = TextWords(texts, tokens, n_tokens)
    assert words.draw(generator(1)) == words.draw(generator(1))
    return [words.draw(generator(seed)) for seed in range(count)]


def test_words_are_drawn_alike_whatever_their_frequency() -> None:
    tokens = tiny_encoder("bert").tokens
    texts = ["good good good, good bad!", "12 good_bad 3 movie."]
    counts = Counter(word for text in drawn(texts, tokens, 2, 300) for word in text.split())
    assert set(counts) == {"good", "bad", "movie"}
    assert all(150 < count < 250 for count in counts.values())


@pytest.mark.parametrize("n_tokens", [1, 2, 5, 12])
def test_as_many_are_drawn_as_fit(n_tokens: int) -> None:
    tokens = encoder().tokens
    text = "My e-mail doesn't arrive thermodynamically the refund went to Übersee"
    found = drawn([text.replace(" the", "; the")], tokens, n_tokens)
    assert {len(tokens.token_ids(prompt)) for prompt in found} == {n_tokens}
    words = {word for prompt in found for word in prompt.split()}
    assert words <= set(text.split())
    assert ({"e-mail", "doesn't", "Übersee"} <= words) is (n_tokens > 3)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_a_word_that_the_model_does_not_know_is_never_drawn(kind: str) -> None:
    tokens = tiny_encoder(kind).tokens
    texts = drawn(["good 感 film"], tokens, 4)
    for text in texts:
        assert not tokens.special_ids.intersection(tokens.token_ids(text))
        assert len(tokens.token_ids(text)) <= 4
    assert "good" in " ".join(texts)


@pytest.mark.parametrize("texts", [[], ["", "12 34 !"], ["thermodynamically"]])
def test_texts_without_a_word_that_fits_say_so(texts: list[str]) -> None:
    with pytest.raises(ProposalRejected) as caught:
        TextWords(texts, encoder().tokens, 1).draw(generator())
    assert caught.value.status is ProposalStatus.EMPTY
    assert "at most 1 tokens" in caught.value.detail


def test_the_default_is_the_languages_own() -> None:
    under = tiny_encoder("bert")

    def language(**fields: Any) -> PromptLanguage:
        shape = (3, under.tokens.width)
        spec = LabelPrompt(n_tokens=3)
        task = replace(tiny_task(), train=(Row("good film", 0),))
        return PromptLanguage(spec, under.tokens, shape, under.encode, "", task, **fields)

    def words(language: PromptLanguage, *given: RandomWords) -> set[str]:
        texts = [language.random_proposal(generator(seed), *given).text for seed in range(30)]
        return set(" ".join(texts).split())

    vocabulary, of_texts = language(), language(random_words=RandomWords.TRAIN_TEXTS)
    assert len(words(vocabulary)) > 10
    assert words(of_texts) == words(vocabulary, RandomWords.TRAIN_TEXTS) == {"good", "film"}
    assert words(of_texts, RandomWords.VOCABULARY) == words(vocabulary)
