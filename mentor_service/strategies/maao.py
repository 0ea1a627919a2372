"""MaaO: the best of the pool, worst to best with their losses, and a wish for better ones.

After "LLM as a Complementary Optimizer to Gradient Descent: A Case Study in Prompt Tuning"
(arXiv 2405.19732), without what its released code does wrong: the pool lasts over all rounds, the
task is described, every proposal goes back to be scored, and none is taken unseen.
"""

from __future__ import annotations

from mentor_service import prompts
from mentor_service.strategies import pool
from mentor_service.strategies.base import PromptedStrategy
from mentor_service.strategies.talk import Draft, Talk


class Maao(PromptedStrategy):
    """See the module."""

    name = "maao"
    description = (
        "shows the best candidates so far, worst to best with their losses, and asks for better"
    )

    async def converse(self, talk: Talk) -> None:
        """One question about the best candidates."""
        shown = pool.best(talk.known, self.profile.top_k)
        await talk.propose(Draft(prompts.trajectory, tuple(shown)))
