"""A training loop with a mentor, recorded as a run."""

from pathlib import Path

import numpy as np

from mentorgrad import (
    DEFAULT_ENCODER,
    Answer,
    Client,
    MentorClient,
    MentorSession,
    Proposal,
    ProposalOutcome,
    ProposalStatus,
    RunRecorder,
    RunSpec,
    resolve,
)


def ask(session: MentorSession) -> Proposal | None:
    answer: Answer = session.ask(count=4, timeout=30.0)
    session.report(
        [ProposalOutcome(one.proposal_id, ProposalStatus.NOT_CHOSEN) for one in answer.proposals]
    )
    return answer.proposals[0] if answer.proposals else None


def train(mentor_address: str, trainer_address: str) -> str:
    encoder: Path = resolve(DEFAULT_ENCODER)
    with (
        MentorClient(mentor_address) as mentor,
        Client(trainer_address) as trainer,
        mentor.session("what a message is about", labels=("a", "b"), record_to=trainer) as session,
    ):
        session.push(1, 0.5, text="words", parameters=np.zeros((8, 384), np.float32))
        session.candidate("words", 0.4)
        proposal = ask(session)
        print(encoder.name, proposal.text if proposal else "no proposal")
    return session.run.run_id if session.run is not None else ""


def record(path: Path) -> Path:
    return RunRecorder(RunSpec(), path).path
