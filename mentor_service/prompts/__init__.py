"""Every question that is put to an LLM: one module a family, and `page` for what they share.

A question is a pure function of a `Page` (the facts) and of what a strategy chose to show. How it
is worded follows from the fields of the page's profile. Examples in it are written by
`mentor_service.formats`, whose forms `mentor_service.parsing` reads.
"""

from mentor_service.prompts.breeding import cross, differ
from mentor_service.prompts.edits import Move, amend, criticise, follow, mend
from mentor_service.prompts.lists import climb, exploit, explore, trajectory
from mentor_service.prompts.page import (
    EXAMPLE_PHRASES,
    WORDINGS,
    Message,
    Page,
    Shown,
    compose,
    entries,
    entry,
    foreign_words,
    plain,
)
from mentor_service.prompts.released import image_templates

__all__ = [
    "EXAMPLE_PHRASES",
    "WORDINGS",
    "Message",
    "Move",
    "Page",
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
