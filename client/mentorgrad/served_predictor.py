"""Predicts by a predict service."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mentorgrad.client import PredictClient
from mentorgrad.predictor import Predictor
from mentorgrad.wire.credentials import Credentials


class ServedPredictor(Predictor):
    """See `Predictor.connect`."""

    def __init__(self, target: str, credentials: Credentials | None, stream_timeout: float) -> None:
        self._client = PredictClient(target, credentials=credentials, stream_timeout=stream_timeout)
        try:
            info = self._client.info()
        except BaseException:
            self._client.close()
            raise
        self.labels, self.label_values = info.labels, info.label_values
        self.is_paired = info.paired
        self.use, self.columns = info.use, info.columns

    def predict_proba(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None
    ) -> NDArray[np.float64]:
        """See `Predictor`."""
        found = list(self._client.predict_stream(texts, pairs))
        self.cut_texts = tuple(index for index, one in enumerate(found) if one.is_cut)
        shares = np.array([one.probabilities for one in found], dtype=np.float64)
        return shares.reshape(len(found), len(self.labels))

    def close(self) -> None:
        """See `Predictor`."""
        self._client.close()
