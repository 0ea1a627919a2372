"""The scores of labels are those of the model's own passes over each whole input."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mentorgrad.domain.objective import Calibration, CausalPrompt, PromptPosition
from tests.support.numerics import (
    CPU,
    NESTED,
    ONE_TOKEN,
    built_on,
    causal_on,
    causal_task,
    oracle,
    tiny_causal,
)
from tests.support.tiny_models import make_causal
from trainer_service.encoding.causal_model import CausalModel
from trainer_service.objectives.calibration import calibrated, matched_prior
from trainer_service.objectives.causal_prompt.problem import CausalPromptProblem
from trainer_service.objectives.causal_prompt.scorer import Block
from trainer_service.objectives.causal_prompt.text_states import Context
from trainer_service.objectives.torch_free import CONTENT_FREE_TEXTS
from trainer_service.protocols import Objective
from trainer_service.running.stop_control import Stop, StopKind
from trainer_service.tasks.data import Row, Split, TaskData

MIXED = (
    Row("good film", 1),
    Row("the movie was good and the actor was great, and the plot was not", 0),
    Row("x", 0),
    Row("a dull film with a poor plot, a slow story. Is it good?\nNo.", 1),
    Row("rain", 1),
)
"""Of very different lengths."""
CLOSE: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-5}


def built(
    kind: str = "llama", labels: tuple[str, ...] = ONE_TOKEN, **fields: Any
) -> tuple[Objective, CausalModel]:
    task = replace(causal_task(labels), train=MIXED[::-1], selection=MIXED, test=MIXED[:3])
    if fields.get("demonstrations"):
        task = replace(task, train=tuple(Row(f"{i} film", i % len(labels)) for i in range(16)))
    model = tiny_causal(kind)
    return causal_on(task, model, **fields), model


def problem_of(made: Objective) -> CausalPromptProblem:
    assert isinstance(made.problem, CausalPromptProblem)
    return made.problem


def points(made: Objective, count: int = 3) -> Tensor:
    return torch.stack(
        [
            made.language.random_parameters(
                torch.Generator().manual_seed(seed), torch.zeros(made.shape)
            )
            for seed in range(count)
        ]
    )


def scores(made: Objective, many: Tensor, rows: Tensor, split: Split = Split.SELECTION) -> Tensor:
    """Log-probabilities among the labels."""
    return made.problem.logits(many, split, rows).log_softmax(-1)  # type: ignore[attr-defined]


def expected(made: Objective, model: CausalModel, many: Tensor, row: Row) -> Tensor:
    """One pass of transformers per label over word vectors in one piece, without padding, for each
    of several points."""
    inputs, found = problem_of(made)._inputs, []
    own, size = inputs.own_ids(row), (len(many), -1, -1)
    for label in inputs.tree.labels:
        front, behind = ([*inputs.opening, *own], inputs.tail) if inputs.is_after else ([], own)
        vectors = torch.cat(
            [
                model.tokens.vectors[torch.tensor(front, dtype=torch.int64)].expand(*size),
                many,
                model.tokens.vectors[torch.tensor([*behind, *label])].expand(*size),
            ],
            dim=1,
        )
        logits = model.network(inputs_embeds=vectors).logits[:, -len(label) - 1 : -1]
        steps = logits.log_softmax(-1)[:, torch.arange(len(label)), torch.tensor(label)]
        found.append(steps.sum(-1))
    return torch.stack(found, dim=-1).log_softmax(-1)


CASES: dict[str, dict[str, Any]] = {
    "after": {},
    "tree": {"labels": NESTED},
    "shown": {"demonstrations": 1},
    "tree_shown": {"demonstrations": 1, "labels": NESTED},
    "tail": {"template": "{text} is\n{prompt}\nAnswer: {label}"},
    "before": {"position": PromptPosition.BEFORE_TEXT},
    "before_inline": {
        "position": PromptPosition.BEFORE_TEXT,
        "template": "{prompt} {text} = {label}",
    },
    "before_tree_shown": {
        "position": PromptPosition.BEFORE_TEXT,
        "labels": NESTED,
        "demonstrations": 1,
    },
}
"""Objectives by what is special about them."""

TRIED = {(0, 0), (0, 1), (0, 2), (0, 3), (1, 1)}
KINDS = [
    pytest.param(kind, case, marks=pytest.mark.campaign if (row, column % 4) not in TRIED else ())
    for row, kind in enumerate(("llama", "gpt2", "qwen2", "granite"))
    for column, case in enumerate(CASES)
]
"""Every case with the first kind of model, and two with one whose positions are learned."""


@pytest.mark.parametrize(("kind", "case"), KINDS)
def test_scores_do_not_depend_on_how_they_are_computed(kind: str, case: str) -> None:
    """Alone, in a padded batch of mixed lengths, with kept and recomputed keys and values, and
    several prompts at once."""
    made, model = built(kind, **CASES[case])
    many, rows = points(made), torch.arange(len(MIXED))
    together = scores(made, many, rows)
    assert torch.isfinite(together).all()
    assert together.std() > 1e-2
    with torch.no_grad():
        for row, found in zip(MIXED, together.unbind(1), strict=True):
            torch.testing.assert_close(found, expected(made, model, many, row), **CLOSE)
    alone = torch.cat([scores(made, many, row[None]) for row in rows], dim=1)
    torch.testing.assert_close(alone, together, **CLOSE)
    each = torch.cat([scores(made, point[None], rows) for point in many])
    torch.testing.assert_close(each, together, **CLOSE)
    anew, _ = built(kind, state_bytes=0, **CASES[case])
    assert problem_of(anew).kept_rows[Split.SELECTION] == 0
    torch.testing.assert_close(scores(anew, many, rows), together, **CLOSE)
    torch.testing.assert_close(scores(anew, many, rows[2:3]), together[:, 2:3], **CLOSE)
    shuffled = torch.tensor([3, 0, 4])
    torch.testing.assert_close(scores(made, many, shuffled), together[:, shuffled], **CLOSE)


@pytest.mark.parametrize("position", PromptPosition)
def test_pairs_of_texts_are_scored_together(position: PromptPosition) -> None:
    model = tiny_causal()
    rows = tuple(
        replace(row, pair=other.text) for row, other in zip(MIXED, MIXED[::-1], strict=True)
    )
    made = causal_on(TaskData("t", "d", ONE_TOKEN, rows, rows, ()), model, position=position)
    point = points(made, 1)
    found = scores(made, point, torch.arange(len(rows)))[0]
    with torch.no_grad():
        for row, mine in zip(rows, found, strict=True):
            torch.testing.assert_close(mine, expected(made, model, point, row)[0], **CLOSE)
    assert made.problem.untuned_logits(Split.SELECTION) is not None


def test_a_chat_is_scored_up_to_the_beginning_of_the_reply(tmp_path: Path) -> None:
    model = CausalModel(make_causal(tmp_path, bos=True), CPU)
    model.tokenizer.chat_template = (
        "{% for m in messages %}<s>{{ m.role }}: {{ m.content }}\n{% endfor %}bot: "
    )
    task = TaskData("t", "d", NESTED, MIXED, MIXED, ())
    made = causal_on(task, model, chat_template=True)
    point = points(made, 1)
    found = scores(made, point, torch.arange(len(MIXED)))[0]
    with torch.no_grad():
        for row, mine in zip(MIXED, found, strict=True):
            torch.testing.assert_close(mine, expected(made, model, point, row)[0], **CLOSE)


@pytest.mark.parametrize("position", PromptPosition)
def test_in_bfloat16_kept_and_recomputed_texts_are_rounded_alike(
    tmp_path: Path, position: PromptPosition
) -> None:
    model = CausalModel(make_causal(tmp_path), CPU, "bfloat16")
    task = TaskData("t", "d", NESTED, MIXED, MIXED, ())
    kept, anew = (
        causal_on(task, model, state_bytes=most, position=position) for most in (1 << 30, 0)
    )
    many, rows = points(kept), torch.arange(len(MIXED))
    found, again = scores(kept, many, rows), scores(anew, many, rows)
    torch.testing.assert_close(found, again, rtol=0.05, atol=0.05)
    exact, _ = built(labels=NESTED, position=position)
    torch.testing.assert_close(found, scores(exact, many, rows), rtol=0.1, atol=0.1)
    losses, gradients = kept.problem.gradients(many, rows[:3])
    assert losses.dtype is gradients.dtype is torch.float32
    assert torch.isfinite(gradients).all()


@pytest.mark.parametrize("case", ["tree", "shown", "before"])
def test_gradients_are_those_of_the_models_own_pass(case: str) -> None:
    made, model = built(**CASES[case])
    point = points(made, 1).requires_grad_()
    assert made.problem.task is not None
    train = made.problem.task.train[:3]
    own = torch.stack([expected(made, model, point, row)[0] for row in train])
    labels = torch.tensor([row.label for row in train])
    loss = torch.nn.functional.nll_loss(own, labels)
    (slope,) = torch.autograd.grad(loss, point)
    losses, gradients = made.problem.gradients(point.detach(), torch.arange(3))
    torch.testing.assert_close(losses[0], loss.detach(), **CLOSE)
    torch.testing.assert_close(gradients, slope, rtol=1e-4, atol=1e-5)
    assert float(slope.abs().max()) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("case", ["tree", "shown", "before"])
def test_derivatives_in_forward_mode_are_slopes_along_the_direction(case: str) -> None:
    made, _ = built(**CASES[case])
    point, rows = points(made, 1)[0], torch.arange(3)
    direction = torch.randn(point.shape, generator=torch.Generator().manual_seed(1))
    asked = oracle(made, rows, passes=6)
    loss, slope = asked.derivative(point, direction)
    expected_loss, gradient = asked.gradient(point)
    torch.testing.assert_close(loss, expected_loss, **CLOSE)
    torch.testing.assert_close(slope, (gradient * direction).sum(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(asked.losses(point[None])[0], loss, **CLOSE)


@pytest.mark.parametrize("most", [0, 6, 1 << 30])
def test_keys_and_values_are_kept_up_to_a_number_of_bytes(most: int) -> None:
    """The train rows come first, then the selection rows; test rows at the end of the run."""
    per_token = problem_of(built()[0])._states.token_bytes
    lengths = [len(problem_of(built()[0])._inputs.own_ids(row)) for row in MIXED]
    made, _ = built(state_bytes=most * per_token * min(lengths))
    problem = problem_of(made)
    many = points(made)
    before = problem.kept_rows
    assert set(before) == {Split.TRAIN, Split.SELECTION}
    kept = sum(store.bytes for store in problem._states._stores.values())
    assert kept <= most * per_token * min(lengths)
    whole, _ = built()
    assert made.problem.score(many)[0].loss == pytest.approx(whole.problem.score(many)[0].loss)
    made.problem.test(many[0])
    assert problem.kept_rows[Split.TRAIN] == before[Split.TRAIN]
    assert sum(store.bytes for store in problem._states._stores.values()) <= max(
        most * per_token * min(lengths), 0
    )
    if most > 6:
        assert problem.kept_rows == {Split.TRAIN: 5, Split.SELECTION: 5, Split.TEST: 3}


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({}, "between the text and {label}"),
        ({"template": "{text}\n{prompt}\n = {label}"}, "between the text and the answer"),
        ({"position": PromptPosition.BEFORE_TEXT}, "in front of the text"),
    ],
)
def test_a_mentor_is_told_what_follows_a_line(fields: dict[str, Any], place: str) -> None:
    card = built(**fields)[0].card
    assert card.place == place
    assert card.proposal.startswith("a line that stands ")
    assert "{label}" not in card.proposal


# -- fillers in front of words -----------------------------------------------------------------


def with_fillers(made: Objective, counts: Sequence[int]) -> Tensor:
    """Prompts that begin with so many fillers each."""
    many = points(made, len(counts))
    tokens = problem_of(made)._inputs.tokens
    for point, count in zip(many, counts, strict=True):
        point[:count] = tokens.vectors[tokens.filler_id]
    return many


@pytest.mark.parametrize(
    ("case", "state_bytes"),
    [
        ("after", 0),
        *((case, 1 << 30) for case in ("after", "tree_shown", "tail")),
        ("before_tree_shown", 1 << 30),
    ],
)
def test_fillers_in_front_of_words_pass_once(
    case: str, state_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = built(state_bytes=state_bytes, **CASES[case])
    problem, rows = problem_of(made), torch.tensor([3, 0, 4, 1])
    size = made.shape[0]
    many = with_fillers(made, [size, 0, 2, size - 1, 2])
    expected = problem.logits(many, Split.SELECTION, rows)
    passed: list[int] = []
    whole = problem._scorer.hidden

    def counting(block: Block, context: Context | None = None) -> Tensor:
        passed.append(block.vectors.shape[0] * block.vectors.shape[1])
        return whole(block, context)

    monkeypatch.setattr(problem._scorer, "hidden", counting)
    with torch.no_grad():
        found = problem.scored_logits(many, Split.SELECTION, rows)
    torch.testing.assert_close(found.log_softmax(-1), expected.log_softmax(-1), **CLOSE)
    behind = len(problem._inputs.tail)
    if problem._inputs.is_after and state_bytes:
        own = [1, size, size - 2, 1, size - 2]
        assert sum(passed) == len(rows) * sum(count + behind for count in own)
    else:
        assert len(passed) == 1


def test_fillers_are_kept_within_the_limit_or_not_at_all() -> None:
    made, _ = built()
    problem = problem_of(made)
    kept = sum(store.bytes for store in problem._states._stores.values())
    needed = len(MIXED) * made.shape[0] * problem._states.token_bytes
    for spare, filled in ((needed - 1, (False, False)), (needed, (True, False))):
        tight = problem_of(built(state_bytes=kept + spare)[0])
        assert tuple(tight._states._can_fill.values()) == filled


# -- scores of a split ------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("position", "limit"),
    [
        pytest.param(
            *(PromptPosition.AFTER_TEXT, "pass_limits.MOST_TOKENS"), marks=pytest.mark.campaign
        ),
        (PromptPosition.AFTER_TEXT, "problem._MOST_CONTEXT"),
        (PromptPosition.BEFORE_TEXT, "pass_limits.MOST_TOKENS"),
        (PromptPosition.BEFORE_TEXT, "pass_limits.MOST_LOGITS"),
    ],
)
def test_small_batches_give_the_same_scores(
    position: PromptPosition, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = built(position=position, labels=NESTED)
    many = points(made)
    whole = made.problem.score(many)
    monkeypatch.setattr(f"trainer_service.objectives.causal_prompt.{limit}", 9)
    small, _ = built(position=position, labels=NESTED)
    for one, other in zip(small.problem.score(many), whole, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-5)
        assert one.prior == pytest.approx(other.prior, rel=1e-5)
    for split in Split:
        found, expected = (problem_of(each).untuned_logits(split) for each in (small, made))
        torch.testing.assert_close(found, expected, **CLOSE)


@pytest.mark.parametrize("position", PromptPosition)
def test_labels_of_many_tokens_take_no_more_memory(
    position: PromptPosition, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their tokens pass behind every input, and each has logits over the vocabulary."""
    labels = tuple(f"{word} film score {word}" for word in ("good", "bad", "dull", "poor"))
    module = "trainer_service.objectives.causal_prompt.pass_limits"
    made, model = built(labels=labels, position=position)
    problem, passed = problem_of(made), []
    nodes = len(problem._inputs.tree.tokens)
    assert nodes > 8
    most = 3 * 4 * (1 + nodes) * len(model.tokens.vectors)
    monkeypatch.setattr(f"{module}.MOST_LOGITS", most)
    scores = problem._scorer.scores
    monkeypatch.setattr(
        problem._scorer, "scores", lambda hidden: passed.append(len(hidden)) or scores(hidden)
    )
    made.problem.score(points(made))
    problem.untuned_logits(Split.SELECTION)
    problem.words_score("is it good", Split.SELECTION)
    assert set(passed) == {2, 3}
    monkeypatch.setattr(f"{module}.MOST_TOKENS", 2 * (nodes + 3))
    passed.clear()
    made.problem.score(points(made))
    assert max(passed) <= 2
    rows = torch.arange(3)
    few, _ = built(position=position)
    assert problem.points_at_once(rows) < problem_of(few).points_at_once(rows)


@pytest.mark.parametrize(
    ("calibration", "labels", "template"),
    [
        (Calibration.NONE, ONE_TOKEN, "{text} {prompt} {label}"),
        (Calibration.NONE, NESTED, "{text}{prompt} {label}"),
        (Calibration.BATCH, ONE_TOKEN, "{text}{prompt} {label}"),
        (Calibration.CONTENT_FREE, NESTED, "{text} {prompt} {label}"),
        (Calibration.MATCHED, NESTED, "{text} {prompt} {label}"),
    ],
)
def test_without_a_prompt_there_may_be_nothing_behind_the_text(
    template: str, calibration: Calibration, labels: tuple[str, ...]
) -> None:
    made, model = built(template=template, calibration=calibration, labels=labels)
    problem = problem_of(made)
    found = problem.untuned_logits(Split.SELECTION)
    assert torch.isfinite(found).all()
    if calibration is Calibration.NONE:
        nothing = torch.zeros(1, 0, model.tokens.width)
        raw = torch.stack([expected(made, model, nothing, row)[0] for row in MIXED])
        torch.testing.assert_close(found, raw, **CLOSE)


def mean_probabilities(
    made: Objective, model: CausalModel, point: Tensor, rows: tuple[Row, ...]
) -> Tensor:
    with torch.no_grad():
        return torch.stack([expected(made, model, point[None], row)[0].exp() for row in rows]).mean(
            0
        )


def exported_prior(made: Objective, point: Tensor) -> list[float]:
    """The prior that is stored with the prompt."""
    document = json.loads(made.export(point)["model.json"])
    prior: list[float] = document["prior"]
    return prior


@pytest.mark.parametrize("position", PromptPosition)
def test_the_prior_is_the_mean_over_train_and_selection_texts(position: PromptPosition) -> None:
    made, model = built(position=position, calibration=Calibration.BATCH)
    point = points(made, 1)
    (score,) = made.problem.score(point)
    texts = (*MIXED, *MIXED)
    prior = mean_probabilities(made, model, point[0], texts)
    assert score.prior == pytest.approx(prior.tolist(), rel=1e-4)
    assert exported_prior(made, point[0]) == pytest.approx(score.prior, rel=1e-5)
    test = made.problem.test(point[0])
    assert test is not None
    assert test.prior == pytest.approx(score.prior, rel=1e-5), "not of the test texts"
    assert test.raw_loss is not None
    own = torch.stack([expected(made, model, point, row)[0] for row in MIXED[:3]])
    labels = torch.tensor([row.label for row in MIXED[:3]])
    nll = torch.nn.functional.nll_loss
    assert test.raw_loss == pytest.approx(float(nll(own, labels)), rel=1e-4)
    assert test.loss == pytest.approx(float(nll(calibrated(own, prior), labels)), rel=1e-4)


def test_the_prior_of_inputs_without_content() -> None:
    made, model = built(calibration=Calibration.CONTENT_FREE, demonstrations=1)
    point = points(made, 1)
    (score,) = made.problem.score(point)
    empty = tuple(Row(text, 0) for text in CONTENT_FREE_TEXTS)
    prior = mean_probabilities(made, model, point[0], empty)
    assert score.prior == pytest.approx(prior.tolist(), rel=1e-4)
    assert exported_prior(made, point[0]) == pytest.approx(score.prior, rel=1e-5)


def test_a_matched_prior_is_fitted_to_train_and_selection_rows_and_kept_for_others() -> None:
    made, model = built(calibration=Calibration.MATCHED)
    point = points(made, 1)
    (score,) = made.problem.score(point)
    rows = (*MIXED[::-1], *MIXED)
    with torch.no_grad():
        log_probs = torch.stack([expected(made, model, point, row)[0] for row in rows])
    labels = torch.tensor([row.label for row in rows])
    prior = matched_prior(log_probs, labels)
    assert score.prior == pytest.approx(prior.tolist(), rel=1e-3)
    shares = calibrated(log_probs, torch.tensor(score.prior)).exp().mean(0)
    torch.testing.assert_close(shares, torch.bincount(labels) / len(labels), rtol=0, atol=1e-3)
    assert exported_prior(made, point[0]) == pytest.approx(score.prior, rel=1e-4)
    test = made.problem.test(point[0])
    assert test is not None
    assert test.prior == pytest.approx(score.prior, rel=1e-4), "not of the test rows"


def test_without_calibration_there_is_no_prior() -> None:
    made, _ = built(calibration=Calibration.NONE)
    (score,) = made.problem.score(points(made, 1))
    assert (score.prior, score.raw_loss, score.raw_accuracy) == ((), None, None)
    assert exported_prior(made, points(made, 1)[0]) == []


# -- inputs in words --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "calibration"),
    [
        ("after", Calibration.BATCH),
        ("after", Calibration.CONTENT_FREE),
        ("tree_shown", Calibration.MATCHED),
        ("before_tree_shown", Calibration.NONE),
        ("before_tree_shown", Calibration.BATCH),
    ],
)
def test_a_prompt_of_words_scores_as_its_words_do(case: str, calibration: Calibration) -> None:
    made, _ = built(**CASES[case], calibration=calibration)
    words = " good movie was"
    start = torch.tensor(tiny_causal().tokens.token_ids(words))
    assert len(start) == 3
    soft = tiny_causal().tokens.vectors[start][None]
    for split in (Split.SELECTION, Split.TEST):
        found = problem_of(made).words_score(words, split)
        expected_score = made.problem.results(soft, split).scores()[0]
        assert found.loss == pytest.approx(expected_score.loss, rel=1e-4)
        assert found.accuracy == expected_score.accuracy
        assert found.rows == expected_score.rows


@pytest.mark.parametrize("case", ["after", "tree_shown", "before"])
def test_what_the_model_says_without_a_prompt(case: str) -> None:
    made, model = built(**CASES[case], calibration=Calibration.NONE)
    inputs = problem_of(made)._inputs
    found = made.problem.untuned_logits(Split.SELECTION)
    features = made.problem.features(Split.SELECTION)
    assert found is not None
    assert features is not None
    for row, logits, feature in zip(MIXED, found, features, strict=True):
        ids = [*inputs.opening, *inputs.whole_ids(inputs.template.unprompted(row))]
        own = []
        with torch.no_grad():
            for label in inputs.tree.labels:
                out = model.network(input_ids=torch.tensor([[*ids, *label]])).logits[0]
                steps = out[-len(label) - 1 : -1].log_softmax(-1)
                own.append(steps[torch.arange(len(label)), torch.tensor(label)].sum())
            hidden = model.network.base_model(input_ids=torch.tensor([ids])).last_hidden_state
        torch.testing.assert_close(logits, torch.stack(own).log_softmax(-1), **CLOSE)
        torch.testing.assert_close(feature, hidden[0, -1], **CLOSE)


def test_a_run_without_words_of_its_own_starts_from_the_usual_form() -> None:
    """Which is the model without a prompt, if no line break fills the positions in front of it."""
    size = len(tiny_causal().tokens.token_ids("Answer:"))
    made, _ = built(n_tokens=size, calibration=Calibration.NONE)
    start = made.language.initial(torch.Generator())
    (projected,) = made.language.project(start[None])
    assert projected.text == "Answer:"
    (found,) = made.problem.logits(start[None], Split.SELECTION, torch.arange(len(MIXED)))
    unprompted = made.problem.untuned_logits(Split.SELECTION)
    assert unprompted is not None
    torch.testing.assert_close(found.log_softmax(-1), unprompted, **CLOSE)


def test_demonstrations_leave_the_train_rows() -> None:
    made, _ = built(demonstrations=2)
    assert made.problem.task is not None
    template = problem_of(made)._inputs.template
    assert made.problem.size(Split.TRAIN) == 16 - 4
    assert template.opening.count("Answer: bad\n\n") == 2
    assert template.opening.count("Answer: good\n\n") == 2
    assert not any(f"Text: {row.text}\n" in template.opening for row in made.problem.task.train)


def test_a_scoring_can_be_stopped_between_its_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    task = TaskData("t", "d", ONE_TOKEN, MIXED, MIXED, ())
    made = built_on(tiny_causal(), CausalPrompt(n_tokens=3), task, lambda: asked.append(1))
    assert asked, "while texts are read"
    monkeypatch.setattr("trainer_service.objectives.causal_prompt.pass_limits.MOST_TOKENS", 20)

    def stop() -> None:
        raise Stop(StopKind.PAUSE)

    problem_of(made)._check = stop
    with pytest.raises(Stop):
        made.problem.score(points(made, 2))
