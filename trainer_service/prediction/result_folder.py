"""The folder of a run's files, read and checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from mentorgrad.errors import DataLoss, InvalidInput, MentorgradError, NotFound
from mentorgrad.predictor import UNFINISHED
from trainer_service import tensorfile
from trainer_service.baselines.linear_probe import LinearProbe
from trainer_service.baselines.probe_file import read_probe
from trainer_service.objectives.model_file import FORMAT
from trainer_service.objectives.torch_free import ARTIFACT, MODEL_FILE, PROBE_FILE


@dataclass(frozen=True, eq=False)
class ResultFolder:
    """What a run left, on the CPU."""

    path: Path
    """The folder."""
    document: Mapping[str, Any]
    """``model.json``."""
    tensors: Mapping[str, Tensor]
    """Those of ``prompt.safetensors``."""
    sha256: str
    """Hex SHA-256 of the files that predict: of one line ``SHA256  NAME`` for each, as
    ``sha256sum`` writes them."""

    @property
    def has_probe(self) -> bool:
        """Whether the run has left a linear probe."""
        return (self.path / PROBE_FILE).is_file()

    def probe(self) -> LinearProbe:
        """The linear probe.

        Raises:
            NotFound: The run has left none.
            DataLoss: It is damaged.
        """
        file = self.path / PROBE_FILE
        if not self.has_probe:
            raise NotFound(f"{self.path} holds no {PROBE_FILE}: the run has computed no probe")
        try:
            return read_probe(file.read_bytes())
        except (KeyError, DataLoss):
            raise DataLoss(f"{file} is not a linear probe of a run") from None


def read_result(path: Path) -> ResultFolder:
    """Reads ``model.json`` and ``prompt.safetensors``.

    Raises:
        NotFound: One of them is missing.
        InvalidInput: They are of a version that is not known here (reason RESULT_FORMAT).
        DataLoss: One of them is damaged, or they are of different runs.
    """
    document = _document(path)
    try:
        tensors, metadata = tensorfile.load(_read(path, ARTIFACT))
    except DataLoss as error:
        raise DataLoss(f"{path / ARTIFACT}: {error.message}") from None
    if any(_plain(document.get(name), text) != text for name, text in metadata.items()):
        raise DataLoss(f"{path}: {MODEL_FILE} and {ARTIFACT} are of different runs, or changed")
    return ResultFolder(path, document, tensors, _digest(path))


def _digest(path: Path) -> str:
    names = [name for name in (MODEL_FILE, PROBE_FILE, ARTIFACT) if (path / name).is_file()]
    lines = [f"{hashlib.sha256(_read(path, name)).hexdigest()}  {name}\n" for name in names]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _plain(value: Any, text: str) -> Any:
    """A value of the document as a text, if a text that it should be says the same."""
    if isinstance(value, str):
        return value
    try:
        return text if json.loads(text) == value else None
    except ValueError:
        return None


def _document(path: Path) -> dict[str, Any]:
    file = path / MODEL_FILE
    try:
        document = json.loads(_read(path, MODEL_FILE))
    except ValueError:
        raise DataLoss(f"{file} is not valid JSON") from None
    if not isinstance(document, dict) or "format" not in document:
        raise DataLoss(f"{file} does not describe a result: it names no format")
    if document["format"] != FORMAT:
        raise InvalidInput(
            f"{file} has the format {document['format']}; this version of mentorgrad reads format "
            f"{FORMAT}",
            reason="RESULT_FORMAT",
        )
    missing = {"objective", "spec", "labels", "model", "model_sha256", "prior"} - document.keys()
    if missing:
        raise DataLoss(f"{file} lacks {', '.join(sorted(missing))}")
    return document


def _read(path: Path, name: str) -> bytes:
    try:
        return (path / name).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        if (path / UNFINISHED).is_dir():
            raise NotFound(
                f"{path} holds no result yet: its tuning goes on, or was broken off; the same "
                "`mentorgrad tune` goes on with it"
            ) from None
        raise NotFound(
            f"{path} holds no {name}; a run's files are written to a folder by: "
            "mentorgrad runs download RUN --into FOLDER"
        ) from None
    except OSError as error:
        raise MentorgradError(f"{path / name} cannot be read: {error.strerror}") from error
