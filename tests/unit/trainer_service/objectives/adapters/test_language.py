"""Flat layouts, summaries and restarts of adapters."""

from __future__ import annotations

import torch
from torch import Tensor

from mentorgrad.domain.advice import ProposalRequest
from mentorgrad.domain.run import Candidate, Score
from mentorgrad.settings_space import SettingsSpace
from tests.support.adapters import generator
from tests.support.numerics import CPU
from trainer_service.mentors.controls import build_control
from trainer_service.objectives.adapters.language import MAX_SHOWN, AdapterLanguage
from trainer_service.objectives.adapters.layout import FlatLayout
from trainer_service.protocols import Scored
from trainer_service.training_settings import LEARNING_RATE

LAYOUT = FlatLayout(
    {
        "encoder.layer.0.query.lora_A": (2, 4),
        "encoder.layer.0.query.lora_B": (3, 2),
        "head.weight": (2, 5),
        "head.bias": (2,),
    }
)


def draw(generator: torch.Generator) -> Tensor:
    drawn = torch.zeros(LAYOUT.shape)
    parts = LAYOUT.views(drawn)
    parts["encoder.layer.0.query.lora_A"].normal_(generator=generator)
    parts["head.weight"].normal_(generator=generator)
    return drawn


SPACE = SettingsSpace((LEARNING_RATE,))
LANGUAGE = AdapterLanguage(LAYOUT, draw, lambda drawn: None, CPU, SPACE)


def test_the_layout_says_where_each_tensor_is() -> None:
    assert LAYOUT.shape == (1, 26)
    assert LAYOUT.document[2] == {"name": "head.weight", "shape": [2, 5], "offset": 14}
    assert FlatLayout.of_document(LAYOUT.document).parts == LAYOUT.parts
    points = torch.arange(52.0).view(2, *LAYOUT.shape)
    views = LAYOUT.views(points)
    assert views["head.bias"].tolist() == [[24.0, 25.0], [50.0, 51.0]]
    views["encoder.layer.0.query.lora_B"].zero_()
    assert points[1, 0, 8:14].tolist() == [0.0] * 6, "views, not copies"


def test_a_summary_has_the_norm_of_each_tensor_and_is_bounded() -> None:
    point = torch.zeros(LAYOUT.shape)
    LAYOUT.views(point)["encoder.layer.0.query.lora_A"].fill_(1.0)
    (projected,) = LANGUAGE.project(point[None])
    assert projected.text == "0.query=2.83/0 head=0/0"
    assert LANGUAGE.toward(point, 2 * point[None]) == [projected.text]
    many = FlatLayout({f"layer.{i}.key": (2,) for i in range(5 * MAX_SHOWN + 1)})
    wide = AdapterLanguage(many, draw, lambda drawn: None, CPU, SPACE)
    (summary,) = wide.project(torch.ones(1, *many.shape))
    entries = summary.text.split()
    assert len(entries) <= MAX_SHOWN
    assert entries[0] == "0..5=3.46"


def test_noise_is_relative_to_each_tensor() -> None:
    point = draw(generator())
    moved = LANGUAGE.perturbed(point, 0.5, generator(1))
    parts, before = LAYOUT.views(moved), LAYOUT.views(point)
    assert not bool(parts["encoder.layer.0.query.lora_B"].any()), "0 stays 0"
    for name in ("encoder.layer.0.query.lora_A", "head.weight"):
        ratio = float((parts[name] - before[name]).std() / before[name].std())
        assert 0.2 < ratio < 1.0


def test_a_random_adapter_has_the_incumbents_size_and_head() -> None:
    incumbent = draw(generator())
    LAYOUT.views(incumbent)["encoder.layer.0.query.lora_B"].fill_(3.0)
    found = LANGUAGE.random_parameters(generator(1), incumbent)
    parts, before = LAYOUT.views(found), LAYOUT.views(incumbent)
    assert torch.equal(parts["head.weight"], before["head.weight"])
    size = float(parts["encoder.layer.0.query.lora_B"].square().mean().sqrt())
    assert 1.5 < size < 6.0


def test_recombination_takes_whole_sections() -> None:
    pool = [
        Scored(Candidate(name, text=name, score=Score(loss)), torch.full(LAYOUT.shape, loss))
        for name, loss in (("a", 1.0), ("b", 2.0))
    ]
    request = ProposalRequest("s0", 0, "a", 12, 1)
    answer = build_control("recombine", LANGUAGE).propose(request, pool[0], pool)
    seen = set()
    for proposal in answer.proposals:
        assert proposal.parameters is not None
        assert set(proposal.parents) == {"a", "b"}
        point = torch.as_tensor(proposal.parameters)
        factors, head = point[0, :14].unique(), point[0, 14:].unique()
        assert len(factors) == len(head) == 1
        seen.add((float(factors), float(head)))
    assert len(seen) > 2
    alone = build_control("recombine", LANGUAGE).propose(request, pool[0], pool[:1])
    assert alone.proposals[0].parents == ("a",)
