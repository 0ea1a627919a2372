"""The helper behind all callbacks, on a model of a few weights and a mentor that says what it is
told to."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoTokenizer

from mentorgrad.domain.advice import AnswerStatus, ProposalStatus
from mentorgrad.domain.run import CandidateSource, Score
from mentorgrad.domain.spec import Policy
from mentorgrad.errors import InvalidInput
from mentorgrad.integrations.torch import (
    AdvisedPrompt,
    Rules,
    Words,
    batch_losses,
    check_scoring,
    mean_loss,
)
from mentorgrad.integrations.words import Rejected
from tests.support import tiny_models
from tests.support.told_session import Session

WIDTH = 16


@pytest.fixture(scope="module", params=["bert", "roberta"])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tiny_models.make(tmp_path_factory.mktemp("model"), request.param)
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def words(tokenizer: Any) -> Words:
    torch.manual_seed(0)
    return Words(torch.randn(len(tokenizer), WIDTH), tokenizer)


def vectors_of(words: Words, text: str) -> Tensor:
    count = len(text.split())
    return words.embed(text, torch.zeros(count, WIDTH))


def test_words_there_and_back(words: Words) -> None:
    vectors = vectors_of(words, "warm bread money")
    assert words.project(3.0 * vectors) == "warm bread money"
    start = torch.ones(3, WIDTH)
    assert words.toward(start, start + 0.1 * vectors) == "warm bread money"
    still = torch.cat([vectors[:1], start[1:] + 0.1 * vectors[1:]])
    assert words.toward(torch.cat([vectors[:1], start[1:]]), still) == "warm bread money"


def test_what_a_proposal_does_not_fill_stays(words: Words) -> None:
    around = torch.randn(4, WIDTH)
    found = words.embed("  rain sun ", around)
    assert torch.equal(found[2:], around[2:])
    assert torch.equal(found[:2], vectors_of(words, "rain sun"))
    for text, status in ((" ", ProposalStatus.EMPTY), ("good bad " * 4, ProposalStatus.TOO_LONG)):
        with pytest.raises(Rejected) as rejected:
            words.embed(text, around)
        assert rejected.value.status is status


class Loop:
    """A prompt of two vectors whose loss is its distance to the vectors of two words; and a second
    parameter in the same optimizer, that no race may move."""

    def __init__(self, words: Words, goal: str = "warm bread") -> None:
        self.words = words
        self.goal = vectors_of(words, goal)
        self.prompt = vectors_of(words, "cold cheese").requires_grad_()
        self.other = torch.ones(3, requires_grad=True)
        self.optimizer = torch.optim.AdamW([self.prompt, self.other], lr=0.05)
        for _ in range(3):  # moments of both
            self.optimizer.zero_grad()
            (self.loss() + self.other.square().sum()).backward()
            self.optimizer.step()
        self.other_before = self.other.detach().clone()

    def loss(self) -> Tensor:
        return (self.prompt - self.goal).square().mean()

    def losses(self) -> Iterator[Tensor]:
        while True:
            yield self.loss()

    def advised(self, session: Session, *, race: bool = True, **rules: Any) -> AdvisedPrompt:
        fast = {"stage_steps": 4, "finalists": 2, "probe_steps": 3} | rules
        return AdvisedPrompt(
            session,  # type: ignore[arg-type]
            self.prompt,
            self.words,
            self.optimizer,
            score=lambda: Score(self.loss().item(), None, 5),
            losses=self.losses if race else None,
            rules=Rules(**fast),
        )

    def age(self) -> float:
        """Steps that the prompt's moments have seen."""
        return (
            float(self.optimizer.state[self.prompt]["step"])
            if self.prompt in self.optimizer.state
            else 0.0
        )


def test_the_best_branch_of_a_race_goes_on_with_its_moments(words: Words) -> None:
    loop, session = Loop(words), Session("rain sun", "warm bread", "good bad", "", "warm bread")
    advised = loop.advised(session)
    assert advised.consult()
    assert advised.restarts == 1
    assert words.project(loop.prompt) == "warm bread"
    assert loop.age() == 3.0  # a fresh start, and the probe steps
    assert torch.equal(loop.other, loop.other_before)
    assert session.statuses["p1"] is ProposalStatus.APPLIED
    assert sorted(session.statuses.values()).count(ProposalStatus.LOST) == 1
    assert session.statuses["p3"] is ProposalStatus.EMPTY
    assert session.statuses["p4"] is ProposalStatus.DUPLICATE
    assert session.facts["policy"] is Policy.RACE
    assert session.facts["probe_steps"] == 9
    incumbent, in_words, *proposals = session.candidates
    assert incumbent.source is CandidateSource.SNAPSHOT
    assert in_words.source is CandidateSource.PROJECTION
    assert incumbent.text == in_words.text
    assert [p.candidate_id for p in proposals] == ["p0", "p1", "p2"]


def test_a_prompt_that_stays_best_goes_on_as_if_it_had_raced_alone(words: Words) -> None:
    loop = Loop(words, goal="cold cheese")
    alone = Loop(words, goal="cold cheese")
    session = Session("rain sun")
    assert not loop.advised(session).consult()
    for _ in range(3):
        alone.optimizer.zero_grad()
        alone.loss().backward()
        alone.other.grad = None
        alone.optimizer.step()
    assert torch.equal(loop.prompt, alone.prompt)
    assert loop.age() == alone.age() == 6.0
    assert session.statuses == {"p0": ProposalStatus.LOST}
    assert session.facts["incumbent_probe_loss"] == pytest.approx(loop.loss().item())


@pytest.mark.parametrize(("text", "restarts"), [("warm bread", True), ("rain sun", False)])
def test_without_a_race_words_are_compared_with_words(
    words: Words, text: str, restarts: bool
) -> None:
    loop = Loop(words) if restarts else Loop(words, goal="cold cheese")
    before = loop.prompt.detach().clone()
    session = Session(text)
    assert loop.advised(session, race=False).consult() is restarts
    assert torch.equal(loop.prompt, before) is not restarts
    assert loop.age() == (0.0 if restarts else 3.0)
    expected = ProposalStatus.APPLIED if restarts else ProposalStatus.NOT_CHOSEN
    assert session.statuses == {"p0": expected}
    assert session.facts["policy"] is Policy.BEST_OF


@pytest.mark.parametrize(
    "session", [Session(status=AnswerStatus.UNAVAILABLE), Session("good bad sun rain")]
)
def test_without_a_proposal_nothing_changes(words: Words, session: Session) -> None:
    loop = Loop(words)
    before = loop.prompt.detach().clone()
    assert not loop.advised(session).consult()
    assert torch.equal(loop.prompt, before)
    assert loop.age() == 3.0
    assert ProposalStatus.APPLIED not in session.statuses.values()
    assert session.facts["reason"]


def test_a_score_that_fails_leaves_the_prompt_as_it_was(words: Words) -> None:
    loop = Loop(words)
    before = loop.prompt.detach().clone()
    advised = loop.advised(Session("warm bread"))
    calls = 0

    def score() -> Score:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise RuntimeError("out of memory")
        return Score(1.0)

    advised._score = score
    with pytest.raises(RuntimeError):
        advised.consult()
    assert torch.equal(loop.prompt, before)


def test_a_proposal_without_a_finite_loss_is_out_of_bounds(words: Words) -> None:
    loop, session = Loop(words), Session("warm bread")
    advised = loop.advised(session)
    advised._score = lambda: Score(math.nan)
    assert not advised.consult()
    assert session.statuses == {"p0": ProposalStatus.OUT_OF_BOUNDS}


@pytest.mark.parametrize("race", [True, False])
def test_a_prompt_that_has_diverged_is_left_for_a_proposal(words: Words, race: bool) -> None:
    loop, session = Loop(words), Session("rain sun")
    with torch.no_grad():
        loop.prompt.fill_(math.nan)
    assert loop.advised(session, race=race).consult()
    assert bool(loop.prompt.isfinite().all())
    assert session.statuses == {"p0": ProposalStatus.APPLIED}


def test_every_stage_ends_by_asking(words: Words) -> None:
    loop, session = Loop(words), Session("warm bread")
    advised = loop.advised(session)
    restarted = [step for step in range(1, 9) if advised.step(step, loop.loss())]
    assert restarted == [4, 8]
    assert [step for step, _ in session.pushed] == list(range(1, 9))
    assert session.pushed[4][1] == "warm bread"


def test_a_mean_over_rows_leaves_the_modes_alone() -> None:
    model = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Dropout(0.5))
    model[1].eval()
    seen: list[bool] = []

    def loss(batch: Tensor) -> Tensor:
        seen.append(model[0].training)
        return batch.mean()

    score = mean_loss(model, loss, [torch.ones(3), torch.full((1,), 5.0)])
    assert score == Score(2.0, None, 4)
    assert seen == [False, False]
    assert (model.training, model[0].training, model[1].training) == (True, True, False)


def test_batches_of_a_race_go_round_and_are_drawn_by_seed() -> None:
    loader = torch.utils.data.DataLoader(list(range(5)), 2)  # type: ignore[arg-type]

    def drawn() -> list[list[int]]:
        torch.manual_seed(3)
        found = batch_losses(lambda batch: batch, loader, 2)
        return [next(found).tolist() for _ in range(6)]

    first = drawn()
    assert first == drawn()
    assert sorted(row for batch in first[:3] for row in batch) == list(range(5))
    assert len(first[5]) == 1


class Stream(torch.utils.data.IterableDataset):  # type: ignore[type-arg]
    """Yields numbers; once only, or again each time."""

    def __init__(self, count: int, again: bool = True) -> None:
        self._count, self._again, self._begun = count, again, False

    def __iter__(self) -> Iterator[int]:
        is_spent, self._begun = self._begun and not self._again, True
        return iter(range(0 if is_spent else self._count))


def test_batches_of_a_stream_keep_its_order_and_begin_again() -> None:
    loader = torch.utils.data.DataLoader(Stream(5), 2)
    found = batch_losses(lambda batch: batch, loader, 2)
    assert [next(found).tolist() for _ in range(5)] == [[0, 1], [2, 3], [4], [0, 1], [2, 3]]
    whole = torch.utils.data.DataLoader(Stream(2), None)  # its items are batches
    found = batch_losses(torch.as_tensor, whole, 2)
    assert [next(found).tolist() for _ in range(3)] == [0, 1, 0]


@pytest.mark.parametrize("stream", [Stream(0), Stream(1, again=False)])
def test_a_stream_that_cannot_begin_again_is_refused(stream: Stream) -> None:
    loader = torch.utils.data.DataLoader(stream, 2)
    with pytest.raises(InvalidInput, match="iterate it again"):
        list(batch_losses(lambda batch: batch, loader, 2))


def test_a_prompt_that_is_not_trained_is_refused(words: Words) -> None:
    loop = Loop(words)
    loop.optimizer = torch.optim.AdamW([loop.other])
    with pytest.raises(InvalidInput, match="among the parameters of the optimizer"):
        loop.advised(Session())
    loop.prompt.requires_grad_(False)
    with pytest.raises(InvalidInput, match="must require a gradient"):
        loop.advised(Session())


def test_what_scores_only_once_or_never_is_refused() -> None:
    batches = [torch.zeros(2, 1)]
    for wrong, said in (((), "must have batches"), (iter(batches), "iterated again")):
        with pytest.raises(InvalidInput, match=said):
            check_scoring(None, wrong)
        check_scoring(lambda: Score(0.0), wrong)
    check_scoring(None, batches)
    check_scoring(None, torch.utils.data.DataLoader(Stream(2), 2))


# peft asks transformers for a name that it deprecates.
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
def test_a_model_without_prompt_tuning_is_refused() -> None:
    from peft import LoraConfig, PromptTuningConfig, get_peft_model
    from transformers import BertConfig, BertModel

    from mentorgrad.integrations.huggingface import soft_prompt

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = BertModel(BertConfig(vocab_size=30, intermediate_size=16, **sizes))
    for wrong in (model, get_peft_model(model, LoraConfig(target_modules=["query"]))):
        with pytest.raises(InvalidInput, match="prompt tuning"):
            soft_prompt(wrong)
    tuned = get_peft_model(
        BertModel(BertConfig(vocab_size=30, intermediate_size=16, **sizes)),
        PromptTuningConfig("FEATURE_EXTRACTION", num_virtual_tokens=5),
    )
    assert soft_prompt(tuned).shape == (5, 16)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
def test_batches_without_labels_are_named(tokenizer: Any) -> None:
    from peft import PromptTuningConfig, get_peft_model
    from transformers import BertConfig, BertForSequenceClassification

    from mentorgrad.integrations.huggingface import MentorCallback

    sizes = {"hidden_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(vocab_size=len(tokenizer), intermediate_size=16, **sizes)
    model = get_peft_model(
        BertForSequenceClassification(config), PromptTuningConfig("SEQ_CLS", num_virtual_tokens=2)
    )
    callback = MentorCallback(
        Session(),  # type: ignore[arg-type]
        [dict(tokenizer(["warm bread"], return_tensors="pt"))],
    )
    callback.on_train_begin(
        SimpleNamespace(train_batch_size=2),
        None,
        None,
        model=model,
        train_dataloader=None,
        optimizer=torch.optim.AdamW(model.parameters()),
        processing_class=tokenizer,
    )
    assert callback.advised is not None
    with pytest.raises(InvalidInput, match="it needs labels"):
        callback.advised.consult()
