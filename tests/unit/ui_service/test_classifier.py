"""A classifier that visitors try."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from mentorgrad.domain.prediction import Prediction, PredictorInfo
from mentorgrad.errors import InvalidInput, Unavailable
from tests.support.told_trainer import ToldTrainer
from tests.unit.ui_service.test_api import asked, browsing
from ui_service.page_token import TOKEN_HEADER


class ToldPredictor:
    """Says "good" of every text."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.failure: Exception | None = None

    async def info(self) -> PredictorInfo:
        return PredictorInfo(("bad", "good"), use="words", run_id="r1")

    async def predict(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None
    ) -> tuple[Prediction, ...]:
        self.asked.append((texts, pairs))
        if self.failure is not None:
            raise self.failure
        share = [0.99 if "sure" in text else 0.75 for text in texts]
        return tuple(Prediction("good", 1, (1 - one, one)) for one in share)


async def predict(
    browser: httpx.AsyncClient, body: Any, path: str = "/predictions", **headers: str
) -> httpx.Response:
    token = (await asked(browser, "/session"))["token"]
    sent = {"origin": str(browser.base_url), TOKEN_HEADER: token} | headers
    return await browser.post(f"/api/v1{path}", json=body, headers=sent)


async def compare(browser: httpx.AsyncClient, body: Any, **headers: str) -> httpx.Response:
    return await predict(browser, body, "/predictions/compared", **headers)


async def test_a_text_is_predicted(tmp_path: Path) -> None:
    told = ToldPredictor()
    async with browsing(ToldTrainer(), tmp_path, predicting=told) as browser:
        assert (await asked(browser, "/session"))["classifier"] is True
        info = (await asked(browser, "/predictor"))["predictor"]
        assert info == {"labels": ["bad", "good"], "use": "words", "runId": "r1"}
        response = await predict(browser, {"text": "a text"})
        assert response.json()["prediction"] == {
            "label": "good",
            "labelIndex": 1,
            "probabilities": [0.25, 0.75],
        }
        await predict(browser, {"text": "one", "pair": "other"})
    assert told.asked == [(("a text",), None), (("one",), ("other",))]


@pytest.mark.parametrize("body", [None, [], {}, {"text": 5}, {"text": "a", "pair": 5}])
async def test_what_is_no_text_is_refused(tmp_path: Path, body: Any) -> None:
    told = ToldPredictor()
    async with browsing(ToldTrainer(), tmp_path, predicting=told) as browser:
        assert (await predict(browser, body)).status_code == 400
        assert (await predict(browser, {"text": "a"}, **{TOKEN_HEADER: "x"})).status_code == 403
    assert told.asked == []


async def test_what_the_service_refuses_is_said(tmp_path: Path) -> None:
    told = ToldPredictor()
    async with browsing(ToldTrainer(), tmp_path, predicting=told) as browser:
        for failure, status in {
            InvalidInput.field("texts[0]", "is empty"): 400,
            Unavailable("no answer from 127.0.0.1:1"): 503,
        }.items():
            told.failure = failure
            response = await predict(browser, {"text": ""})
            assert response.status_code == status
            assert response.json()["error"]["message"] == failure.message


async def test_a_page_without_a_classifier_says_so(tmp_path: Path) -> None:
    async with browsing(ToldTrainer(), tmp_path) as browser:
        assert (await asked(browser, "/session"))["classifier"] is False
        assert await asked(browser, "/predictor") == {"predictor": None}
        response = await predict(browser, {"text": "a"})
        assert response.json()["error"]["reason"] == "NO_PREDICTOR"


async def test_labelled_rows_are_compared_with_their_predictions(tmp_path: Path) -> None:
    told = ToldPredictor()
    texts = [f"text {row}" for row in range(32)] + ["a sure one"]
    labels = ["good"] * 31 + ["bad", "bad"]
    async with browsing(ToldTrainer(), tmp_path, predicting=told) as browser:
        found = (await compare(browser, {"texts": texts, "labels": labels})).json()
        told.failure = InvalidInput.field("texts[0]", "is empty")
        one = {"texts": ["a"] * 2, "labels": ["bad"] * 2, "pairs": ["b"] * 2}
        assert (await compare(browser, one)).json()["error"]["field"] == "texts[0]"
    assert [len(asked[0]) for asked in told.asked] == [32, 1, 2]  # others have their turn between
    assert told.asked[-1] == (("a", "a"), ("b", "b"))
    assert (found["rows"], found["wrong"]) == (33, 2)
    assert [(error["row"], error["probability"]) for error in found["errors"]] == [
        (32, 0.99),
        (31, 0.75),
    ]
    assert found["errors"][0] | {"probability": 0} == {
        "row": 32,
        "label": "bad",
        "predicted": "good",
        "probability": 0,
    }
    assert [score.get("guesses") for score in found["labelScores"]] == [["0", "2"], ["0", "31"]]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "texts"),
        ({"texts": "a", "labels": ["bad"]}, "texts"),
        ({"texts": [], "labels": []}, "texts"),
        ({"texts": ["a"] * 1001, "labels": ["bad"] * 1001}, "texts"),
        ({"texts": ["a"], "labels": []}, "labels"),
        ({"texts": ["a"], "labels": ["bad"], "pairs": None}, "texts"),
        ({"texts": ["a"], "labels": ["bad"], "pairs": []}, "pairs"),
        ({"texts": ["a", "b"], "labels": ["bad", "worse"]}, "labels[1]"),
    ],
)
async def test_rows_that_make_no_sense_are_refused(tmp_path: Path, body: Any, field: str) -> None:
    told = ToldPredictor()
    async with browsing(ToldTrainer(), tmp_path, predicting=told) as browser:
        refused = await compare(browser, body)
        assert (refused.status_code, refused.json()["error"]["field"]) == (400, field)
        assert (await compare(browser, body, **{TOKEN_HEADER: "x"})).status_code == 403
    assert told.asked == []
