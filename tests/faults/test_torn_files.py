"""Files that end too early: noticed, and made again or passed over."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mentorgrad.domain.run import Candidate, Score
from mentorgrad.domain.spec import Budget, RunSpec
from mentorgrad.errors import DataLoss
from trainer_service.costs import Prices, RowCosts
from trainer_service.encoding.embedding_cache import EmbeddingCache
from trainer_service.protocols import Scored
from trainer_service.running import checkpoint
from trainer_service.running.budget import Ledger
from trainer_service.running.loop_state import LoopState, Pool
from trainer_service.running.scoring import Origin

CPU = torch.device("cpu")
PRICES = Prices(RowCosts(), batch=1, selection_rows=1)


@pytest.mark.parametrize("kept", [0, 4, 60, -1])
def test_torn_embeddings_are_encoded_again_and_mended(tmp_path: Path, kept: int) -> None:
    encoded: list[Sequence[str]] = []

    def encode(texts: Sequence[str]) -> Tensor:
        encoded.append(texts)
        return torch.arange(6.0).reshape(2, 3)

    cache = EmbeddingCache(tmp_path)
    whole = cache.get(["a", "b"], {"model": "m"}, encode)
    (file,) = (tmp_path / "embeddings").iterdir()
    data = file.read_bytes()
    file.write_bytes(data[:kept])
    assert torch.equal(cache.get(["a", "b"], {"model": "m"}, encode), whole)
    assert len(encoded) == 2
    assert file.read_bytes() == data
    cache.get(["a", "b"], {"model": "m"}, encode)
    assert len(encoded) == 2


def test_a_checkpoint_cut_anywhere_is_data_loss_and_nothing_else() -> None:
    point = torch.arange(12.0).reshape(3, 4)
    scored = Scored(Candidate("s0/start", score=Score(loss=1.0)), point)
    ledger, origin = Ledger(Budget(), PRICES), Origin(0, point, ())
    at = LoopState(ledger, point.clone(), origin, scored, Pool([scored]))
    data = checkpoint.dump(at, {"exp_avg": point}, at.earlier_time)
    before = torch.get_rng_state()
    checkpoint.load(data, RunSpec(), PRICES, CPU)
    for length in [*range(64), *range(64, len(data), 97), len(data) - 1]:
        with pytest.raises(DataLoss):
            checkpoint.load(data[:length], RunSpec(), PRICES, CPU)
    for place in range(8, len(data), 211):
        torn = data[:place] + bytes(64) + data[place + 64 :]
        with contextlib.suppress(DataLoss):  # what only changes values is for the digest to see
            checkpoint.load(torn[: len(data)], RunSpec(), PRICES, CPU)
    torch.set_rng_state(before)
