"""Rubbish from the model: in the parser, in a live mentor, and in a whole run at every question.

``python -m campaigns.faults.bad_replies`` gives a live mentor ten thousand of them.
"""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from campaigns.faults.bad_replies import PROFILES, Campaign
from campaigns.faults.generated_replies import LIMITS, MEBIBYTE, SPECIMENS, bad_replies, broken_rule
from campaigns.faults.local_mentors import Mentors
from campaigns.faults.run_harness import SPEC, RunHarness
from mentor_service.parsing import Parsed
from mentor_service.protocols import Question
from mentorgrad.domain.advice import Answer, AnswerStatus, Proposal, ProposalKind
from mentorgrad.domain.event import EventKind
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import Acceptance, Stages
from mentorgrad.wire.codec import encode

CASES = 100
QUESTIONS = tuple(itertools.product((False, True), ProposalKind))


def _check(parsed: Parsed, kind: ProposalKind) -> None:
    for item in parsed.found:
        assert broken_rule(item, LIMITS[kind]) == ""
    answer = Answer(
        proposals=tuple(
            Proposal(f"s0/p{n}", item.text, item.values, rationale=item.rationale)
            for n, item in enumerate(parsed.found)
        ),
        detail=parsed.detail(),
    )
    assert len(parsed.detail()) < 1_000
    assert len(encode(answer)) < 4 * MEBIBYTE


@settings(max_examples=CASES)
@given(data=st.data(), question=st.sampled_from(QUESTIONS), complete=st.booleans())
def test_a_bad_reply_is_read_as_proposals_within_the_constraints_or_none(
    data: Any, question: tuple[bool, ProposalKind], complete: bool
) -> None:
    as_json, kind = question
    bad = data.draw(bad_replies(kind))
    parsed = Parsed(LIMITS[kind])
    parsed.read(bad.text, as_json, complete)
    _check(parsed, kind)


PIECES = (
    *("7", "7.", "1e", "+", "a", "a ", "a, ", "-", " ", "\n", "1. ", "1. 0.5\n", "[", "{", '"'),
    *('{"a":', "[[", '{"proposals": [', "\\u0061", "(", "\u0663", "9" * 400 + "x "),
)
ENDS = ("", "x", '"]}')


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("piece", "ends"),
    [
        # Every piece with every question and with every end, not with all pairs of these.
        *((piece, ENDS[n % 3 :] + ENDS[: n % 3]) for n, piece in enumerate(PIECES)),
        *(
            pytest.param(piece, (end,), marks=pytest.mark.campaign)
            for piece in PIECES
            for end in ENDS
        ),
    ],
)
def test_a_mebibyte_of_one_thing_is_read_in_one_go(piece: str, ends: tuple[str, ...]) -> None:
    """What costs the square of its length takes minutes here."""
    row = piece * (MEBIBYTE // len(piece) + 1)
    for (as_json, kind), end in zip(QUESTIONS, itertools.cycle(ends), strict=False):
        parsed = Parsed(LIMITS[kind])
        for size in (99_990, MEBIBYTE):
            parsed.read(row[:size] + end, as_json)
        _check(parsed, kind)


def test_a_live_mentor_answers_every_bad_reply(tmp_path: Path) -> None:
    with Campaign(tmp_path, 0) as campaign:
        report = campaign.run(CASES)
    assert report.deaths == report.wrong == []
    assert sum(report.statuses.values()) == report.cases >= CASES
    assert set(report.statuses) == {"usable", "unusable"}
    assert len(report.questions) == len(PROFILES) * len(ProposalKind)


# The live mentors above read rubbish in both forms.
@pytest.mark.parametrize("profile", ["small", pytest.param("capable", marks=pytest.mark.campaign)])
def test_a_run_whose_mentor_writes_rubbish_at_every_question_succeeds(
    profile: str,
) -> None:
    torch.set_num_threads(1)
    given: list[str] = []
    script = itertools.cycle(SPECIMENS.values())

    def say(_: Question) -> str:
        given.append(next(script))
        return given[-1]

    spec = dataclasses.replace(
        SPEC,
        stages=Stages(count=len(SPECIMENS) + 1, steps=1),
        acceptance=Acceptance(finalists=1, probe_steps=1),
    )
    mentors = Mentors()
    try:
        port, _ = mentors.start(script=say, profile=profile)
        harness = RunHarness(f"127.0.0.1:{port}", spec)
        assert harness.execute() is RunState.SUCCEEDED
    finally:
        mentors.close()
    received = harness.payloads(EventKind.PROPOSALS_RECEIVED)
    answers = [item.answer for item in received if not item.is_fallback]
    assert [answer.request_id for answer in answers] == [f"s{n}" for n in range(len(SPECIMENS))]
    statuses = {answer.status for answer in answers}
    assert AnswerStatus.UNUSABLE in statuses
    assert statuses <= {AnswerStatus.USABLE, AnswerStatus.UNUSABLE}
    assert all(bool(a.proposals) is (a.status is AnswerStatus.USABLE) for a in answers)
    assert all(a.proposals or a.detail for a in answers)
    said = [text for a in answers for record in a.records for text in record.raw_replies]
    assert said == [text.encode("utf-8", "replace").decode() for text in given]
    assert len(given) >= len(SPECIMENS)
