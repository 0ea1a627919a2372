"""The host waits for a device only when it reads a number: a gradient step reads none.

torch's device ``meta`` has no numbers, and raises an error where one is read.
"""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

from mentorgrad.domain.objective import Lora, PromptTuning
from mentorgrad.domain.spec import Optimizer
from tests.support import tiny_models
from tests.support.numerics import tiny_task
from trainer_service.costs import RowCosts
from trainer_service.encoding.embedding_cache import EmbeddingCache
from trainer_service.encoding.encoders import TextEncoder
from trainer_service.objectives.adapters.problem import AdapterProblem
from trainer_service.objectives.classification import ClassificationProblem
from trainer_service.objectives.lora.problem import RankedAdapter
from trainer_service.objectives.prompt_tuning.problem import PromptTuningProblem
from trainer_service.objectives.token_batches import TokenRows
from trainer_service.optimizers.first_order import SGD, AdamW
from trainer_service.optimizers.oracle import BatchOracle
from trainer_service.tasks.data import Row

META = torch.device("meta")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> TextEncoder:
    return TextEncoder(tiny_models.make(tmp_path_factory.mktemp("encoder")), META)


@pytest.fixture
def encoder(loaded: TextEncoder, monkeypatch: pytest.MonkeyPatch) -> TextEncoder:
    """An encoder on a device that cannot be read."""
    monkeypatch.setattr(loaded, "_autocast", nullcontext)  # torch has none for this device
    # transformers itself reads whether a mask is all ones, once per pass.
    monkeypatch.setattr(
        "transformers.masking_utils._ignore_bidirectional_mask_sdpa", lambda *_, **__: False
    )
    return loaded


def problem_on(encoder: TextEncoder, spec: PromptTuning | Lora) -> ClassificationProblem:
    task, costs, cache = tiny_task(), RowCosts(per_row=1), EmbeddingCache(None)
    if isinstance(spec, PromptTuning):
        return PromptTuningProblem(spec, task, encoder, costs, cache)
    adapter = RankedAdapter(spec, encoder.linear_layers)
    return AdapterProblem(spec, adapter, task, encoder, costs, cache)


@pytest.mark.parametrize("spec", [PromptTuning(n_tokens=3), Lora(rank=2)], ids=["prompt", "lora"])
@pytest.mark.parametrize("kind", [AdamW, SGD])
def test_a_step_reads_nothing_from_the_device(
    encoder: TextEncoder, spec: PromptTuning | Lora, kind: type[AdamW | SGD]
) -> None:
    problem = problem_on(encoder, spec)
    point, rows = torch.zeros(problem.shape, device=META), torch.tensor([0, 1])
    oracle = BatchOracle(problem, rows, torch.Generator, 3)
    taken = kind.from_spec(Optimizer(clip_norm=1.0)).step(point, oracle, 0.1)
    assert taken.loss.is_meta
    assert taken.norm.is_meta
    with pytest.raises(RuntimeError, match="meta"):
        float(taken.loss)


def test_a_batch_on_a_device_is_no_wider_than_its_longest_row(encoder: TextEncoder) -> None:
    texts = ["a film", "a film in the rain", "a film in the rain and the snow"]
    rows = TokenRows([Row(text, 0) for text in texts], encoder, max_length=30)
    sizes = rows.sizes(torch.arange(3))
    assert sizes[0] < sizes[1] < sizes[2]
    batch = rows.take(torch.tensor([1, 0]))
    assert batch.ids.is_meta
    assert batch.ids.shape == batch.mask.shape == (2, sizes[1])
