"""How a trajectory becomes a question and a reply proposals.

What a strategy of one's own needs is exported here; see docs/adding-a-strategy.md. The registry
(`mentor_service.strategies.registry`) holds the strategies that can be asked for.
"""

from mentor_service import prompts
from mentor_service.likeness import canonical, edit_distance
from mentor_service.parsing import Found
from mentor_service.profiles import Profile
from mentor_service.prompts import Message, Page, Shown
from mentor_service.protocols import Ask, Knowledge, Question, Reply, Strategy
from mentor_service.strategies import pool
from mentor_service.strategies.base import PromptedStrategy
from mentor_service.strategies.options import Options
from mentor_service.strategies.talk import Draft, Talk
from mentorgrad.model.advice import Answer, ProposalKind, ProposalRequest, Wants
from mentorgrad.model.run import Candidate

__all__ = [
    "Answer",
    "Ask",
    "Candidate",
    "Draft",
    "Found",
    "Knowledge",
    "Message",
    "Options",
    "Page",
    "Profile",
    "PromptedStrategy",
    "ProposalKind",
    "ProposalRequest",
    "Question",
    "Reply",
    "Shown",
    "Strategy",
    "Talk",
    "Wants",
    "canonical",
    "edit_distance",
    "pool",
    "prompts",
]
