"""The prompts of all strategies: one module per family; `question_facts` has what they share.

A prompt is a pure function of `QuestionFacts` and of the candidates that a strategy chose to show.
Its wording depends on the fields of the model profile. `mentor_service.formats` writes the examples
in it, in the formats that `mentor_service.parsing` reads.
"""

from mentor_service.prompts.candidate_lists import climb, exploit, explore, trajectory
from mentor_service.prompts.edits import Move, amend, criticise, follow, mend
from mentor_service.prompts.evolution import cross, differ
from mentor_service.prompts.next_lines import (
    EXAMPLE_TASKS,
    LineKind,
    better_line,
    next_child,
    next_line,
    next_scored_line,
)
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
from mentor_service.prompts.training_settings import settings

Page = QuestionFacts
"""Former name of `QuestionFacts`, for strategies in other packages."""

__all__ = [
    "EXAMPLE_PHRASES",
    "EXAMPLE_TASKS",
    "WORDINGS",
    "LineKind",
    "Message",
    "Move",
    "Page",
    "QuestionFacts",
    "Shown",
    "amend",
    "better_line",
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
    "next_child",
    "next_line",
    "next_scored_line",
    "plain",
    "settings",
    "trajectory",
]
