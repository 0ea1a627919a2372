"""A predict service as it runs, of a small model with random weights:
``python -m campaigns.fuzz.predictor FOLDER``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from mentorgrad.domain.objective import PromptTuning
from tests.support.numerics import built_on, tiny_encoder, tiny_task
from tests.support.tiny_models import make
from trainer_service.prediction.service import run
from trainer_service.prediction.settings import PredictorSettings


def main(folder: Path) -> None:
    """Writes a result and its model to the folder, and serves."""
    made = built_on(tiny_encoder("bert"), PromptTuning(n_tokens=3), tiny_task())
    parameters = made.language.initial(torch.Generator().manual_seed(0))
    result = folder / "result"
    result.mkdir()
    for name, content in made.export(parameters).items():
        (result / name).write_bytes(content)
    model = str(make(folder / "encoder", "bert"))
    run(
        PredictorSettings(
            result=result, listen="127.0.0.1:0", model=model, threads=1, log_level="warning"
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
