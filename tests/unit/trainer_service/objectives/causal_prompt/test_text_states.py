"""Keys and values of texts: how they are batched and which are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.support.numerics import tiny_causal
from trainer_service.objectives.causal_prompt.label_tree import LabelTree
from trainer_service.objectives.causal_prompt.scorer import CausalScorer
from trainer_service.objectives.causal_prompt.text_states import (
    States,
    StateStore,
    alike,
    appended,
    batched,
    new_cache,
)

LENGTHS = (3, 7, 1, 4, 4, 2, 6)
ROWS = [list(range(10 * i, 10 * i + length)) for i, length in enumerate(LENGTHS)]


def states(length: int, value: float = 1.0) -> States:
    """Of two layers, with 2 heads of size 4: 128 bytes per token."""
    return value * torch.ones(2, 2, 2, length, 4)


class Computed:
    """Makes states that hold the token ids, and notes each call."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []

    def __call__(self, rows: Sequence[Sequence[int]]) -> list[States]:
        self.calls.append([row[0] // 10 for row in rows])
        made = []
        for row in rows:
            filled = states(len(row))
            made.append(filled * torch.tensor(row).view(-1, 1))
        return made


def kept_in(compute: Computed, most: int) -> StateStore:
    """A store of `ROWS` in batches of at most 8 tokens, shared with nobody."""
    return StateStore(ROWS, compute, most, 8, 128, lambda rows, count: compute(rows)[:count])


def test_a_batch_is_padded_on_the_left_behind_the_opening() -> None:
    opening = states(2, 5.0)
    context = batched([states(3, 1.0), states(1, 2.0)], opening)
    assert context.before(0).shape == (2, 2, 2, 2, 5, 4)
    assert context.before(3).shape == (2, 2, 2, 2, 8, 4)
    assert context.present.tolist() == [
        [True] * 5,
        [True, True, False, False, True],
    ]
    assert context.present.sum(-1).tolist() == [5, 3]
    shown = context.before(1)[..., :5, :]
    assert shown[0, 0, :, 0, :, 0].tolist() == [[5, 5, 1, 1, 1], [5, 5, 0, 0, 2]]
    twice = context.repeated(2)
    assert twice.present.tolist() == context.present.tolist() * 2
    assert twice.texts is context.texts, "keys and values are not copied"
    assert torch.equal(twice.before(0), torch.cat([context.before(0)] * 2, dim=2))
    assert context.repeated(1) is context
    alone = batched([states(3), states(1)], None)
    assert alone.before(0).shape[4] == 3
    assert alike(opening, 3).before(0).shape == (2, 2, 3, 2, 2, 4)
    assert (alike(opening, 3).before(0) == 5).all()
    assert alike(opening, 3).present.all()


def test_a_cache_for_a_call_does_not_change_the_context() -> None:
    context = batched([states(3, 1.0), states(1, 2.0)], None)
    before = context.before(0)
    cache = new_cache(context, 2)
    assert cache.get_seq_length() == 3
    for layer in range(2):
        keys, values = cache.update(
            torch.full((2, 2, 2, 4), 7.0), torch.full((2, 2, 2, 4), 8.0), layer
        )
        assert torch.equal(keys[..., :3, :], before[layer, 0])
        assert torch.equal(values[..., :3, :], before[layer, 1])
    assert cache.get_seq_length() == 5
    found = appended(cache, 2)
    assert found.shape == (2, 2, 2, 2, 2, 4)
    assert (found[:, 0] == 7.0).all()
    assert (found[:, 1] == 8.0).all()
    assert torch.equal(context.before(0), before)
    assert new_cache(None, 2).get_seq_length() == 0


_WRITING = ("copy_", "cat", "clone", "fill_", "zero_", "zeros", "stack", "_to_copy")


class Written(TorchDispatchMode):
    """Counts the numbers of keys and values that are copied or filled, by the operations that
    write at least so many."""

    def __init__(self, least: int, size: int) -> None:
        super().__init__()
        self._least, self._size = least, size
        self.numbers = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        made = function(*args, **(kwargs or {}))
        name = function.overloadpacket.__name__
        if name in _WRITING and made.shape[-1:] == (self._size,):
            self.numbers += made.numel() if made.numel() >= self._least else 0
        return made


@pytest.mark.parametrize(("count", "gradients"), [(1, True), (3, True), (3, False)])
def test_the_texts_keys_and_values_are_copied_once_per_pass(count: int, gradients: bool) -> None:
    """Once per prompt: in the forward and the backward pass of a batch, whatever the layers."""
    model = tiny_causal()
    scorer = CausalScorer(model, LabelTree.of([(5,), (6,)], (9,)))
    length, rows = 64, 2
    ids = [[(7 * at + row) % 50 for at in range(length)] for row in range(rows)]
    (opening,) = scorer.states([list(range(length))])
    context = batched(scorer.states(ids, alike(opening, len(ids))), opening).repeated(count)
    points = model.tokens.vectors[torch.arange(2 * count).view(count, 2)].clone()
    points.requires_grad_(gradients)
    _, _, heads, _, size = opening.shape
    # The smallest copy of anything as long as a text: its keys in one layer.
    with Written(heads * size * length, size) as written:
        found = scorer.scores(scorer.hidden(scorer.prompts(points, rows), context))
        if gradients:
            found.sum().backward()
    texts = sum(text.numel() for text in context.texts)
    assert written.numbers == count * (texts + rows * opening.numel())


def test_gradients_reach_the_inputs_own_keys_and_values_alone() -> None:
    """As those of `torch.cat`, bit for bit; the layers share a tensor, and write one by one."""
    context = batched([states(3, 1.0), states(1, 2.0)], states(2, 5.0)).repeated(2)
    begun = context.before(0)
    own = torch.randn(2, 2, 4, 2, 3, 4, generator=torch.Generator().manual_seed(1))
    own.requires_grad_()
    cache = new_cache(context, 3)
    mine = [cache.update(*own[layer], layer) for layer in range(2)]
    wanted = [torch.cat([begun[n, i], own[n, i]], dim=-2) for n in range(2) for i in range(2)]
    made = [part for pair in mine for part in pair]
    for part, whole in zip(made, wanted, strict=True):
        assert torch.equal(part, whole)
    (slopes,) = torch.autograd.grad(sum((part**3).sum() for part in made), own)
    (known,) = torch.autograd.grad(sum((whole**3).sum() for whole in wanted), own)
    assert torch.equal(slopes, known)


@pytest.mark.parametrize("most", [0, 127, 128, 3 * 128, 10 * 128, 1 << 20])
def test_at_most_so_many_bytes_are_kept_the_shortest_rows_first(most: int) -> None:
    compute = Computed()
    store = kept_in(compute, most)
    assert store.bytes <= most
    kept = sorted(LENGTHS)
    fitting = [sum(kept[: n + 1]) * 128 <= most for n in range(len(kept))]
    assert len(store) == sum(fitting)
    assert store.bytes == 128 * sum(kept[: len(store)])
    compute.calls.clear()
    found = store.get([1, 2, 0])
    assert [made[0, 0, 0, :, 0].tolist() for made in found] == [ROWS[1], ROWS[2], ROWS[0]]
    known = sorted(range(len(LENGTHS)), key=lambda row: (LENGTHS[row], row))[: len(store)]
    missing = [row for row in (1, 2, 0) if row not in known]
    assert sorted(row for call in compute.calls for row in call) == sorted(missing)
    for call in compute.calls:
        assert len(call) == 1 or len(call) * max(LENGTHS[row] for row in call) <= 8


def test_the_batches_in_which_states_are_made_depend_on_the_lengths_alone() -> None:
    """Rounding depends on the rows of a batch, and a resumed run has to get the same numbers."""
    calls = []
    for _ in range(2):
        compute = Computed()
        kept_in(compute, 1 << 20)
        calls.append(compute.calls)
    assert calls[0] == calls[1]
    assert [[LENGTHS[row] for row in call] for call in calls[0]] == [[1, 2], [3, 4], [4], [6], [7]]


@pytest.mark.parametrize("opening", [(), (9, 8, 7)])
def test_states_of_a_batch_are_those_of_each_row(opening: tuple[int, ...]) -> None:
    model = tiny_causal()
    scorer = CausalScorer(model, LabelTree.of([(5,), (6,)], (9,)))
    begun = scorer.states([opening])[0] if opening else None
    together = scorer.states(ROWS, None if begun is None else alike(begun, len(ROWS)))
    for row, made in zip(ROWS, together, strict=True):
        (alone,) = scorer.states([row], None if begun is None else alike(begun, 1))
        assert made.shape[3] == len(row)
        torch.testing.assert_close(made, alone, rtol=1e-5, atol=1e-5)
        cache = new_cache(None, 0)
        ids = torch.tensor([[*opening, *row]])
        model.network(input_ids=ids, past_key_values=cache, use_cache=True)
        torch.testing.assert_close(made, appended(cache, len(row))[:, :, 0], rtol=1e-5, atol=1e-5)
