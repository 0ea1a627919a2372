"""Every question that is put to an LLM: one module a family, and `facts` for what they share.

A question is a pure function of `QuestionFacts` and of the candidates that a strategy chose to
show. Its wording follows from the fields of the model's profile. Examples in it are written by
`mentor_service.formats`, whose forms `mentor_service.parsing` reads.
"""

from mentor_service.prompts.candidate_lists import climb, exploit, explore, trajectory
from mentor_service.prompts.edits import Move, amend, criticise, follow, mend
from mentor_service.prompts.evolution import cross, differ
from mentor_service.prompts.question_facts import (
    EXAMPLE_PHRASES,
    WORDINGS,
    Message,
    QuestionFacts,
    Shown,
    compose,
    entries,
    entry,
    foreign_words,
    plain,
)
from mentor_service.prompts.released import image_templates

Page = QuestionFacts
"""Former name of `QuestionFacts`, for strategies in other packages."""

__all__ = [
    "EXAMPLE_PHRASES",
    "WORDINGS",
    "Message",
    "Move",
    "Page",
    "QuestionFacts",
    "Shown",
    "amend",
    "climb",
    "compose",
    "criticise",
    "cross",
    "differ",
    "entries",
    "entry",
    "exploit",
    "explore",
    "follow",
    "foreign_words",
    "image_templates",
    "mend",
    "plain",
    "trajectory",
]
