"""The end of a run: its best candidate, the prompt in words and the baselines on *test*, which is
used only here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from mentorgrad.domain.event import Finished
from mentorgrad.domain.label_score import LabelScore, label_scores
from mentorgrad.domain.run import RunResult, RunState, Score, Usage
from mentorgrad.tune.figures import confusion
from trainer_service.baselines.compute import baselines
from trainer_service.objectives.classification import ClassificationProblem
from trainer_service.objectives.predictions_file import predictions_bytes
from trainer_service.objectives.results import RowResults
from trainer_service.objectives.torch_free import PREDICTIONS_FILE
from trainer_service.protocols import Objective
from trainer_service.running.loop_state import LoopState
from trainer_service.tasks.data import Split, majority_share

PROMPT, WORDS = "prompt", "words"


def final_result(
    objective: Objective, at: LoopState, usage: Usage, check: Callable[[], None]
) -> tuple[Finished, dict[str, bytes]]:
    """The run's last event, with its result: its best candidate and the baselines, scored on
    *test*. Of their cost, `usage` gets the tokens alone. Beside it, the files of the baselines that
    are kept, and what each method predicts for the test rows."""
    problem, best = objective.problem, at.best.parameters
    files: dict[str, bytes] = {}
    logits: dict[str, np.ndarray] = {}
    beside = baselines(problem, check, files.__setitem__, logits.__setitem__)
    test: Score | None
    by_label: tuple[LabelScore, ...] = ()
    if isinstance(problem, ClassificationProblem) and problem.task.test:
        made = predictions(objective, problem, best, logits, check)
        files[PREDICTIONS_FILE], test, by_label = made
    else:
        test = problem.test(best)
    tokens = usage.tuned_model_tokens + problem.take_tokens()
    parts = problem.parts
    result = RunResult(
        returned=at.best.candidate,
        test=test,
        zero_shot=next((item.test for item in beside if item.name == "zero_shot"), None),
        majority_accuracy=majority_share(problem.task.test) if problem.task else None,
        restarts_applied=at.restarts,
        usage=replace(usage, tuned_model_tokens=tokens),
        baselines=beside,
        rows_at_once=parts.at_once(at.ledger.prices.batch) if parts.count > 1 else 0,
    )
    return Finished(RunState.SUCCEEDED, result, label_scores=by_label), files


def predictions(
    objective: Objective,
    problem: ClassificationProblem,
    point: Tensor,
    others: Mapping[str, np.ndarray],
    check: Callable[[], None] = lambda: None,
) -> tuple[bytes, Score, tuple[LabelScore, ...]]:
    """What each method predicts for the test rows, as a file; the score of the prompt; and what it
    predicts for each label.

    Args:
        objective: The objective.
        problem: Its problem, with test rows.
        point: The prompt [*shape].
        others: Method → logits of the test rows [rows, classes], of the baselines.
        check: May raise to abort.
    """
    logits = {name: torch.from_numpy(found).float() for name, found in others.items()}
    logits[PROMPT], test = problem.tested(point, Split.TEST)
    check()
    selection: dict[str, Score] = {}
    if worded := _in_words(objective, problem, point):
        logits[WORDS], selection[WORDS] = worded
    labels = problem.labels[Split.TEST]
    guesses = logits[PROMPT].argmax(-1).cpu().numpy()
    counts = confusion(labels.cpu().numpy(), guesses, len(problem.task.labels))
    by_label = label_scores(problem.task.labels, counts)
    return predictions_bytes(labels, logits, selection), test, by_label


def _in_words(
    objective: Objective, problem: ClassificationProblem, point: Tensor
) -> tuple[Tensor, Score] | None:
    """Of the prompt in words, as it predicts: log-probabilities of the labels of the test rows, and
    the score on selection. None if the parameter has no words, or is words itself."""
    if not objective.language.has_words:
        return None
    (words,) = objective.language.project(point.unsqueeze(0))
    worded = objective.language.embed_ids(words.ids, point)
    if torch.equal(worded, point):
        return None
    held = problem.words_logits(words.text, Split.SELECTION)
    log_probs = problem.words_logits(words.text, Split.TEST)
    if held is None or log_probs is None:
        return problem.tested(worded, Split.TEST)[0], problem.tested(worded, Split.SELECTION)[1]
    known = RowResults.of_logits(held.unsqueeze(0), problem.labels[Split.SELECTION])
    return log_probs, known.scores()[0]
