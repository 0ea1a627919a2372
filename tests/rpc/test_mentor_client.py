"""The SDK's mentor clients against the real servicer with scripted replies."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mentor_service.backends.scripted import ScriptedBackend, repeat
from mentor_service.composition import MentorServer
from mentor_service.profiles import choose
from mentorgrad import errors
from mentorgrad.client import BackgroundLoop, MentorClient
from mentorgrad.domain.advice import AdviseOpen, AnswerStatus, ProposalRequest, ProposeInput
from mentorgrad.mentor_client import AsyncMentorClient

QUESTION = ProposeInput(
    open=AdviseOpen(session_id="a session"),
    request=ProposalRequest(request_id="a request", count=2),
)


async def scripted() -> tuple[MentorServer, str]:
    backend = ScriptedBackend(repeat(["kind words\nother words"]))
    server = MentorServer(backend, choose("small", None, backend.context_tokens), "127.0.0.1:0")
    return server, await server.start()


@pytest.fixture
async def mentor() -> AsyncIterator[AsyncMentorClient]:
    server, address = await scripted()
    async with AsyncMentorClient(address) as client:
        yield client
    await server.stop()


async def test_one_question(mentor: AsyncMentorClient) -> None:
    answer = await mentor.propose(QUESTION)
    assert answer.status is AnswerStatus.USABLE
    assert [proposal.text for proposal in answer.proposals] == ["kind words", "other words"]
    assert answer.records[0].raw_replies == ("kind words\nother words",)


async def test_info(mentor: AsyncMentorClient) -> None:
    info = await mentor.info()
    assert info.backend == "scripted"
    assert "maao" in {strategy.name for strategy in info.strategies}


async def test_bad_questions_name_the_field(mentor: AsyncMentorClient) -> None:
    with pytest.raises(errors.InvalidInput) as here:
        await mentor.propose(ProposeInput())
    assert here.value.violations[0].field == "open.session_id"
    unknown = AdviseOpen(session_id="a session", strategy="nonsense")
    with pytest.raises(errors.InvalidInput) as there:
        await mentor.propose(ProposeInput(open=unknown, request=QUESTION.request))
    assert "strategy" in there.value.violations[0].field


def test_the_facade_offers_the_same() -> None:
    loop = BackgroundLoop.acquire()
    server, address = loop.run(scripted())
    with MentorClient(address) as mentor:
        assert mentor.info().model == "scripted"
        assert mentor.propose(QUESTION).status is AnswerStatus.USABLE
    loop.run(server.stop())
    loop.release()
