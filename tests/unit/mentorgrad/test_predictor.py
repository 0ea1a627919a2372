"""The SDK's way to a predictor, without the extra and with a stand-in for it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import mentorgrad
from mentorgrad.domain.prediction import check_sequences
from mentorgrad.errors import InvalidInput, Unsupported
from mentorgrad.installed import pip_line


class Told(mentorgrad.Predictor):
    """Every text is of the second class."""

    def __init__(self) -> None:
        self.labels = ("no", "yes")
        self.is_paired = False
        self.use = "prompt"
        self.columns = {"text_field": "message"}

    def predict_proba(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None
    ) -> NDArray[np.float64]:
        return np.tile([0.25, 0.75], (len(texts), 1))


class Entry:
    """An entry point."""

    def __init__(self, found: Any) -> None:
        self._found = found

    def load(self) -> Any:
        if isinstance(self._found, Exception):
            raise self._found
        return self._found


def put(monkeypatch: pytest.MonkeyPatch, *found: Any) -> None:
    def entry_points(group: str, name: str) -> list[Entry]:
        assert (group, name) == ("mentorgrad.predictors", "results")
        return [Entry(item) for item in found]

    monkeypatch.setattr("importlib.metadata.entry_points", entry_points)


@pytest.mark.parametrize("found", [(), (ModuleNotFoundError("no torch", name="torch"),)])
def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, found: tuple[Any, ...]) -> None:
    put(monkeypatch, *found)
    with pytest.raises(Unsupported, match=re.escape(pip_line("trainer"))) as refused:
        mentorgrad.Predictor.load("result")
    assert refused.value.reason == "MISSING_EXTRA"


def test_without_a_folder_for_temporary_files_the_variable_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/nowhere"])
    with pytest.raises(InvalidInput, match="TMPDIR: must name a folder"):
        mentorgrad.Predictor.load("result")


@pytest.mark.parametrize(
    "given",
    [
        "text",
        b"text",
        {"a", "b"},
        {"a": 1},
        np.zeros((2, 2)),
        SimpleNamespace(ndim=2, __iter__=lambda: iter("ab")),
    ],
)
def test_a_text_or_a_table_is_no_sequence_of_texts(given: object) -> None:
    check_sequences(["a"], None, np.array(["a"]), iter("a"))
    with pytest.raises(InvalidInput, match="not a single text or a table"):
        check_sequences(["a"], given)


def test_what_is_given_reaches_the_implementation(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    def load(folder: Path, use: str | None, **others: Any) -> Told:
        given.update(others, folder=folder, use=use)
        return Told()

    put(monkeypatch, load)
    with mentorgrad.Predictor.load("result", "words", model_roots=["models"]) as predictor:
        assert predictor.predict(["a", "b"]) == ["yes", "yes"]
        assert predictor.predict([]) == []
    assert given == {
        "folder": Path("result"),
        "use": "words",
        "device": None,
        "model": "",
        "model_roots": [Path("models")],
        "cache_dir": None,
        "tuned_models": {},
        "api_key": "",
    }
