"""The embedded default's language model as a tuned model."""

from __future__ import annotations

import os
from pathlib import Path

from mentorgrad.model_refs import DEFAULT_MENTOR_MODEL, resolve


def smollm2_folder() -> Path:
    """The folder of the dequantised model, in the cache that all processes of a session share: the
    first that asks takes some 20 seconds of a core for it."""
    from trainer_service.encoding.dequantising import causal_folder

    return causal_folder(
        resolve(DEFAULT_MENTOR_MODEL), Path(os.environ["MENTORGRAD_TRAINER_CACHE_DIR"])
    )
