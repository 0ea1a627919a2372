"""A fixed trajectory for strategies, and a backend that answers as its script says."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np

from mentor_service.protocols import Knowledge, Question, Reply
from mentorgrad.domain.advice import (
    AdviseOpen,
    Constraints,
    Exemplar,
    PositionHints,
    ProposalKind,
    ProposalRequest,
    TaskCard,
    TokenHint,
)
from mentorgrad.domain.run import Candidate, CandidateSource, Score
from mentorgrad.errors import MentorgradError
from mentorgrad.settings_space import Setting, SettingsSpace
from tests.support import gbnf

LABELS = ("billing", "refund", "delivery", "account", "defect", "cancellation")
CARD = TaskCard("label_prompt", "what a customer's message to an online shop is about", LABELS)
WORDS = Constraints(n_tokens=8, max_words=8)
POINTS = Constraints(kind=ProposalKind.NUMBERS, dimensions=3, lower=-5.12, upper=5.12)
SPACE = SettingsSpace(
    (
        Setting(
            "learning_rate_factor",
            (0.5, 1, 2),
            description="factor of the learning rate",
            default=1,
        ),
        Setting("layers", (0, 1, 2), count=2, description="layers that are trained"),
    )
)
SETTINGS = Constraints(kind=ProposalKind.SETTINGS, settings_schema=SPACE.schema)


def candidate(
    name: str, text: str, loss: float, source: str = "projection", **more: Any
) -> Candidate:
    return Candidate(name, CandidateSource(source), text=text, score=Score(loss, 0.5, 60), **more)


WORD_POOL = (
    candidate("s0/step1/words", "order help please about", 1.31, step=1),
    candidate(
        "s0/step20/words", "late parcel card note order shop", 1.22, step=20, toward_text="late"
    ),
    candidate("s0/step40", "message about the customer order", 0.71, "snapshot", step=40),
    candidate("s0/step40/words", "message about the customer order", 1.05, step=40),
    candidate(
        "s0/p1", "customer asks the shop about", 0.98, "proposal", parents=("s0/step40/words",)
    ),
    candidate("s1/step80", "message of the buyer order", 0.64, "snapshot", step=80, stage=1),
    candidate("s1/step80/words", "message of the buyer order", 1.01, step=80, stage=1),
    candidate("s1/step60/words", "12 ## ...", 1.9, step=60, stage=1),
    candidate("s1/lost", "diverged words", float("nan"), step=70, stage=1),
)
POINT_POOL = (
    candidate("s0/step1", "4.1000 -3.9000 2.2000", 61.5, "snapshot", step=1),
    candidate("s0/step20", "2.9500 -2.1000 1.9500", 17.1, "snapshot", step=20),
    candidate("s0/p1", "0.9000 0.0500 1.1000", 6.4, "proposal", parents=("s0/step20",)),
    candidate("s1/step40", "0.9900 0.0100 0.9800", 2.1, "snapshot", step=40, stage=1),
)
_FIRST, _SECOND = ({"learning_rate_factor": factor, "layers": [0, 1]} for factor in (1, 2))
SETTINGS_POOL = (
    candidate("s0/start", "0.query=1/0", 1.1, "snapshot", settings=_FIRST),
    candidate("s0/step20", "0.query=1.1/0.2", 0.8, "snapshot", step=20, settings=_FIRST),
    candidate("s0/p1", "", 0.8, "proposal", settings=_SECOND, probe_loss=0.72),
    candidate("s0/p2", "not raced", 0.8, "proposal", settings={**_SECOND, "layers": [1, 2]}),
    candidate("s1/step80", "0.query=1.2/0.3", 0.7, "snapshot", step=80, settings=_SECOND),
)
HINTS = tuple(
    PositionHints(place, word, tuple(TokenHint(t, -0.3 + 0.1 * n) for n, t in enumerate(tokens)))
    for place, (word, tokens) in enumerate(
        [
            ("message", ("letter", "Request", "##ing")),
            ("of", ("regarding", "concerning", "7")),
            ("the", ("our", "this", "my")),
            ("buyer", ("client", "shopper", "customer")),
            ("order", ("purchase", "question", "issue")),
        ]
    )
)
EXEMPLARS = (
    Exemplar("Where is my parcel? It should have come last week.", "delivery", "refund", 2.1),
    Exemplar("Please pay me back for the broken kettle.", "refund", "defect", 1.5),
    Exemplar("I want to close my profile.", "account", "account", 0.2),
)
LOSSES = {
    "s1/step80/words": [2.0, 0.4, 0.9],
    "s0/p1": [0.7, 1.6, 0.8],
    "s0/step1/words": [2.5, 1.9, 1.2],
}


_POOLS = {
    ProposalKind.TEXT: WORD_POOL,
    ProposalKind.NUMBERS: POINT_POOL,
    ProposalKind.SETTINGS: SETTINGS_POOL,
}


def told(
    strategy: str = "maao",
    limits: Constraints = WORDS,
    bare: bool = False,
    proposal: str = "",
    place: str = "",
    **more: Any,
) -> Knowledge:
    """What a session knows after two stages; `bare`: before anything was told. The card says what a
    proposal is by `proposal` and `place`."""
    pool = _POOLS[limits.kind]
    if bare:
        return Knowledge(AdviseOpen("session", CARD, limits, strategy), (), {}, ())
    card = TaskCard("function", "rastrigin") if limits.kind is ProposalKind.NUMBERS else CARD
    card = replace(card, proposal=proposal, place=place)
    vectors = np.random.default_rng(1).standard_normal((len(pool), 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    parts: dict[str, Any] = {
        "embeddings": {item.candidate_id: row for item, row in zip(pool, vectors, strict=True)},
        "exemplar_losses": {name: np.float32(row) for name, row in LOSSES.items()},
    }
    named = {item.candidate_id: item for item in pool}
    opened = AdviseOpen("session", card, limits, strategy)
    return Knowledge(opened, (), named, (), **{**parts, **more})


def request(count: int = 8, seed: int = 7, bare: bool = False, **more: Any) -> ProposalRequest:
    """What is asked after the second stage; `bare`: without what only some trainers send."""
    told_more = {} if bare else {"hints": HINTS, "exemplars": EXEMPLARS, "progress": 0.5}
    return ProposalRequest("r1", 1, "s1/step80", count, seed, **{**told_more, **more})


Say = Callable[[Question, int], str | MentorgradError]


class Told:
    """Answers every sample of a question by `say(question, number)`, numbered over all samples;
    keeps the questions."""

    def __init__(self, say: Say, finish: str = "stop") -> None:
        self.questions: list[Question] = []
        self._say = say
        self._finish = finish
        self._said = 0

    async def __call__(self, question: Question) -> Reply:
        self.questions.append(question)
        texts = []
        for _ in range(question.samples):
            text = self._say(question, self._said)
            self._said += 1
            if isinstance(text, MentorgradError):
                raise text
            texts.append(text)
        second = timedelta(seconds=1)
        return Reply(
            texts=tuple(texts),
            prompt_tokens=10,
            evaluated_tokens=10,
            reply_tokens=5 * len(texts),
            duration=second,
            finish_reasons=(self._finish,) * len(texts),
        )


def fitting(question: Question, number: int) -> str:
    """A reply in the form that the question asks for, another one for every number."""
    draw = random.Random(f"{question.seed}:{number}")
    if question.grammar:
        return gbnf.write(question.grammar, draw)
    if question.json_schema is None:
        return f"1. {_phrase(draw)}\n2. {_phrase(draw)}\n"
    asked = question.json_schema["properties"]["proposals"]["items"]["properties"]
    items: list[dict[str, Any]] = []
    for _ in range(8):
        if "values" in asked:
            point = [round(draw.uniform(-5, 5), 3) for _ in range(POINTS.dimensions)]
            items.append({"rationale": "may help", "values": point})
        elif "settings" in asked:
            items.append({"rationale": "may help", "settings": _settings(draw)})
        else:
            items.append({"rationale": "may help", "text": _text(draw)})
    return json.dumps({"proposals": items})


def _settings(draw: random.Random) -> dict[str, Any]:
    return {
        setting.name: draw.choice(setting.values)
        if setting.count is None
        else draw.sample(setting.values, setting.count)
        for setting in SPACE.settings
    }


def _text(draw: random.Random) -> str:
    """Free words, or an edit of the best words of the pool by one of them."""
    if draw.random() < 0.5:
        return _phrase(draw)
    words = ["customer", "asks", "the", "shop", "about"]
    words[draw.randrange(len(words))] = _word(draw)
    return " ".join(words)


def _phrase(draw: random.Random) -> str:
    return " ".join(_word(draw) for _ in range(draw.randint(2, 6)))


def _word(draw: random.Random) -> str:
    return "".join(draw.choices("bcdfghklmnprst", k=draw.randint(3, 8)))
