"""A soft prompt in a torch loop of one's own, advised by a mentor.

    words = Words(model.get_input_embeddings().weight, tokenizer)
    advised = AdvisedPrompt(session, prompt, words, optimizer, score=score, losses=losses)
    for step, batch in enumerate(batches, start=1):
        ...  # loss, backward, optimizer.step()
        advised.step(step, loss)  # tells the mentor; restarts the prompt where a proposal is better

One process, one device: nothing is synchronised between the ranks of a distributed job.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from mentorgrad.domain.advice import Answer, AnswerStatus, ProposalOutcome, ProposalStatus
from mentorgrad.domain.run import Candidate, CandidateSource, Score
from mentorgrad.domain.spec import Policy
from mentorgrad.integrations.words import Rejected, Words
from mentorgrad.session import MentorSession

__all__ = ["AdvisedPrompt", "Rules", "Words", "batch_losses", "mean_loss"]

Moments = dict[str, Any]
"""An optimizer's state of one parameter."""


@dataclass(frozen=True)
class Rules:
    """When the mentor is asked, and how a restart is decided."""

    stage_steps: int = 50
    """Gradient steps between two questions."""
    proposals: int = 8
    """Proposals asked for."""
    finalists: int = 3
    """Proposals that enter a race with the present prompt."""
    probe_steps: int = 10
    """Gradient steps of each branch of a race."""
    timeout: float = 60.0
    """Seconds to wait for an answer."""


@dataclass(frozen=True)
class _Entrant:
    """A proposal that can be gone on from."""

    name: str
    vectors: Tensor
    score: Score


@dataclass(frozen=True)
class _End:
    """Where a branch of a race ended."""

    vectors: Tensor
    moments: Moments
    loss: float


class AdvisedPrompt:
    """A soft prompt that goes on from a mentor's proposals where they are better.

    With `losses` a restart is decided by a race: the present prompt and the best-scored proposals
    each take `probe_steps` gradient steps of their own, and the lowest selection loss goes on, with
    its moments. Without, a proposal is taken when it scores better than the present prompt written
    as words; a fresh prompt hardly ever beats a trained one at once.

    Args:
        session: An open session.
        prompt: float [positions, width], moved by `optimizer`; restarts are written into it.
        words: The words of its embedding space.
        optimizer: Its state of `prompt` is reset at a restart; that of other parameters stays.
        score: Scores the prompt as it stands, on *selection*; called without gradients.
        losses: Yields the loss of one *train* batch after the other, each taken with the prompt as
            it stands then; None: no race.
        rules: When, and how.
    """

    def __init__(
        self,
        session: MentorSession,
        prompt: Tensor,
        words: Words,
        optimizer: torch.optim.Optimizer,
        *,
        score: Callable[[], Score],
        losses: Callable[[], Iterator[Tensor]] | None = None,
        rules: Rules | None = None,
    ) -> None:
        self.restarts = 0
        """Times it went on from a proposal."""
        self._session = session
        self._prompt = prompt
        self._words = words
        self._optimizer = optimizer
        self._score = score
        self._losses = losses
        self._rules = rules or Rules()
        self._origin = prompt.detach().clone()

    def step(self, step: int, loss: float | Tensor) -> bool:
        """To be called after each step of the optimizer; whether the prompt was restarted.

        Args:
            step: Number of the step, from 1; at each multiple of `stage_steps` the mentor is asked.
            loss: Of the step's batch.
        """
        self.push(step, float(loss.detach() if isinstance(loss, Tensor) else loss))
        return step % self._rules.stage_steps == 0 and self.consult()

    def push(self, step: int, loss: float, learning_rate: float = 0.0) -> None:
        """Tells of one step."""
        keep = self._session.recording is not None or self._session.wants.parameters
        row = self._prompt.detach().float().cpu().numpy() if keep else None
        text = self._words.project(self._prompt)
        self._session.push(step, loss, text=text, parameters=row, learning_rate=learning_rate)

    def consult(self) -> bool:
        """Scores the prompt, asks the mentor, and goes on from what is best; whether that is a
        proposal."""
        here = self._prompt.detach().clone()
        incumbent, in_words = self._tell(here)
        answer = self._session.ask(
            self._rules.proposals, timeout=self._rules.timeout, incumbent_id=incumbent.candidate_id
        )
        entrants, refused = self._entrants(answer, here)
        if not entrants:
            usable = answer.status is AnswerStatus.USABLE
            why = "no proposal could be scored" if usable else f"no answer: {answer.status.value}"
            self._session.report(refused, reason=why)
            restarted = False
        elif self._losses is None:
            restarted = self._compare(in_words, entrants, refused)
        else:
            restarted = self._race(self._losses, here, entrants, refused)
        self.restarts += restarted
        self._origin = self._prompt.detach().clone()
        return restarted

    # -- scoring ------------------------------------------------------------------------------

    def _tell(self, here: Tensor) -> tuple[Candidate, Candidate]:
        """The present prompt, as it is and written as words, as candidates."""
        text, toward = self._words.project(here), self._words.toward(self._origin, here)
        soft = self._scored(here)
        incumbent = self._session.candidate(
            text,
            soft.loss,
            accuracy=soft.accuracy,
            rows=soft.rows,
            source=CandidateSource.SNAPSHOT,
            toward_text=toward,
        )
        hard = self._scored(self._words.embed(text, here))
        in_words = self._session.candidate(
            text,
            hard.loss,
            accuracy=hard.accuracy,
            rows=hard.rows,
            parents=(incumbent.candidate_id,),
        )
        return incumbent, in_words

    def _entrants(
        self, answer: Answer, here: Tensor
    ) -> tuple[list[_Entrant], list[ProposalOutcome]]:
        """The proposals that can be gone on from, best first, and what became of the others."""
        entrants: list[_Entrant] = []
        refused: list[ProposalOutcome] = []
        for proposal in answer.proposals:
            name = proposal.proposal_id
            try:
                vectors = self._words.embed(proposal.text, here)
            except Rejected as rejection:
                refused.append(ProposalOutcome(name, rejection.status, detail=str(rejection)))
                continue
            if any(torch.equal(vectors, other.vectors) for other in entrants):
                refused.append(ProposalOutcome(name, ProposalStatus.DUPLICATE))
                continue
            score = self._scored(vectors)
            if not math.isfinite(score.loss):
                detail = f"its selection loss is {score.loss}"
                refused.append(ProposalOutcome(name, ProposalStatus.OUT_OF_BOUNDS, detail=detail))
                continue
            self._session.candidate(
                proposal.text,
                score.loss,
                accuracy=score.accuracy,
                rows=score.rows,
                source=CandidateSource.PROPOSAL,
                candidate_id=name,
                parents=proposal.parents,
            )
            entrants.append(_Entrant(name, vectors, score))
        return sorted(entrants, key=lambda entrant: entrant.score.loss), refused

    def _scored(self, vectors: Tensor) -> Score:
        """The score of some vectors; the prompt is left as it is."""
        kept = self._prompt.detach().clone()
        try:
            self._write(vectors)
            with torch.no_grad():
                return self._score()
        finally:
            self._write(kept)

    @torch.no_grad()
    def _write(self, vectors: Tensor) -> None:
        self._prompt.copy_(vectors)

    # -- deciding -----------------------------------------------------------------------------

    def _compare(
        self, in_words: Candidate, entrants: list[_Entrant], refused: list[ProposalOutcome]
    ) -> bool:
        best, rival = entrants[0], in_words.score.loss
        restarted = best.score.loss < rival
        if restarted:
            self._write(best.vectors)
            self._load({})
        self._report(
            [_end(entrant, ProposalStatus.NOT_CHOSEN) for entrant in entrants],
            refused,
            0 if restarted else None,
            policy=Policy.BEST_OF,
            reason=f"the best proposal has {best.score.loss:.4f} against {rival:.4f} in words",
        )
        return restarted

    def _race(
        self,
        losses: Callable[[], Iterator[Tensor]],
        here: Tensor,
        entrants: list[_Entrant],
        refused: list[ProposalOutcome],
    ) -> bool:
        racing = entrants[: self._rules.finalists]
        moments, seed = self._moments(), torch.initial_seed() + self._session.stage
        ends = [self._probe(losses, here, moments, seed)]
        ends += [self._probe(losses, entrant.vectors, {}, seed) for entrant in racing]
        winner = min(range(len(ends)), key=lambda index: ends[index].loss)
        self._write(ends[winner].vectors)
        self._load(ends[winner].moments)
        outcomes = [
            _end(entrant, ProposalStatus.LOST, end.loss)
            for entrant, end in zip(racing, ends[1:], strict=True)
        ]
        outcomes += [
            _end(entrant, ProposalStatus.NOT_CHOSEN) for entrant in entrants[len(racing) :]
        ]
        self._report(
            outcomes,
            refused,
            winner - 1 if winner else None,
            policy=Policy.RACE,
            probe_steps=len(ends) * self._rules.probe_steps,
            incumbent_probe_loss=ends[0].loss,
            reason=f"lowest selection loss of {len(ends)} branches: {ends[winner].loss:.4f}",
        )
        return winner > 0

    def _probe(
        self, losses: Callable[[], Iterator[Tensor]], start: Tensor, moments: Moments, seed: int
    ) -> _End:
        """A branch of a race; every one sees the same batches."""
        self._write(start)
        self._load(moments)
        with torch.random.fork_rng():
            torch.manual_seed(seed % 2**63)
            for _, loss in zip(range(self._rules.probe_steps), losses(), strict=False):
                # No gradient but the prompt's: the optimizer leaves other parameters as they are.
                self._optimizer.zero_grad(set_to_none=True)
                (self._prompt.grad,) = torch.autograd.grad(loss, self._prompt)
                self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        end = self._prompt.detach().clone()
        loss_after = self._scored(end).loss
        return _End(end, self._moments(), loss_after if math.isfinite(loss_after) else math.inf)

    def _moments(self) -> Moments:
        """A copy of the optimizer's state of the prompt."""
        return _copied(self._optimizer.state.get(self._prompt, {}))

    def _load(self, moments: Moments) -> None:
        """Gives the optimizer a copy of a state; an empty one resets it."""
        self._optimizer.state.pop(self._prompt, None)
        if moments:
            self._optimizer.state[self._prompt] = _copied(moments)

    def _report(
        self,
        outcomes: list[ProposalOutcome],
        refused: list[ProposalOutcome],
        applied: int | None,
        **facts: Any,
    ) -> None:
        if applied is not None:
            outcomes[applied] = replace(outcomes[applied], status=ProposalStatus.APPLIED)
        self._session.report([*outcomes, *refused], **facts)


def _end(
    entrant: _Entrant, status: ProposalStatus, probe_loss: float | None = None
) -> ProposalOutcome:
    return ProposalOutcome(entrant.name, status, entrant.score, probe_loss)


def _copied(moments: Moments) -> Moments:
    return {
        name: value.clone() if isinstance(value, Tensor) else value
        for name, value in moments.items()
    }


def mean_loss(
    model: torch.nn.Module, loss: Callable[[Any], Tensor], batches: Iterable[Any]
) -> Score:
    """A model's mean loss over the rows of some batches, in evaluation mode.

    Args:
        model: Each of its modules is put back into the mode it was in.
        loss: A batch's mean loss.
        batches: Read once.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    total, rows = 0.0, 0
    try:
        for batch in batches:
            count = _rows(batch)
            total += loss(batch).item() * count
            rows += count
    finally:
        for module, mode in modes:  # a frozen part may be in evaluation mode for good
            module.training = mode
    return Score(total / rows if rows else math.nan, None, rows)


def _rows(batch: Any) -> int:
    """Rows of a batch: a tensor, or the first one of a mapping or sequence."""
    while not isinstance(batch, Tensor):
        batch = next(iter(batch.values() if isinstance(batch, Mapping) else batch))
    return len(batch)


def batch_losses(loss: Callable[[Any], Tensor], loader: Any, rows: int) -> Iterator[Tensor]:
    """Losses of shuffled batches, over and over.

    Args:
        loss: A batch's mean loss.
        loader: A `DataLoader`, or a wrapper of one. One that is being iterated already must not be
            iterated again, so only its data set and collation are used.
        rows: Rows of a batch.
    """
    fresh = DataLoader(loader.dataset, rows, shuffle=True, collate_fn=loader.collate_fn)
    while True:
        for batch in fresh:
            yield loss(batch)
