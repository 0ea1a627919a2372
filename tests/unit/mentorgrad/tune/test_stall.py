"""When the run of a tune is stopped."""

from __future__ import annotations

from mentorgrad.domain.event import CandidatesScored, Segment, StageStarted
from mentorgrad.domain.run import Candidate, Score
from mentorgrad.domain.spec import Criterion
from mentorgrad.tune.stall import Stall
from tests.support.event_maker import EventMaker


def scored(stage: int, loss: float, accuracy: float) -> CandidatesScored:
    return CandidatesScored(stage, (Candidate(score=Score(loss=loss, accuracy=accuracy, rows=4)),))


def reasons(stall: Stall, *payloads: object) -> list[str]:
    event = EventMaker("a-run")
    return [stall.reason(event(payload)) for payload in payloads]  # type: ignore[arg-type]


COURSE = (
    scored(0, 1.0, 0.5),
    StageStarted(0),
    scored(0, 0.8, 0.5),
    StageStarted(1),
    scored(1, 0.9, 0.75),
    StageStarted(2),
    scored(2, 0.9, 0.75),
    StageStarted(3),
)


def test_it_ends_after_stages_without_a_better_candidate() -> None:
    by_loss = Stall(2, Criterion.LOSS, 1e9, lambda: 0.0)
    assert reasons(by_loss, *COURSE) == [""] * 7 + ["no better candidate in 2 stages"]
    by_accuracy = Stall(1, Criterion.ACCURACY, 1e9, lambda: 0.0)
    assert reasons(by_accuracy, *COURSE)[5:] == ["", "", "no better candidate in 1 stage"]
    patient = Stall(0, Criterion.LOSS, 1e9, lambda: 0.0)
    assert not any(reasons(patient, *COURSE))


def test_it_ends_when_time_is_up_and_there_is_something_to_keep() -> None:
    late = Stall(0, Criterion.LOSS, 10.0, lambda: 11.0)
    assert reasons(late, StageStarted(0), Segment()) == ["", ""]
    said = reasons(late, scored(0, 1.0, 0.5), StageStarted(1))
    assert said == ["", "the time for training is up"]
