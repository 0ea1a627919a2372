"""The exact questions of every strategy about a fixed trajectory, as files.

Written anew, after a wording was changed on purpose, by::

    python -m tests.support.golden_questions
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from mentor_service.profiles import PROFILES
from mentor_service.protocols import Knowledge, Question
from mentor_service.strategies import registry
from mentorgrad.domain.advice import Constraints
from mentorgrad.errors import InvalidInput
from tests.support.told_strategy import POINTS, SETTINGS, WORDS, Told, candidate, request, told

FOLDER = Path(__file__).parent.parent / "unit" / "mentor_service" / "golden"

CONTINUED = "text to continue\n"
"""The form of a question that is continued instead of answered."""

_VARIANTS = {"evoprompt": [{"variant": "ga"}, {"variant": "de"}]}
_CRITIQUE = "It says nothing of what is the matter."


def files(proposal: str = "", place: str = "") -> Iterator[tuple[str, str]]:
    """Names and contents, for a card that says so what a proposal is."""
    for name in registry.BUILT_IN:
        for options in _VARIANTS.get(name, [{}]):
            for profile in PROFILES:
                for kind, known in (
                    ("words", told(name, WORDS, proposal=proposal, place=place)),
                    ("numbers", told(name, POINTS, proposal=proposal, place=place)),
                    ("settings", told(name, SETTINGS)),
                    ("lines", _lines(name)),
                ):
                    asked = asyncio.run(_questions(name, options, profile, known))
                    if kind == "lines":
                        asked = [question for question in asked if question.completes]
                    parts = [name, *options.values(), profile, kind]
                    if asked:
                        yield f"{'.'.join(parts)}.txt", "\n".join(map(_written, asked))


def _lines(name: str) -> Knowledge:
    """A trajectory with lines of a language model's input."""
    limits = Constraints(n_tokens=24, max_words=18)
    known = told(name, limits, proposal="a line that stands between the text and the answer")
    lines = (
        candidate("s0/p2", "Topic of the message:", 1.1, "proposal"),
        candidate("s0/p3", "Is it about a refund?", 1.4, "proposal"),
    )
    return replace(known, pool={**known.pool, **{line.candidate_id: line for line in lines}})


async def _questions(
    name: str, options: dict[str, str], profile: str, known: Knowledge
) -> list[Question]:
    backend = Told(lambda question, number: _CRITIQUE)
    strategy = registry.create(name, {**options, "calls": 1}, PROFILES[profile], "model")
    with contextlib.suppress(InvalidInput):  # it cannot propose this kind
        await strategy.propose(request(), known, backend)
    return backend.questions


def _written(question: Question) -> str:
    form = question.grammar
    if question.completes:
        form = CONTINUED
    if question.json_schema is not None:
        form = json.dumps(question.json_schema) + "\n"
    return (
        f"[system]\n{question.system}\n[user]\n{question.user}\n[form]\n{form}"
        f"[drawn]\nsamples {question.samples}, at most {question.max_tokens} tokens, "
        f"temperature {question.temperature:g}, repeat penalty {question.repeat_penalty:g}, "
        f"seed {question.seed}\n"
    )


def main() -> None:
    """Writes the files, and removes those of strategies that are gone."""
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.txt"):
        path.unlink()
    for name, content in files():
        (FOLDER / name).write_text(content)
    print(f"{len(list(FOLDER.glob('*.txt')))} files in {FOLDER}", file=sys.stderr)


if __name__ == "__main__":
    main()
