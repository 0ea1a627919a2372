"""Predicts with a run's files: by the problem that the run was scored with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import structlog
import torch
from numpy.typing import NDArray
from torch import Tensor

from mentorgrad.domain.prediction import PredictorInfo, check_sequences
from mentorgrad.errors import DataLoss, InvalidInput, NotFound
from mentorgrad.model_refs import REASON as MODEL_NOT_FOUND
from mentorgrad.predictor import Predictor
from mentorgrad.tables.malformed import MalformedError
from service_common import logs
from trainer_service.baselines.linear_probe import LinearProbe
from trainer_service.costs import RowCosts
from trainer_service.model_settings import default_cache_dir
from trainer_service.objectives.build import BuildInputs
from trainer_service.objectives.calibration import calibrated
from trainer_service.objectives.classification import ClassificationProblem
from trainer_service.objectives.kept_results import KeptResults
from trainer_service.objectives.label_prompt.images import UNUSABLE
from trainer_service.objectives.table import OBJECTIVES
from trainer_service.objectives.torch_free import ARTIFACT, MODEL_FILE
from trainer_service.objectives.tuned import Scores, Tuned, TunedFiles
from trainer_service.prediction.result_folder import ResultFolder, read_result
from trainer_service.registry import load as load_object
from trainer_service.settings import TrainerSecrets
from trainer_service.tasks.data import UNLABELLED, Row, Split, TaskData
from trainer_service.tasks.images import EncodedImage

PROMPT, WORDS, PROBE = USES = ("prompt", "words", "probe")

OF_A_ROW = ("TEXT_TOO_LONG", "CHOICES_MISSING", UNUSABLE)
"""Reasons of errors that name a row."""

_ROWS = 1024
"""Rows at once."""

_KEPT_BYTES = 64 << 20
"""Maximum bytes of what all rows share, such as the keys and values of demonstrations."""


class ResultPredictor(Predictor):
    """A `Predictor` of a run's files.

    Args:
        result: The run's files.
        tuned: The tuned prompt.
        use: One of `USES`.
        probe: The linear probe, if there is one; the use ``probe`` needs it.
    """

    def __init__(
        self,
        result: ResultFolder,
        tuned: Tuned,
        use: str,
        probe: LinearProbe | None = None,
    ) -> None:
        document = result.document
        self._words = tuple(document["labels"])
        self.label_values = tuple(document.get("label_values", ()))
        self.labels = self.label_values or self._words
        self.is_paired = bool(document["paired"])
        self.takes_images = bool(document.get("images"))
        self.columns = dict(document["columns"])
        self.use = use
        self._document = document
        self._sha256 = result.sha256
        self._tuned: Tuned | None = tuned
        self._probe = probe

    def predict_proba(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None
    ) -> NDArray[np.float64]:
        """See `Predictor`."""
        return self._predicted(texts, pairs, (self.use,))[self.use]

    def predict_proba_by_use(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None
    ) -> dict[str, NDArray[np.float64]]:
        """See `Predictor`."""
        uses = [PROMPT]
        if self._tuned is not None and self._tuned.words is not self._tuned.prompt:
            uses.append(WORDS)
        if self._probe is not None:
            uses.append(PROBE)
        return self._predicted(texts, pairs, uses)

    @property
    def info(self) -> PredictorInfo:
        """What it predicts with."""
        document = self._document
        return PredictorInfo(
            labels=self.labels,
            label_values=self.label_values,
            paired=self.is_paired,
            use=self.use,
            objective=document["objective"],
            model=document["model"],
            model_sha256=document["model_sha256"],
            model_revision=document["model_revision"],
            result_sha256=self._sha256,
            prior=() if self.use == PROBE else tuple(self._prior(self.use)),
            run_id=document.get("run_id", ""),
            columns=self.columns,
        )

    def close(self) -> None:
        """See `Predictor`."""
        if self._tuned is not None:
            self._tuned.close()
            self._tuned = None

    def _rows(self, texts: Sequence[str], pairs: Sequence[str] | None) -> tuple[Row, ...]:
        check_sequences(texts, pairs)
        if self.is_paired is (pairs is None):
            needed = "pairs of texts: give pairs too" if self.is_paired else "single texts"
            raise InvalidInput(f"this classifier is for {needed}")
        texts = tuple(texts)
        if self.takes_images:
            return tuple(
                Row.of(_image(_text(text, index), index), UNLABELLED)
                for index, text in enumerate(texts)
            )
        second = [""] * len(texts) if pairs is None else tuple(pairs)
        if len(texts) != len(second):
            raise InvalidInput(f"there are {len(texts)} texts and {len(second)} pairs")
        return tuple(
            Row(_text(text, index), UNLABELLED, _text(pair, index))
            for index, (text, pair) in enumerate(zip(texts, second, strict=True))
        )

    def _predicted(
        self, texts: Sequence[str], pairs: Sequence[str] | None, uses: Sequence[str]
    ) -> dict[str, NDArray[np.float64]]:
        rows = self._rows(texts, pairs)
        made = {use: np.empty((len(rows), len(self.labels))) for use in uses}
        self.cut_texts = ()
        for begin in range(0, len(rows), _ROWS):
            part = slice(begin, begin + _ROWS)
            try:
                for use, found in self._probabilities(rows[part], uses, begin):
                    made[use][part] = found
            except InvalidInput as error:
                raise _of_text(error, begin) if error.reason in OF_A_ROW else error from None
        return made

    @torch.no_grad()
    def _probabilities(
        self, rows: tuple[Row, ...], uses: Sequence[str], begin: int
    ) -> Iterator[tuple[str, NDArray[np.float64]]]:
        if self._tuned is None:
            raise InvalidInput("the predictor is closed")
        document = self._document
        task = TaskData(document["task"], "", self._words, (), (), rows)
        problem = self._tuned.problem(task)
        self.cut_texts += tuple(begin + index for index in problem.cut_texts.get(Split.TEST, ()))
        for use in uses:
            if use == PROBE and self._probe is not None:
                yield use, _softmax(self._probe.logits(_features(problem)))
                continue
            scores: Scores = self._tuned.words if use == WORDS else self._tuned.prompt
            log_probs = scores(problem).log_softmax(-1)
            if prior := self._prior(use):
                log_probs = calibrated(log_probs, log_probs.new_tensor(prior))
            yield use, _softmax(log_probs.numpy(force=True))

    def _prior(self, use: str) -> Sequence[float]:
        """What scores are calibrated by; empty: by nothing."""
        document = self._document
        key = "prior_in_words" if use == WORDS and "prior_in_words" in document else "prior"
        prior: Sequence[float] = document[key]
        return prior


def _of_text(error: InvalidInput, begin: int) -> InvalidInput:
    """The error with the text's index, and without advice about the run's spec, which is fixed by
    now."""
    what = error.violations[0].description.partition(";")[0]
    row = re.fullmatch(r"row (\d+) of test (.*)", what)
    if row is None:
        return InvalidInput(what, reason=error.reason)
    return InvalidInput.field(f"texts[{begin + int(row[1]) - 1}]", row[2], reason=error.reason)


def _features(problem: ClassificationProblem) -> NDArray[np.float32]:
    found: Tensor | None = problem.features(Split.TEST)
    if found is None:
        raise InvalidInput("this objective has no features for a linear probe")
    features: NDArray[np.float32] = found.numpy(force=True).astype(np.float32)
    return features


def _softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    values = logits.astype(np.float64)
    shares = np.exp(values - values.max(-1, keepdims=True))
    made: NDArray[np.float64] = shares / shares.sum(-1, keepdims=True)
    return made


def _text(value: object, index: int) -> str:
    if not isinstance(value, str):
        raise InvalidInput(f"text {index + 1} is {type(value).__name__}, not a text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"text {index + 1} holds half of a surrogate pair") from None
    return value.strip()  # as the rows of every task are


def _image(path: str, index: int) -> EncodedImage:
    try:
        return EncodedImage.of(Path(path).resolve(), path)
    except MalformedError as error:
        raise InvalidInput.field(f"texts[{index}]", str(error), reason=UNUSABLE) from None


def load(
    folder: Path,
    use: str | None = None,
    *,
    device: str | None = None,
    model: str = "",
    model_roots: Sequence[Path] | None = None,
    cache_dir: Path | None = None,
    tuned_models: Mapping[str, str] | None = None,
    api_key: str = "",
) -> ResultPredictor:
    """Loads a run's files and its model; see `mentorgrad.Predictor.load`."""
    if not structlog.is_configured():  # outside of a service, which has set it up
        logs.configure("warning")
    result = read_result(folder)
    document = result.document
    wanted = use or document.get("use", PROMPT)
    if wanted not in USES:
        raise InvalidInput(f"use must be one of {', '.join(USES)}, not {wanted!r}")
    probe = result.probe() if wanted == PROBE or result.has_probe else None
    where = usable_device(device or _device(document))
    inputs = BuildInputs(
        path="result",
        task=None,
        costs=RowCosts(),
        device=where,
        abort=lambda: None,
        model_roots=model_roots,
        cache_dir=cache_dir or default_cache_dir(),
        known=KeptResults(_KEPT_BYTES),
        threads=torch.get_num_threads(),
        tuned_models=tuned_models or {},
        api_key=api_key or TrainerSecrets().openai_api_key.get_secret_value(),
    )
    return reopened(result, inputs, wanted, model or document["model"], probe)


def reopened(
    result: ResultFolder,
    inputs: BuildInputs,
    use: str,
    model: str,
    probe: LinearProbe | None = None,
) -> ResultPredictor:
    """A predictor of a run's files.

    Args:
        result: The files.
        inputs: Loads the model.
        use: One of `USES`.
        model: Reference of the model.
        probe: The linear probe, if there is one; the use ``probe`` needs it.
    """
    document = result.document
    kind = OBJECTIVES.get(document["objective"])
    if kind is None or not kind.reopen:
        raise InvalidInput(f"results of {document['objective']} runs do not predict")
    tensors = {name: tensor.to(inputs.device) for name, tensor in result.tensors.items()}
    try:
        tuned = load_object(kind.reopen)(TunedFiles(document, tensors, model), inputs)
    except (KeyError, IndexError) as error:
        raise DataLoss(f"{result.path}: {MODEL_FILE} or {ARTIFACT} lacks {error}") from None
    except InvalidInput as error:
        if error.reason != MODEL_NOT_FOUND:
            raise
        what = "; ".join(violation.description for violation in error.violations)
        raise NotFound(
            f"{what}; if the run's model is elsewhere by now, say where (model=, --model)",
            reason=MODEL_NOT_FOUND,
        ) from error
    return ResultPredictor(result, tuned, use, probe)


def usable_device(name: str) -> torch.device:
    """The torch device of this name.

    Raises:
        InvalidInput: torch does not know it, or it is not there.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # the latter without CUDA in torch
        why = str(error).partition("\n")[0]
        raise InvalidInput.field("device", f"{name!r} cannot be used here: {why}") from None
    return device


def _device(document: Mapping[str, Any]) -> str:
    return "cuda" if document["device"] == "cuda" and torch.cuda.is_available() else "cpu"
