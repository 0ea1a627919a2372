"""Strategies: how a trajectory becomes a question, and the reply becomes proposals.

Exports what custom strategies need; see docs/adding-a-strategy.md. The registry of available
strategies is `mentor_service.strategies.registry`.
"""

from mentor_service import prompts
from mentor_service.parsing import ParsedProposal
from mentor_service.profiles import Profile
from mentor_service.prompts import Message, QuestionFacts, Shown
from mentor_service.protocols import Ask, Knowledge, Question, Reply, Strategy
from mentor_service.similarity import canonical, edit_distance
from mentor_service.strategies import shown_candidates
from mentor_service.strategies.base import PromptedStrategy
from mentor_service.strategies.conversation import Conversation
from mentor_service.strategies.drafts import Draft
from mentor_service.strategies.options import Options
from mentorgrad.domain.advice import Answer, ProposalKind, ProposalRequest, Wants
from mentorgrad.domain.run import Candidate

# Former names, for strategies in other packages.
Found = ParsedProposal
Page = QuestionFacts
Talk = Conversation
pool = shown_candidates

__all__ = [
    "Answer",
    "Ask",
    "Candidate",
    "Conversation",
    "Draft",
    "Found",
    "Knowledge",
    "Message",
    "Options",
    "Page",
    "ParsedProposal",
    "Profile",
    "PromptedStrategy",
    "ProposalKind",
    "ProposalRequest",
    "Question",
    "QuestionFacts",
    "Reply",
    "Shown",
    "Strategy",
    "Talk",
    "Wants",
    "canonical",
    "edit_distance",
    "pool",
    "prompts",
    "shown_candidates",
]
