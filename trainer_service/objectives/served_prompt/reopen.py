"""Reopens the tuned model of a ``served_prompt`` run, to predict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from mentorgrad.domain.objective import ServedPrompt
from mentorgrad.errors import MentorgradError, PreconditionFailed
from trainer_service.objectives.build import BuildInputs
from trainer_service.objectives.input_template import Template
from trainer_service.objectives.served_prompt.problem import ServedPromptProblem
from trainer_service.objectives.served_prompt.scorer import LabelScorer
from trainer_service.objectives.served_prompt.tuned_model import fitted_to, open_scorer
from trainer_service.objectives.tuned import Tuned, TunedFiles, scores_at
from trainer_service.tasks.data import TaskData


class _GrowingScorer:
    """The scorer of a tuned model for inputs whose lengths are not known beforehand.

    Args:
        make: Beginnings of inputs → a scorer that has room for them.
    """

    def __init__(self, make: Callable[[Sequence[str]], LabelScorer]) -> None:
        self._make = make
        self._longest = ""
        self.scorer = make([""])

    def for_rows(self, heads: Sequence[str]) -> LabelScorer:
        """A scorer for inputs with these beginnings: the last one, or one with more room."""
        longest = max(heads, key=len, default="")
        if len(longest) > len(self._longest):
            self.close()
            try:
                self.scorer, self._longest = self._make([longest]), longest
            except MentorgradError:  # too long for the model; others need not be
                self.scorer, self._longest = self._make([""]), ""
                raise
        return self.scorer

    def close(self) -> None:
        """Frees the model or closes the connections."""
        self.scorer.close()


def reopen(files: TunedFiles, inputs: BuildInputs) -> Tuned:
    """Loads the tuned model, or contacts its server, to predict.

    Raises:
        InvalidInput: The tuned model cannot be used.
        PreconditionFailed: It is not the one of the run.
        Unavailable: Its server does not answer.
    """
    document = files.document
    spec = replace(files.spec(ServedPrompt), model=files.model)
    template, labels = Template(**document["template_parts"]), document["labels"]
    how = files.long_texts
    growing = _GrowingScorer(lambda heads: open_scorer(spec, inputs, labels, template, heads, how))
    try:
        _require_same(growing.scorer, files)
    except PreconditionFailed:
        growing.close()
        raise

    def problem(task: TaskData) -> ServedPromptProblem:
        scorer = growing.for_rows([template.head(row) for row in task.test])
        fitted, cut = fitted_to(task, template, scorer, how)
        made = ServedPromptProblem(spec, fitted, template, scorer, inputs.costs, inputs.device)
        made.cut_texts = cut
        return made

    scores = scores_at(files.tensors["prompt"])
    return Tuned(problem, scores, scores, growing.close)


def _require_same(scorer: LabelScorer, files: TunedFiles) -> None:
    """Checks that a scorer's model is the run's: a file by its digest, a served one by the name
    that it reports."""
    if digest := scorer.model.partition(" sha256:")[2]:
        files.require_model(digest)
    elif scorer.model != files.document["tuned_model"]:
        raise PreconditionFailed(
            f"{files.model} is not the model that was tuned: it reports {scorer.model}, and the "
            f"run's model was {files.document['tuned_model']}",
            reason="MODEL_CHANGED",
        )
