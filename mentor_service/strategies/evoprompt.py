"""Strategy ``evoprompt``: the LLM performs the operators of an evolutionary algorithm.

After "EvoPrompt: Connecting LLMs with Evolutionary Algorithms Yields Powerful Prompt Optimizers"
(Guo et al., arXiv 2309.08532). The population is the ten best of the pool. Genetic algorithm: two
parents by roulette selection, crossover, then mutation. Differential evolution: the parts in which
two candidates differ are changed, put into the best, and crossed with a base. Each question has its
own parents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from mentor_service import prompts
from mentor_service.strategies import shown_candidates
from mentor_service.strategies.base import PromptedStrategy
from mentor_service.strategies.conversation import Conversation
from mentor_service.strategies.drafts import Draft
from mentorgrad.domain.run import Candidate

_POPULATION = 10
_QUESTIONS = 4


class Evoprompt(PromptedStrategy):
    """EvoPrompt: crossover and mutation, or differential evolution, by the LLM."""

    name = "evoprompt"
    description = (
        "crosses and mutates the ten best candidates (genetic algorithm or differential evolution)"
    )
    near_is_known = False
    own_options: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "variant": {
            "type": "string",
            "enum": ["ga", "de"],
            "description": "ga (default): genetic algorithm; de: differential evolution.",
        },
        "population": {
            "type": "integer",
            "minimum": 2,
            "maximum": 100,
            "description": "Population: number of best candidates that parents are drawn from. "
            f"Default: {_POPULATION}.",
        },
        "questions": {
            "type": "integer",
            "minimum": 1,
            "maximum": 16,
            "description": "Questions per round, each with its own parents. "
            f"Default: {_QUESTIONS}.",
        },
    }

    async def converse(self, conversation: Conversation) -> None:
        """Asks up to `questions` questions, each for a share of the missing proposals."""
        own = self.options.own
        population = conversation.ranked()[: int(own.get("population", _POPULATION))]
        if len(population) < 2:  # not enough parents
            draft = Draft(prompts.trajectory, tuple(population), next_line=prompts.next_line)
            await conversation.propose(draft)
            return
        draw = _differential if own.get("variant") == "de" else _genetic
        for share in conversation.turns(int(own.get("questions", _QUESTIONS))):
            await conversation.propose(draw(conversation, population), share)


def _genetic(conversation: Conversation, population: Sequence[Candidate]) -> Draft:
    first = _roulette(conversation, population)
    second = _roulette(conversation, [item for item in population if item is not first])
    parents = [shown_candidates.show(first), shown_candidates.show(second)]
    worst_first = sorted(parents, key=lambda item: -item.loss)
    return Draft(
        partial(prompts.cross, parents=parents),
        parents=(first.candidate_id, second.candidate_id),
        next_line=partial(prompts.next_child, parents=worst_first),
    )


def _differential(conversation: Conversation, population: Sequence[Candidate]) -> Draft:
    best = population[0]
    base = conversation.random.choice(population)
    others = [item for item in population if item is not base]
    # With two candidates in all, one of the pair is the base itself.
    pair = conversation.random.sample(others if len(others) > 1 else list(population), 2)
    write = partial(
        prompts.differ,
        base=shown_candidates.show(base),
        pair=[shown_candidates.show(item) for item in pair],
        best=shown_candidates.show(best),
    )
    ids = [item.candidate_id for item in (base, *pair, best)]
    return Draft(write, parents=tuple(dict.fromkeys(ids)))


def _roulette(conversation: Conversation, candidates: Sequence[Candidate]) -> Candidate:
    """Draws a candidate with a probability that grows with its lead over the worst."""
    worst = max(item.score.loss for item in candidates)
    spread = worst - min(item.score.loss for item in candidates)
    floor = 0.1 * spread or 1.0  # the worst has a chance too
    weights = [worst - item.score.loss + floor for item in candidates]
    return conversation.random.choices(candidates, weights)[0]
