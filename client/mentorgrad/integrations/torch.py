"""A soft prompt in a plain torch training loop, with restarts proposed by a mentor.

    words = Words(model.get_input_embeddings().weight, tokenizer)
    advised = AdvisedPrompt(session, prompt, words, optimizer, score=score, losses=losses)
    for step, batch in enumerate(batches, start=1):
        ...  # loss, backward, optimizer.step()
        advised.step(step, loss)  # sends the step to the mentor; restarts from a better proposal

One process and one device are supported; the ranks of a distributed job are not synchronised.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from mentorgrad.domain.advice import Answer, AnswerStatus, ProposalOutcome, ProposalStatus
from mentorgrad.domain.run import Candidate, CandidateSource, Score
from mentorgrad.domain.spec import Policy
from mentorgrad.errors import InvalidInput
from mentorgrad.integrations.words import Rejected, Words
from mentorgrad.session import MentorSession

__all__ = ["AdvisedPrompt", "Rules", "Words", "batch_losses", "mean_loss"]

Moments = dict[str, Any]
"""The optimizer's state for one parameter."""


@dataclass(frozen=True)
class Rules:
    """When the mentor is asked and how a restart is decided."""

    stage_steps: int = 50
    """Gradient steps between two mentor requests."""
    proposals: int = 8
    """Proposals per restart."""
    finalists: int = 3
    """Number of proposals that enter a race with the current prompt."""
    probe_steps: int = 10
    """Gradient steps per branch of a race."""
    timeout: float = 60.0
    """Maximum time to wait for one answer, in seconds."""


@dataclass(frozen=True)
class _Entrant:
    """A proposal that was embedded and scored."""

    name: str
    vectors: Tensor
    score: Score


@dataclass(frozen=True)
class _End:
    """Final state of a branch of a race."""

    vectors: Tensor
    moments: Moments
    loss: float


class AdvisedPrompt:
    """A soft prompt that restarts from a mentor's proposals when they are better.

    With `losses`, a race decides: the current prompt and the best-scored proposals each take
    `probe_steps` gradient steps, and training continues from the lowest selection loss, with its
    optimizer moments. Without `losses`, a proposal is used if it scores better than the current
    prompt written as words. (A new prompt hardly ever scores better than the trained soft prompt
    itself.)

    Args:
        session: An open session.
        prompt: float [positions, width], updated by `optimizer`; restarts are written into it.
        words: Vocabulary of the prompt's embedding space.
        optimizer: Its state for `prompt` is replaced at a restart; its state for other parameters
            is kept.
        score: Returns the score of the current prompt on the selection split; called without
            gradients.
        losses: Yields the losses of successive train batches, each computed with the prompt at that
            time; None: no race.
        rules: When the mentor is asked and how a restart is decided.

    Raises:
        InvalidInput: The prompt is not trained: it has no gradient, or the optimizer does not
            update it.
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
        if not prompt.requires_grad:
            raise InvalidInput.field("prompt", "must require a gradient, to be trained")
        trained = (one for group in optimizer.param_groups for one in group["params"])
        if all(one is not prompt for one in trained):
            raise InvalidInput.field("prompt", "must be among the parameters of the optimizer")
        self.restarts = 0
        """Number of restarts from a proposal."""
        self._session = session
        self._prompt = prompt
        self._words = words
        self._optimizer = optimizer
        self._score = score
        self._losses = losses
        self._rules = rules or Rules()
        self._origin = prompt.detach().clone()

    def step(self, step: int, loss: float | Tensor) -> bool:
        """Sends one step to the mentor and asks it at the end of a stage.

        Call this after each `optimizer.step()`.

        Args:
            step: Number of the step, from 1; the mentor is asked at each multiple of `stage_steps`.
            loss: Loss of the step's batch.

        Returns:
            Whether the prompt was restarted from a proposal.
        """
        self.push(step, float(loss.detach() if isinstance(loss, Tensor) else loss))
        return step % self._rules.stage_steps == 0 and self.consult()

    def push(self, step: int, loss: float, learning_rate: float = 0.0) -> None:
        """Sends one step to the mentor."""
        keep = self._session.recording is not None or self._session.wants.parameters
        row = self._prompt.detach().float().cpu().numpy() if keep else None
        text = self._words.project(self._prompt)
        self._session.push(step, loss, text=text, parameters=row, learning_rate=learning_rate)

    def consult(self) -> bool:
        """Scores the prompt, asks the mentor, and continues from the best starting point.

        Returns:
            Whether the prompt was restarted from a proposal.
        """
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
            restarted = self._compare(incumbent, in_words, entrants, refused)
        else:
            restarted = self._race(self._losses, here, entrants, refused)
        self.restarts += restarted
        self._origin = self._prompt.detach().clone()
        return restarted

    # -- scoring ------------------------------------------------------------------------------

    def _tell(self, here: Tensor) -> tuple[Candidate, Candidate]:
        """Reports the current prompt as two candidates: as it is, and written as words."""
        text, toward = self._words.project(here), self._words.toward(self._origin, here)
        soft = self._scored(here)
        source = CandidateSource.SNAPSHOT
        incumbent = self._candidate(text, soft, source=source, toward_text=toward)
        hard = self._scored(self._words.embed(text, here))
        return incumbent, self._candidate(text, hard, parents=(incumbent.candidate_id,))

    def _candidate(self, text: str, score: Score, **more: Any) -> Candidate:
        return self._session.candidate(
            text, score.loss, accuracy=score.accuracy, rows=score.rows, **more
        )

    def _entrants(
        self, answer: Answer, here: Tensor
    ) -> tuple[list[_Entrant], list[ProposalOutcome]]:
        """Returns the embedded and scored proposals, best first, and the outcomes of the others."""
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
            source, parents = CandidateSource.PROPOSAL, proposal.parents
            self._candidate(proposal.text, score, source=source, candidate_id=name, parents=parents)
            entrants.append(_Entrant(name, vectors, score))
        return sorted(entrants, key=lambda entrant: entrant.score.loss), refused

    def _scored(self, vectors: Tensor) -> Score:
        """Scores vectors; the prompt is restored afterwards."""
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
        self,
        incumbent: Candidate,
        in_words: Candidate,
        entrants: list[_Entrant],
        refused: list[ProposalOutcome],
    ) -> bool:
        best, rival = entrants[0], in_words.score.loss
        # A prompt that has diverged is worse than any proposal.
        has_diverged = not (math.isfinite(incumbent.score.loss) and math.isfinite(rival))
        restarted = best.score.loss < rival or has_diverged
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
        """Runs one branch of a race; all branches use the same batches."""
        self._write(start)
        self._load(moments)
        with torch.random.fork_rng():
            torch.manual_seed(seed % 2**63)
            for _, loss in zip(range(self._rules.probe_steps), losses(), strict=False):
                # Only the prompt has a gradient, so the optimizer does not change other parameters.
                self._optimizer.zero_grad(set_to_none=True)
                (self._prompt.grad,) = torch.autograd.grad(loss, self._prompt)
                self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        end = self._prompt.detach().clone()
        loss_after = self._scored(end).loss
        return _End(end, self._moments(), loss_after if math.isfinite(loss_after) else math.inf)

    def _moments(self) -> Moments:
        """Copies the optimizer's state for the prompt."""
        return _copied(self._optimizer.state.get(self._prompt, {}))

    def _load(self, moments: Moments) -> None:
        """Sets the optimizer's state for the prompt to a copy; an empty state resets it."""
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


def check_scoring(score: Callable[[], Score] | None, selection: Iterable[Any]) -> None:
    """Checks that a model can be scored again and again: by a function, or on a selection split.

    Raises:
        InvalidInput: There is neither, or the selection can be iterated only once: the scores after
            that would be NaN, and no proposal would ever be better.
    """
    if score is not None:
        return
    if isinstance(selection, Iterator):
        raise InvalidInput.field(
            "selection", "is iterated again for each score; give a list or a DataLoader"
        )
    with contextlib.suppress(TypeError):  # a stream has no length
        if not len(selection):  # type: ignore[arg-type]
            raise InvalidInput.field("selection", "must have batches, unless `score` is given")


def mean_loss(
    model: torch.nn.Module, loss: Callable[[Any], Tensor], batches: Iterable[Any]
) -> Score:
    """Computes a model's mean loss over the rows of batches, in evaluation mode.

    Args:
        model: The model; the mode of each of its modules is restored afterwards.
        loss: Returns the mean loss of a batch.
        batches: Batches; iterated once.

    Returns:
        The mean loss and the number of rows; the loss is NaN if there are no rows.
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
        for module, mode in modes:  # a frozen module may always be in evaluation mode
            module.training = mode
    return Score(total / rows if rows else math.nan, None, rows)


def _rows(batch: Any) -> int:
    """Number of rows of a batch: of the tensor, or of the first one in a mapping or sequence."""
    while not isinstance(batch, Tensor):
        batch = next(iter(batch.values() if isinstance(batch, Mapping) else batch))
    return len(batch)


def batch_losses(loss: Callable[[Any], Tensor], loader: Any, rows: int) -> Iterator[Tensor]:
    """Yields the losses of batches, without end: shuffled ones, but of a data set that is a stream
    in its own order, each time from its beginning.

    Args:
        loss: Returns the mean loss of a batch.
        loader: A `DataLoader`, or a wrapper of one. Only its data set and collate function are
            used, since the training loop may be iterating it already.
        rows: Rows per batch; of a loader without a batch size, the data set yields whole batches.

    Raises:
        InvalidInput: The data set yields nothing, or cannot be iterated again.
    """
    is_stream = isinstance(loader.dataset, IterableDataset)
    size = None if loader.batch_size is None and loader.batch_sampler is None else rows
    shuffled = not is_stream and size is not None
    fresh = DataLoader(loader.dataset, size, shuffle=shuffled, collate_fn=loader.collate_fn)
    while True:
        is_empty = True
        for batch in fresh:
            is_empty = False
            yield loss(batch)
        if is_empty:
            raise InvalidInput.field(
                "train_dataloader",
                "its data set yields nothing more; a race of restarts must be able to iterate it "
                "again",
            )
