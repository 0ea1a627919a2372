"""Predicts labels of texts with what a run left.

The implementation needs the extra ``trainer``; it is found by the entry-point group
``mentorgrad.predictors``, so that the SDK itself imports no torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self, cast

import numpy as np
from numpy.typing import NDArray

from mentorgrad.installed import load_entry_point
from mentorgrad.paths import check_temporary_folder
from mentorgrad.wire.credentials import Credentials

UNFINISHED = ".tune"
"""Folder, in that of a result, that is there while the result is made."""

_GROUP, _NAME, _EXTRA = "mentorgrad.predictors", "results", "trainer"


class Predictor(ABC):
    """A tuned classifier, loaded from the folder of a run's files.

    The folder is what ``mentorgrad runs download RUN --into FOLDER`` writes. One text gives one
    prediction, that of the run's final test, whatever else is predicted with it. For one thread at
    a time; a context manager that frees the model.
    """

    labels: tuple[str, ...]
    """The labels, in the order of the columns of `predict_proba`: `label_values`, or the label
    words of a task without them."""
    label_values: tuple[str, ...] = ()
    """The labels as the run's data files hold them, as strings; empty for a task without label
    values."""
    is_paired: bool
    """Whether a row has two texts."""
    takes_images: bool = False
    """Whether a row is an image: its text is then the path of the image's file."""
    use: str
    """What predicts: ``prompt``, ``words`` or ``probe``."""
    cut_texts: tuple[int, ...] = ()
    """Indices of the texts of the last call that were longer than the model's room for them, and
    cut as in the run."""
    columns: Mapping[str, str]
    """Columns of the run's own files, as `DataFiles` names them, several one per line; empty for
    other tasks."""

    @staticmethod
    def load(
        folder: str | Path,
        use: str | None = None,
        *,
        device: str | None = None,
        model: str = "",
        model_roots: Sequence[str | Path] = (),
        cache_dir: str | Path | None = None,
        tuned_models: Mapping[str, str] | None = None,
        api_key: str = "",
    ) -> Predictor:
        """Loads a run's files and its model.

        Args:
            folder: The folder; it must hold ``model.json``.
            use: ``prompt`` (the tuned prompt), ``words`` (the prompt in words) or ``probe`` (the
                linear probe of the run's baselines); None: what the folder names, else ``prompt``.
            device: Torch device; None: the kind of the run's device if there is one, else the CPU.
            model: Reference of the model, if it is elsewhere by now; empty: the recorded one.
            model_roots: Folders that a relative path of the model is looked up in; none: the
                working folder.
            cache_dir: Cache folder of dequantised GGUF files; None: ``~/.cache/mentorgrad``.
            tuned_models: Name → URL of served models.
            api_key: API key of the served models; empty: that of the environment variable
                ``MENTORGRAD_TRAINER_OPENAI_API_KEY``.

        Raises:
            NotFound: A file or the model is missing.
            InvalidInput: The folder is of another version or does not hold what `use` needs, the
                device is not there, or there is no folder for temporary files.
            PreconditionFailed: The model is not the one that was tuned (reason MODEL_CHANGED).
            DataLoss: A file is damaged.
            Unsupported: The extra ``trainer`` is not installed.
        """
        check_temporary_folder()
        load = load_entry_point(_GROUP, _NAME, _EXTRA)
        return cast(
            Predictor,
            load(
                Path(folder),
                use,
                device=device,
                model=model,
                model_roots=[Path(root) for root in model_roots] or None,
                cache_dir=None if cache_dir is None else Path(cache_dir),
                tuned_models=tuned_models or {},
                api_key=api_key,
            ),
        )

    @staticmethod
    def connect(
        target: str, *, credentials: Credentials | None = None, stream_timeout: float = 600.0
    ) -> Predictor:
        """Predicts by a predict service, as the predictor that it has loaded does.

        Args:
            target: ``HOST:PORT`` of the service.
            credentials: TLS certificates and token; None: plaintext without a token.
            stream_timeout: Timeout of a call that predicts, seconds.

        Raises:
            Unavailable: The service does not answer.
            MentorgradError: It refuses the call.
        """
        from mentorgrad.served_predictor import ServedPredictor

        return ServedPredictor(target, credentials, stream_timeout)

    @abstractmethod
    def predict_proba(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None
    ) -> NDArray[np.float64]:
        """Probabilities of the labels, [texts, labels].

        Args:
            texts: The texts; outer white space does not count, as in a task's rows.
            pairs: Their second texts, exactly if `is_paired`; of ``multiple_choice`` the choices,
                one per line.

        Raises:
            InvalidInput: An argument is no text, a text is too long, or `pairs` does not fit.
            Unavailable: The server of a served model does not answer.
        """

    def predict_proba_by_use(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None
    ) -> dict[str, NDArray[np.float64]]:
        """`predict_proba` by each `use` that the folder allows, ``prompt``, ``words`` and
        ``probe``, whatever `use` is; without ``words`` if the prompt itself is words. What they
        share of the model's work is done once."""
        return {self.use: self.predict_proba(texts, pairs)}

    def predict(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> list[str]:
        """The most probable of the `labels` for each text; see `predict_proba`."""
        return [self.labels[row] for row in self.predict_proba(texts, pairs).argmax(-1)]

    def close(self) -> None:
        """Frees the model; further calls do nothing."""
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
