from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, ClassVar

import numpy as np
import pytest

from mentor_service import session as module
from mentor_service.backends.scripted import ScriptedBackend, repeat
from mentor_service.profiles import PROFILES
from mentor_service.protocols import Ask, Knowledge
from mentor_service.session import AdviseSession
from mentor_service.strategies.maao import Maao
from mentorgrad.domain.advice import (
    AdviseOpen,
    Answer,
    AnswerStatus,
    Batch,
    Constraints,
    Outcomes,
    ProposalKind,
    ProposalOutcome,
    ProposalRequest,
    Wants,
)
from mentorgrad.domain.run import Candidate, Score, Snapshot
from mentorgrad.errors import InvalidInput, MentorgradError, ResourceExhausted, Unavailable

GOOD = "1. first words\n2. second words\n"


def opened(backend: ScriptedBackend, strategy: Any = None, **open_: Any) -> AdviseSession:
    chosen = strategy or Maao(PROFILES["small"], {}, backend.model)
    return AdviseSession(AdviseOpen("s", **open_), chosen, backend, "small")


def request(name: str = "r1", timeout: float = 10.0, **more: Any) -> ProposalRequest:
    return ProposalRequest(name, count=2, timeout=timedelta(seconds=timeout), **more)


def batch(seq: int, **more: Any) -> Batch:
    return Batch(seq, candidates=(Candidate(f"c{seq}", text=f"text {seq}"),), **more)


class Greedy:
    """A strategy that wants raw parameters."""

    name: ClassVar[str] = "greedy"
    wants: ClassVar[Wants] = Wants(parameters=True)

    async def propose(self, asked: ProposalRequest, known: Knowledge, ask: Ask) -> Answer:
        raise ValueError("a defect")


async def test_accepted_says_wants_model_and_profile() -> None:
    accepted = opened(ScriptedBackend(repeat([GOOD]))).accepted
    assert (accepted.wants, accepted.model, accepted.profile) == (Wants(), "scripted", "small")


async def test_batches_are_acknowledged_and_repeats_ignored() -> None:
    session = opened(ScriptedBackend(repeat([GOOD])))
    assert session.take(batch(1)) == 1
    assert session.take(batch(2)) == 2
    assert session.take(batch(1)) == 2
    assert list(session.knowledge().pool) == ["c1", "c2"]


async def test_a_gap_is_refused_and_leaves_the_session_as_it_was() -> None:
    session = opened(ScriptedBackend(repeat([GOOD])))
    session.take(batch(1))
    with pytest.raises(InvalidInput) as caught:
        session.take(batch(3))
    assert caught.value.reason == "BATCH_GAP"
    assert caught.value.violations[0].field == "batch.seq"
    assert session.take(batch(2)) == 2


async def test_parameters_must_match_the_snapshots() -> None:
    session = opened(ScriptedBackend(repeat([GOOD])))
    wrong = Batch(1, snapshots=(Snapshot(1),), parameters=np.zeros((2, 3), np.float32))
    with pytest.raises(InvalidInput) as caught:
        session.take(wrong)
    assert caught.value.violations[0].field == "batch.parameters"


async def test_the_same_request_gets_the_same_answer_and_is_computed_once() -> None:
    backend = ScriptedBackend(repeat([GOOD, "1. other words\n2. more words\n"]))
    session = opened(backend)
    first = await session.answer(request())
    assert await session.answer(request()) == first
    assert len(backend.questions) == 1
    assert await session.answer(request("r2")) != first


async def test_the_same_request_at_once_is_computed_once() -> None:
    backend = ScriptedBackend(repeat([GOOD]), delay=0.05)
    session = opened(backend)
    answers = await asyncio.gather(*(session.answer(request()) for _ in range(3)))
    assert answers[0] == answers[1] == answers[2]
    assert len(backend.questions) == 1


async def test_batches_are_taken_in_while_an_answer_is_made() -> None:
    session = opened(ScriptedBackend(repeat([GOOD]), delay=0.2))
    task = asyncio.create_task(session.answer(request()))
    await asyncio.sleep(0.05)
    assert session.take(batch(1)) == 1
    assert (await task).status is AnswerStatus.USABLE


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Unavailable("gone"), AnswerStatus.UNAVAILABLE),
        (ResourceExhausted("busy"), AnswerStatus.UNAVAILABLE),
        (InvalidInput("no", reason="BAD_GRAMMAR"), AnswerStatus.REFUSED),
    ],
)
async def test_trouble_of_the_backend_is_a_typed_outcome(
    error: MentorgradError, status: AnswerStatus
) -> None:
    answer = await opened(ScriptedBackend(repeat([error]))).answer(request())
    assert (answer.status, answer.request_id, answer.proposals) == (status, "r1", ())
    assert answer.detail == error.message


@pytest.mark.slow
async def test_too_slow_is_timed_out_and_may_be_asked_again() -> None:
    backend = ScriptedBackend(repeat([GOOD]), delay=0.3)
    session = opened(backend)
    late = await session.answer(request(timeout=0.05))
    assert late.status is AnswerStatus.TIMED_OUT
    assert backend.cancelled == len(backend.questions)  # none, if the machine is that slow
    assert (await session.answer(request())).status is AnswerStatus.USABLE


async def test_an_unusable_answer_is_remembered() -> None:
    backend = ScriptedBackend(repeat(["?!", "?!", GOOD]))
    session = opened(backend)
    first = await session.answer(request())
    assert first.status is AnswerStatus.UNUSABLE
    assert [record.raw_replies for record in first.records] == [("?!",), ("?!",)]
    assert await session.answer(request()) == first


async def test_a_defect_of_a_strategy_is_an_outcome_that_shows_nothing_of_it() -> None:
    answer = await opened(ScriptedBackend(repeat([GOOD])), Greedy()).answer(request())
    assert answer.status is AnswerStatus.UNAVAILABLE
    assert "defect" not in answer.detail


async def test_too_many_proposals_name_their_field() -> None:
    session = opened(ScriptedBackend(repeat([GOOD])))
    with pytest.raises(InvalidInput) as caught:
        await session.answer(ProposalRequest("r", count=65))
    assert caught.value.violations[0].field == "request.count"


async def test_close_ends_a_pending_answer() -> None:
    backend = ScriptedBackend(repeat([GOOD]), delay=60)
    session = opened(backend)
    task = asyncio.create_task(session.answer(request()))
    await asyncio.sleep(0.05)
    await session.close()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert backend.cancelled == 1


@pytest.mark.parametrize(
    ("constraints", "field"),
    [
        (Constraints(kind=ProposalKind.NUMBERS), "open.constraints.dimensions"),
        (
            Constraints(kind=ProposalKind.NUMBERS, dimensions=2, lower=1, upper=1),
            "open.constraints.lower",
        ),
    ],
)
def test_constraints_that_nothing_satisfies_are_refused(
    constraints: Constraints, field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        opened(ScriptedBackend(repeat([GOOD])), constraints=constraints)
    assert caught.value.violations[0].field == field


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SNAPSHOTS", 100)
    monkeypatch.setattr(module, "MAX_CANDIDATES", 40)
    monkeypatch.setattr(module, "MAX_PARAMETER_BYTES", 4_000)
    monkeypatch.setattr(module, "MAX_OUTCOMES", 3)
    session = opened(ScriptedBackend(repeat([GOOD])), Greedy())
    for seq in range(1, 61):
        snapshots = tuple(Snapshot(10 * seq + n) for n in range(10))
        candidate = Candidate(f"c{seq}", score=Score(loss=float(seq % 50)))
        session.take(
            Batch(seq, 0, snapshots, np.zeros((10, 5), np.float32), candidates=(candidate,))
        )
        session.note(Outcomes(f"r{seq}"))
    known = session.knowledge()
    steps = [snapshot.step for _, snapshot in known.snapshots]
    assert len(steps) <= 100
    assert steps == sorted(steps)
    assert steps[-10:] == list(range(600, 610))
    assert len(known.pool) <= 40
    assert min(item.score.loss for item in known.pool.values()) == 0.0
    # Ten rows of 20 bytes and ten snapshots: 1200 bytes a batch.
    assert [item.seq for item in known.batches] == [58, 59, 60]
    assert not any(item.candidates for item in known.batches)
    assert [item.request_id for item in known.outcomes] == ["r58", "r59", "r60"]


async def test_batches_without_a_byte_of_parameters_are_bounded_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_RAW_BATCHES", 5)
    session = opened(ScriptedBackend(repeat([GOOD])), Greedy())
    for seq in range(1, 21):
        session.take(Batch(seq, parameters=np.zeros((0, 3), np.float32)))
    assert [item.seq for item in session.knowledge().batches] == [16, 17, 18, 19, 20]


async def test_snapshots_of_empty_parameters_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PARAMETER_BYTES", 50_000)
    session = opened(ScriptedBackend(repeat([GOOD])), Greedy())
    for seq in range(1, 11):
        snapshots = tuple(Snapshot(step) for step in range(100))
        session.take(Batch(seq, 0, snapshots, np.zeros((100, 0), np.float32)))
    assert [item.seq for item in session.knowledge().batches] == [6, 7, 8, 9, 10]


async def test_entries_without_letters_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Positions, and the empty names of parents, take room without a letter."""
    monkeypatch.setattr(module, "MAX_TEXT_BYTES", 100_000)
    session = opened(ScriptedBackend(repeat([GOOD])))
    for seq in range(1, 21):
        score = Score(loss=float(seq))
        positions = Candidate(f"p{seq}", filled=tuple(range(1_000)), score=score)
        parents = Candidate(f"n{seq}", parents=("",) * 1_000, score=score)
        session.take(Batch(seq, 0, candidates=(positions, parents)))
    assert 1 <= len(session.knowledge().pool) <= 2


@pytest.mark.parametrize("kept", range(1, 6))
async def test_few_but_long_texts_are_bounded(monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    monkeypatch.setattr(module, "MAX_TEXT_BYTES", 1_220 * kept)
    session = opened(ScriptedBackend(repeat([GOOD])))
    words = "w" * 1_000
    for seq in range(1, 21):
        candidate = Candidate(f"c{seq}", text=words, score=Score(loss=float(-seq)))
        session.take(Batch(seq, 0, (Snapshot(seq, text=words),), candidates=(candidate,)))
        session.note(Outcomes(f"r{seq}", (ProposalOutcome("p", detail=words),)))
    known = session.knowledge()
    assert 1 <= len(known.snapshots) <= kept
    assert known.snapshots[-1][1].step == 20
    assert 1 <= len(known.pool) <= kept
    assert "c20" in known.pool
    assert [item.request_id for item in known.outcomes] == [f"r{n}" for n in range(21 - kept, 21)]


def test_texts_count_by_the_memory_they_take(monkeypatch: pytest.MonkeyPatch) -> None:
    """A character takes up to four bytes."""
    monkeypatch.setattr(module, "MAX_TEXT_BYTES", 50_000)
    kept = {}
    for letter in "a\u0431\U0001f600":
        session = opened(ScriptedBackend(repeat([GOOD])))
        for seq in range(1, 21):
            text = letter * 5_000
            candidate = Candidate(f"c{seq}", text=text, score=Score(loss=float(-seq)))
            session.take(Batch(seq, 0, (Snapshot(seq, text=text),), candidates=(candidate,)))
        known = session.knowledge()
        kept[letter] = len(known.snapshots), len(known.pool)
        assert 5_000 < session.size < 110_000
    sizes = list(kept.values())
    assert sizes == sorted(sizes, reverse=True)
    assert max(sizes[-1]) <= 2 < min(sizes[0])


async def test_long_answers_are_not_all_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TEXT_BYTES", 50_000)
    backend = ScriptedBackend(repeat(["1. good words\n" + "blah " * 2_000]))
    session = opened(backend)
    for number in range(10):
        await session.answer(request(f"r{number}"))
    asked = len(backend.questions)
    await session.answer(request("r9"))
    assert len(backend.questions) == asked
    await session.answer(request("r0"))
    assert len(backend.questions) > asked


async def test_an_error_that_cannot_be_spelt_is_an_outcome_that_can_be_sent() -> None:
    answer = await opened(ScriptedBackend(repeat([Unavailable("it said \ud800")]))).answer(
        request()
    )
    assert answer.status is AnswerStatus.UNAVAILABLE
    assert answer.detail.encode() == b"it said ?"


# -- embeddings and losses by exemplar --------------------------------------------------------


class Vectors(Greedy):
    """A strategy that wants what goes with candidates."""

    wants: ClassVar[Wants] = Wants(embeddings=True, exemplars=True)


def scored(seq: int, count: int = 2, width: int = 3, **more: Any) -> Batch:
    names = [f"c{seq}.{number}" for number in range(count)]
    rows = np.full((count, width), float(seq), np.float32)
    told = {"embeddings": rows, "exemplar_losses": rows + 1, **more}
    candidates = tuple(Candidate(name, text=name, score=Score(float(seq))) for name in names)
    return Batch(seq, candidates=candidates, **told)


async def test_rows_of_candidates_are_kept_by_candidate_when_they_are_wanted() -> None:
    backend = ScriptedBackend(repeat([GOOD]))
    for strategy, wanted in ((Vectors(), True), (None, False)):
        session = opened(backend, strategy)
        session.take(scored(1))
        session.take(scored(2, embeddings=None))
        known = session.knowledge()
        assert sorted(known.embeddings) == (["c1.0", "c1.1"] if wanted else [])
        assert len(known.exemplar_losses) == (4 if wanted else 0)
    assert opened(backend, Vectors()).accepted.wants.embeddings


@pytest.mark.parametrize("field", ["embeddings", "exemplar_losses"])
@pytest.mark.parametrize("shape", [(1, 3), (3, 3), (2,), (2, 3, 1)])
async def test_rows_must_match_the_candidates(field: str, shape: tuple[int, ...]) -> None:
    session = opened(ScriptedBackend(repeat([GOOD])), Vectors())
    with pytest.raises(InvalidInput) as caught:
        session.take(scored(1, **{field: np.zeros(shape, np.float32)}))
    assert caught.value.violations[0].field == f"batch.{field}"
    assert session.take(scored(1)) == 1


async def test_rows_go_with_their_candidates_and_when_there_are_too_many_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_CANDIDATES", 8)
    session = opened(ScriptedBackend(repeat([GOOD])), Vectors())
    for seq in range(1, 21):
        session.take(scored(seq))
    known = session.knowledge()
    assert set(known.embeddings) == set(known.pool)
    assert set(known.exemplar_losses) == set(known.pool)
    monkeypatch.setattr(module, "MAX_VECTOR_BYTES", 3_000)
    session = opened(ScriptedBackend(repeat([GOOD])), Vectors())
    for seq in range(1, 4):
        session.take(scored(seq, width=200))
    assert list(session.knowledge().embeddings) == ["c2.1", "c3.0", "c3.1"]
