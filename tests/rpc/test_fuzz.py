"""A short campaign of odd requests; ``python -m campaigns.fuzz`` makes long ones."""

from __future__ import annotations

from pathlib import Path

from grpc import StatusCode

from campaigns.fuzz.campaign import run, stopped
from campaigns.fuzz.methods import MENTOR, METHODS, PREDICTOR, TRAINER
from campaigns.fuzz.services import Services
from campaigns.fuzz.valid import VALID

CASES = 150
SHARE = {"generated": 1, "spoilt": 4, "raw": 1}


def test_odd_requests_get_documented_answers_and_harm_nobody(tmp_path: Path) -> None:
    with Services(tmp_path) as services:
        report = run(services, CASES, 0, share=SHARE)
        assert services.dead() == {}
    stopped(services.codes, report)
    assert set(services.codes) == {MENTOR, PREDICTOR, TRAINER}
    assert report.failures == []
    assert report.cases >= CASES
    assert set(report.by_method) == {method.short for method in METHODS}
    assert set(report.by_kind) == {"heaviest", "generated", "spoilt", "raw"}
    assert {m.short for m in METHODS if m.service.startswith("mentorgrad.")} - set(VALID) == {
        "MentorService.GetMentorInfo",
        "PredictService.GetPredictorInfo",
        "TrainerService.GetTrainerInfo",
    }
    # It comes past the first check, and does not only say what is right.
    for name in ("CreateRun", "CreateExperiment", "ListRuns", "Advise", "Propose", "Predict"):
        answers = next(codes for method, codes in report.codes.items() if method.endswith(name))
        assert answers[StatusCode.OK.name]
        assert answers[StatusCode.INVALID_ARGUMENT.name]
