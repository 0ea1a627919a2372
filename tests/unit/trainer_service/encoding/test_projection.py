"""The search along a trajectory gives what comparing with every row gives."""

from __future__ import annotations

import functools
import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from mentorgrad.domain.objective import Metric
from mentorgrad.domain.spec import Optimizer
from tests.support.numerics import encoder, objective, tune
from trainer_service.encoding import projection
from trainer_service.encoding.projection import NearestRows, Vocabulary, WordProjector


def brute_force(table: Tensor, vectors: Tensor, metric: Metric) -> tuple[Tensor, Tensor]:
    exact, rows = vectors.double(), table.double()
    if metric is not Metric.L2:
        rows = functional.normalize(table, dim=-1).double()
        distances = 1.0 - functional.normalize(exact, dim=-1) @ rows.T
    else:
        squares = exact.square().sum(-1, keepdim=True) - 2.0 * exact @ rows.T
        distances = (squares + rows.square().sum(-1)).clamp_min(0.0).sqrt()
    found = distances.max(-1) if metric is Metric.FARTHEST_COSINE else distances.min(-1)
    return found.indices, found.values


@given(
    metric=st.sampled_from(list(Metric)),
    seed=st.integers(0, 10_000),
    rows=st.integers(1, 400),
    width=st.integers(2, 24),
    positions=st.integers(1, 4),
    segments=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    pace=st.sampled_from([0.0, 1e-4, 0.01, 0.3, 5.0]),
)
def test_it_is_brute_force(
    metric: Metric,
    seed: int,
    rows: int,
    width: int,
    positions: int,
    segments: list[int],
    pace: float,
) -> None:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(rows, width, generator=generator)
    steps = torch.randn(sum(segments), positions, width, generator=generator) * pace
    steps[0] += table[torch.randint(rows, (positions,), generator=generator)]
    trajectory = steps.cumsum(0)
    search = NearestRows(table, metric)
    expected, distances = brute_force(table, trajectory, metric)
    begin = 0
    for size in segments:
        part = slice(begin, begin + size)
        found = search.search_along(trajectory[part])
        assert torch.equal(found.rows, expected[part])
        assert torch.allclose(found.distances, distances[part], atol=1e-6)
        begin += size
    assert torch.equal(search.search(trajectory).rows, expected)


@pytest.mark.parametrize("metric", list(Metric))
def test_a_jump_and_another_shape_are_no_trouble(metric: Metric) -> None:
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(300, 8, generator=generator)
    search = NearestRows(table, metric)
    for shape in ((5, 2, 8), (5, 2, 8), (50, 3, 8), (1, 1, 8)):
        vectors = torch.randn(shape, generator=generator) * 3.0
        expected, _ = brute_force(table, vectors, metric)
        assert torch.equal(search.search_along(vectors).rows, expected)


def test_of_equally_near_rows_the_first_is_found() -> None:
    table = torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
    vector = torch.tensor([[[1.0, 0.0]]])
    assert NearestRows(table, Metric.L2).search_along(vector).rows.item() == 1
    assert NearestRows(table, Metric.COSINE).search_along(vector).rows.item() == 1


def test_a_zero_vector_is_near_to_something() -> None:
    search = NearestRows(torch.eye(3), Metric.COSINE)
    found = search.search_along(torch.zeros(2, 1, 3))
    assert found.rows.tolist() == [[0], [0]]
    assert found.distances.tolist() == [[1.0], [1.0]]


@functools.cache
def vocabulary(*, whole_words: bool = True) -> Vocabulary:
    return Vocabulary.of(encoder().tokens, whole_words=whole_words)


@functools.cache
def real_trajectory() -> Tensor:
    optimizer = Optimizer(learning_rate=0.05, batch_size=2)
    return torch.stack(tune(objective("label_prompt"), optimizer, 15, seed=0))


@pytest.mark.slow
@pytest.mark.parametrize(
    "metric",
    [
        Metric.COSINE,
        pytest.param(Metric.FARTHEST_COSINE, marks=pytest.mark.campaign),
        pytest.param(Metric.L2, marks=pytest.mark.campaign),
    ],
)
def test_on_a_real_trajectory_most_of_the_table_is_left_alone(
    metric: Metric, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exact, and with far fewer products than a full search has."""
    trajectory = real_trajectory()
    table = encoder().tokens.vectors[vocabulary().ids]
    search = NearestRows(table, metric)
    expected, _ = brute_force(table, trajectory, metric)

    compared = 0
    linear = functional.linear

    def counting(vectors: Tensor, rows: Tensor) -> Tensor:
        nonlocal compared
        compared += len(vectors)
        return linear(vectors, rows)

    monkeypatch.setattr(projection.functional, "linear", counting)
    found = [search.search_along(part).rows for part in torch.split(trajectory, 8)]
    assert torch.equal(torch.cat(found), expected)
    assert compared < 0.7 * trajectory.shape[0] * trajectory.shape[1]


def test_threads_may_share_it() -> None:
    generator = torch.Generator().manual_seed(1)
    table = torch.randn(500, 16, generator=generator)
    search = NearestRows(table, Metric.COSINE)
    starts = torch.randn(4, 2, 16, generator=generator)
    wrong: list[int] = []

    def work(index: int) -> None:
        for step in range(20):
            vectors = (starts[index] * (1.0 + step)).unsqueeze(0) + step * 0.1
            if not torch.equal(search.search_along(vectors).rows, search.search(vectors).rows):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.slow
def test_whole_words_go_to_text_and_back() -> None:
    assert len(vocabulary().ids) > 10_000
    assert not encoder().tokens.special_ids.intersection(vocabulary().words)
    assert all(word.isalpha() and len(word) > 1 for word in vocabulary().words.values())
    generator = torch.Generator().manual_seed(0)
    projector = WordProjector(encoder().tokens, vocabulary(), Metric.COSINE)
    for _ in range(20):
        choice = torch.randint(len(vocabulary().ids), (8,), generator=generator)
        ids = vocabulary().ids[choice].tolist()
        assert encoder().tokens.token_ids(projector.text(ids)) == ids


@pytest.mark.slow
def test_pieces_of_words_take_part_on_request() -> None:
    pieces, words = vocabulary(whole_words=False), vocabulary()
    assert set(words.words) < set(pieces.words)
    assert not encoder().tokens.special_ids.intersection(pieces.words)
    projector = WordProjector(encoder().tokens, pieces, Metric.L2)
    ids = encoder().tokens.token_ids("unhelpfulness")
    assert len(ids) > 1
    assert projector.nearest(encoder().tokens.vectors[ids].unsqueeze(0)).ids == [ids]
    assert projector.text(ids) == "unhelpfulness"


def test_no_move_is_towards_the_word_itself() -> None:
    projector = WordProjector(encoder().tokens, vocabulary(), Metric.L2)
    ids = vocabulary().ids[[5, 600]].tolist()
    start = encoder().tokens.vectors[ids]
    goal = encoder().tokens.vectors[vocabulary().ids[700]]
    moved = start.clone()
    moved[1] += 3.0 * goal
    assert projector.toward(start, moved.unsqueeze(0)) == [[ids[0], int(vocabulary().ids[700])]]
