"""Drawing in numpy, against llama.cpp's own sampling chain."""

from __future__ import annotations

import ctypes

import llama_cpp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mentor_service.backends.token_sampling import MIN_P, TOP_K, TOP_P, draw, likeliest, likely


def _logits(seed: int, count: int, spread: float) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, spread, count).astype(np.float32)


logits_of_a_model = st.builds(
    _logits, st.integers(0, 2**32), st.integers(1, 2000), st.floats(0.01, 12.0)
)


def chances(logits: np.ndarray, temperature: float) -> dict[int, float]:
    """What llama.cpp's chain leaves of a distribution."""
    chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    for member in (
        llama_cpp.llama_sampler_init_top_k(TOP_K),
        llama_cpp.llama_sampler_init_top_p(TOP_P, 1),
        llama_cpp.llama_sampler_init_min_p(MIN_P, 1),
        llama_cpp.llama_sampler_init_temp(temperature),
    ):
        llama_cpp.llama_sampler_chain_add(chain, member)
    data = (llama_cpp.llama_token_data * len(logits))()
    for token, logit in enumerate(logits):
        data[token].id, data[token].logit = token, logit
    array = llama_cpp.llama_token_data_array(
        data=ctypes.cast(data, llama_cpp.llama_token_data_p),
        size=len(logits),
        selected=-1,
        sorted=False,
    )
    llama_cpp.llama_sampler_apply(chain, ctypes.byref(array))
    left = [array.data[i] for i in range(array.size)]
    weights = np.exp([np.float64(each.logit) for each in left])
    found = {each.id: weight / weights.sum() for each, weight in zip(left, weights, strict=True)}
    llama_cpp.llama_sampler_free(chain)
    return found


@settings(max_examples=15)
@given(logits_of_a_model, st.floats(0.1, 2.0))
def test_tokens_come_as_often_as_llama_cpp_would_draw_them(
    logits: np.ndarray, temperature: float
) -> None:
    expected = chances(logits, temperature)
    ids = likely(logits)
    drawn = [draw(ids, logits[ids], temperature, (i + 0.5) / 250) for i in range(250)]
    assert set(drawn) <= set(expected) | _at_the_edge(logits)
    for token, chance in expected.items():
        if token not in _at_the_edge(logits):
            # So many evenly spread numbers hit an interval to within one of its ends.
            assert drawn.count(token) / 250 == pytest.approx(chance, abs=0.06)


def _at_the_edge(logits: np.ndarray) -> set[int]:
    """Tokens at which a cut may fall this way or that by rounding."""
    mass = np.exp(logits.astype(np.float64) - logits.max())
    order = np.argsort(-logits)[:TOP_K]
    reached = np.cumsum(mass[order]) / mass[order].sum()
    edge = int(np.argmin(np.abs(reached - TOP_P)))
    near = {int(order[i]) for i in (edge - 1, edge, edge + 1) if 0 <= i < len(order)}
    return near | {int(i) for i in np.flatnonzero(np.abs(mass - MIN_P) < 1e-4)}


@given(logits_of_a_model)
def test_without_temperature_the_likeliest_is_drawn(logits: np.ndarray) -> None:
    ids = likely(logits)
    assert draw(ids, logits[ids], 0.0, 0.7) == int(np.argmax(logits))


@given(logits_of_a_model, st.integers(1, 400))
def test_the_likeliest_are_the_largest(logits: np.ndarray, count: int) -> None:
    found = likeliest(logits, count)
    assert len(set(found.tolist())) == min(count, len(logits))
    assert sorted(logits[found]) == sorted(logits)[-count:]


@given(st.integers(1, 50), st.floats(0, 1, exclude_max=True))
def test_equal_tokens_are_drawn_evenly(count: int, uniform: float) -> None:
    logits = np.zeros(count, np.float32)
    token = draw(np.arange(count), logits, 1.0, uniform)
    kept = min(count, TOP_K, int(np.ceil(TOP_P * min(count, TOP_K) + 1e-9)))
    assert abs(token - uniform * kept) <= 1 + uniform


def test_logits_that_are_no_numbers_are_an_error() -> None:
    with pytest.raises(RuntimeError, match="NaN logits"):
        likely(np.full(10, np.nan, np.float32))
