"""Strategies that installed packages bring: found by entry points, used through a real service."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from mentor_service import strategies
from mentor_service.backends.scripted import ScriptedBackend, repeat
from mentor_service.composition import MentorServer
from mentor_service.profiles import PROFILES
from mentor_service.strategies import registry
from mentorgrad.client import AsyncMentorClient
from mentorgrad.domain.advice import AdviseOpen, AnswerStatus, Batch, ProposeInput
from mentorgrad.errors import InvalidInput
from tests.support.told_strategy import CARD, WORD_POOL, WORDS, request

SHORTER = '''
from mentor_service.strategies import Conversation, Draft, PromptedStrategy, QuestionFacts
from mentor_service.strategies import prompts, shown_candidates


class Shorter(PromptedStrategy):
    """Asks for phrases shorter than the best one."""

    name = "shorter"
    description = "asks for phrases shorter than the best one so far"
    own_options = {"by": {"type": "integer", "minimum": 1, "description": "Words less."}}

    async def converse(self, conversation: Conversation) -> None:
        best = shown_candidates.best(conversation.known, 1)
        most = max(1, len(best[0].text.split()) - self.options.own.get("by", 1)) if best else 3

        def write(facts: QuestionFacts) -> prompts.Message:
            shown = prompts.entries(facts, "The best phrase so far:")
            return prompts.compose(facts, shown, f"{facts.wanted('new')} of {most} words at most.")

        def check(found):
            return "" if len(found.text.split()) <= most else f"more than {most} words"

        await conversation.propose(Draft(write, tuple(best), check=check))
'''


@pytest.fixture
def install(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Installs a tiny distribution, for this test."""
    names = []

    def make(name: str, code: str, *entries: str) -> None:
        (tmp_path / f"{name}.py").write_text(code)
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        points = "\n".join(entries)
        (info / "entry_points.txt").write_text(f"[mentorgrad.strategies]\n{points}\n")
        names.append(name)
        importlib.invalidate_caches()
        registry.offered.cache_clear()

    sys.path.insert(0, str(tmp_path))
    yield make
    sys.path.remove(str(tmp_path))
    for name in names:
        sys.modules.pop(name, None)
    importlib.invalidate_caches()
    registry.offered.cache_clear()


async def test_a_strategy_of_another_package_works_in_the_real_service(
    install: Callable[..., None],
) -> None:
    install("shorter_words", SHORTER, "shorter = shorter_words:Shorter")
    backend = ScriptedBackend(repeat(["1. client wants\n2. a very long phrase of words\n"]))
    server = MentorServer(backend, PROFILES["small"])
    address = await server.start()
    opened = AdviseOpen("s", CARD, WORDS, "shorter", {"by": 2, "weights": [0.5]})
    asked = ProposeInput(opened, (Batch(candidates=WORD_POOL),), request(2))
    try:
        async with AsyncMentorClient(address) as client:
            infos = {item.name: item for item in (await client.info()).strategies}
            answer = await client.propose(asked)
            wrong = AdviseOpen("s", CARD, WORDS, "shorter", {"by": 0})
            with pytest.raises(InvalidInput) as caught:
                await client.propose(ProposeInput(wrong, (), request(2)))
    finally:
        await server.stop(0.1)
    assert set(registry.BUILT_IN) < set(infos)
    assert {"by", "top_k", "hints"} < set(infos["shorter"].options_schema["properties"])
    assert answer.status is AnswerStatus.USABLE
    assert [(item.text, item.weight) for item in answer.proposals] == [("client wants", 0.5)]
    assert answer.proposals[0].parents == ("s0/p1",)
    assert "more than 3 words" in answer.detail
    assert "of 3 words at most" in backend.questions[0].user
    assert answer.records[0].strategy == "shorter"
    assert caught.value.violations[0].field == "open.options.by"


@pytest.mark.parametrize(
    ("code", "entry", "reason"),
    [
        ("raise RuntimeError('no such device')", "odd = broken:Odd", "no such device"),
        ("", "odd = broken:Odd", "AttributeError"),
        ("", "odd = not_installed_at_all:Odd", "ModuleNotFoundError"),
        ("Odd = 3", "odd = broken:Odd", "must be a class"),
        ("class Odd:\n    name = 'other'", "odd = broken:Odd", "must be a class with the name"),
        ("class Odd:\n    name = 'odd'", "odd = broken:Odd", "description"),
        (
            "from mentor_service.strategies import PromptedStrategy\n"
            "class Odd(PromptedStrategy):\n    name = 'odd'\n    description = 'x'\n"
            "    own_options = {'a': {'type': 'nothing'}}",
            "odd = broken:Odd",
            "SchemaError",
        ),
        (SHORTER.replace('"shorter"', '"maao"'), "maao = broken:Shorter", "is already taken"),
        (
            SHORTER.replace('"shorter"', '"a b"'),
            "a b = broken:Shorter",
            "is not a valid strategy name",
        ),
    ],
)
def test_one_that_cannot_be_offered_is_a_warning_and_the_others_are_as_they_were(
    install: Callable[..., None], code: str, entry: str, reason: str
) -> None:
    install("broken", code, entry)
    with capture_logs() as logged:
        found: Any = registry.offered()
    assert dict(found) == dict(registry.BUILT_IN)
    (warning,) = logged
    assert (warning["log_level"], warning["event"]) == ("warning", "strategy_not_offered")
    assert warning["package"] == "broken"
    assert reason in warning["reason"]


def test_of_two_with_one_name_the_first_is_offered(install: Callable[..., None]) -> None:
    install("one_package", SHORTER, "shorter = one_package:Shorter")
    install("other_package", SHORTER, "shorter = other_package:Shorter")
    with capture_logs() as logged:
        found = registry.offered()
    assert "shorter" in found
    assert [entry["reason"] for entry in logged] == ["the name 'shorter' is already taken"]


def test_what_the_guide_shows_is_a_strategy(install: Callable[..., None]) -> None:
    guide = (Path(__file__).parents[3] / "docs" / "adding-a-strategy.md").read_text()
    code = guide.partition("```python\n")[2].partition("```")[0]
    install("guide", code, "shortest = guide:Shortest")
    assert "shortest" in registry.offered()
    assert registry.create("shortest", {}, PROFILES["small"], "m").name == "shortest"


def test_the_guide_to_choosing_names_every_strategy_and_option() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "choosing-a-strategy.md").read_text()
    for name, cls in registry.BUILT_IN.items():
        assert f"| `{name}` |" in guide
        for option in cls.options_schema["properties"]:
            assert f"`{option}`" in guide


@pytest.mark.parametrize(
    ("former", "present"),
    [
        ("Found", "ParsedProposal"),
        ("Page", "QuestionFacts"),
        ("Talk", "Conversation"),
        ("pool", "shown_candidates"),
    ],
)
def test_former_names_stand_for_the_present_ones(former: str, present: str) -> None:
    assert getattr(strategies, former) is getattr(strategies, present)
