"""What an objective computes on an NVIDIA device is what it computes on the CPU.

There the encoder works in bfloat16, of 8 significant bits, so numbers agree to a few hundredths;
what involves no encoder agrees to float32.
"""

from __future__ import annotations

import pytest
import torch

from mentorgrad.domain.advice import Proposal
from tests.support.numerics import (
    ADAPTED_CAUSAL,
    ADAPTERS,
    CAUSAL,
    CUDA,
    ON_CUDA,
    encoder,
    hints_at,
    objective,
)
from trainer_service.protocols import Objective
from trainer_service.tasks.data import Split

pytestmark = ON_CUDA

Pair = tuple[Objective, Objective]


@pytest.fixture(
    params=[
        *("rastrigin", "label_prompt", "label_prompt_per_class"),
        *("prompt_tuning", "multiple_choice"),
        *ADAPTERS,
        *ADAPTED_CAUSAL,
        *CAUSAL,
    ],
)
def pair(request: pytest.FixtureRequest) -> Pair:
    """An objective on the CPU and on the device."""
    return objective(request.param), objective(request.param, CUDA)


def points(built: Objective, count: int = 3) -> torch.Tensor:
    drawn = []
    for seed in range(count):
        made = torch.Generator().manual_seed(seed)
        drawn.append(
            built.language.random_parameters(made, built.language.initial(made).to(built.device))
        )
    return torch.stack(drawn)


def test_texts_have_the_same_meaning() -> None:
    texts = ["I want a refund", "Please give me my money back", "It rains in the mountains"]
    here, there = encoder().encode(texts), encoder(CUDA).encode(texts)
    assert there.device == CUDA
    assert there.norm(dim=-1).tolist() == pytest.approx([1.0] * 3, abs=1e-3)
    assert float((here * there.cpu()).sum(-1).min()) > 0.999
    assert encoder().options != encoder(CUDA).options, "each is cached for itself"


def test_everything_lies_on_the_device(pair: Pair) -> None:
    _, there = pair
    many = points(there)
    rows = torch.arange(min(4, there.problem.size(Split.TRAIN)))
    losses, gradients = there.problem.gradients(many, rows)
    generator = torch.Generator().manual_seed(0)
    drawn = (
        Proposal(parameters=many[2].cpu().numpy())
        if there.language.sections
        else there.language.random_proposal(generator)
    )
    embedded = there.language.embed(drawn, many[0])
    raw = there.language.embed(Proposal(parameters=many[1].cpu().numpy()), many[0])
    for tensor in (many, losses, gradients, embedded.parameters, raw.parameters):
        assert tensor.device == CUDA


def test_points_losses_and_gradients_agree(pair: Pair) -> None:
    here, there = pair
    many = points(here)
    torch.testing.assert_close(points(there).cpu(), many)
    rows = torch.arange(min(4, here.problem.size(Split.TRAIN)))
    (losses, slopes), (far, far_slopes) = (
        built.problem.gradients(many.to(built.device), rows) for built in pair
    )
    torch.testing.assert_close(far.cpu(), losses, rtol=0.05, atol=0.05)
    cosine = torch.cosine_similarity(slopes.flatten(1), far_slopes.cpu().flatten(1))
    assert float(cosine.min()) > 0.95


def test_scores_and_words_agree(pair: Pair) -> None:
    here, there = pair
    many = points(here)
    for near, far in zip(here.problem.score(many), there.problem.score(many.to(CUDA)), strict=True):
        assert far.loss == pytest.approx(near.loss, rel=0.05, abs=0.02)
        assert far.rows == near.rows
    for near, far in zip(
        here.language.project(many), there.language.project(many.to(CUDA)), strict=True
    ):
        assert far.text == near.text
        assert far.distance == pytest.approx(near.distance, abs=1e-4)


def test_what_it_says_of_tokens_agrees(pair: Pair) -> None:
    here = pair[0]
    rows = torch.arange(min(4, here.problem.size(Split.TRAIN)))
    near, far = (hints_at(built, points(here)[0].to(built.device), rows, 3) for built in pair)
    assert [hint.position for hint in near] == [hint.position for hint in far]
    for one, other in zip(near, far, strict=True):
        assert [token.score for token in one.tokens] == pytest.approx(
            [token.score for token in other.tokens], rel=0.25, abs=0.02
        )


def test_the_result_is_written_alike(pair: Pair) -> None:
    here, there = pair
    start = here.language.initial(torch.Generator().manual_seed(0))
    assert here.export(start).keys() == there.export(start.to(CUDA)).keys()
