"""A classifier without a model; as a process of its own a predict service of it:
``python -m tests.support.told_predictor [PORT]``, with the settings that a real one has.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from mentorgrad.domain.prediction import PredictorInfo
from mentorgrad.errors import InvalidInput
from mentorgrad.predictor import Predictor
from service_common import logs
from service_common.metrics import exposed
from service_common.security import protect
from service_common.server import announce, serve_until_told
from trainer_service.prediction.service import PredictServer
from trainer_service.prediction.settings import PredictorSettings

INFO = PredictorInfo(
    labels=("bad", "good"), use="prompt", objective="causal_prompt", model="pkg:none", run_id="r1"
)


class Told(Predictor):
    """A text with "good" in it is of the second class; one with "long" is too long, one with
    "wide" is cut."""

    def __init__(self, paired: bool = False, **columns: str) -> None:
        self.labels = ("bad", "good")
        self.is_paired = paired
        self.use = "prompt"
        self.columns = columns
        self.asked: list[int] = []
        self.closed = False

    def predict_proba(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None
    ) -> NDArray[np.float64]:
        assert (pairs is not None) is self.is_paired
        self.asked.append(len(texts))
        for index, text in enumerate(texts):
            if "long" in text:
                raise InvalidInput.field(f"texts[{index}]", "takes 99 tokens")
        self.cut_texts = tuple(index for index, text in enumerate(texts) if "wide" in text)
        both = zip(texts, pairs or texts, strict=True)
        shares = [0.75 if "good" in text + pair else 0.25 for text, pair in both]
        return np.array([[1.0 - share, share] for share in shares]).reshape(-1, 2)

    def close(self) -> None:
        self.closed = True


async def main() -> None:
    settings = PredictorSettings(result=".", listen=f"127.0.0.1:{(*sys.argv, '0')[1]}")
    registry = CollectorRegistry()
    server = PredictServer(
        Told(), INFO, settings.listen, registry=registry, security=protect(settings)
    )
    with exposed(settings.metrics, registry) as shown:
        address = await server.start()
        await serve_until_told(server, 0.5, lambda: announce("predictor", address, shown))


if __name__ == "__main__":
    logs.configure("warning")
    asyncio.run(main())
