"""A strategy of another package: asks for phrases shorter than the best one so far."""

from mentor_service.strategies import (
    Draft,
    Found,
    Message,
    Page,
    PromptedStrategy,
    Talk,
    Wants,
    prompts,
    shown_candidates,
)


class Shortest(PromptedStrategy):
    name = "shortest"
    description = "asks for phrases shorter than the best one so far"
    wants = Wants(words=True)

    async def converse(self, talk: Talk) -> None:
        best = shown_candidates.best(talk.known, 1)
        longest = max(1, len(best[0].text.split()) - 1) if best else 3

        def write(page: Page) -> Message:
            context = prompts.entries(page, "The best phrase so far:")
            return prompts.compose(
                page, context, f"{page.wanted('new')} of {longest} words at most."
            )

        def check(found: Found) -> str:
            return "" if len(found.text.split()) <= longest else f"more than {longest} words"

        await talk.propose(Draft(write, shown=tuple(best), check=check))
