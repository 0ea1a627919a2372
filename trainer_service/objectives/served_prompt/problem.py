"""A line of text between the text to classify and the answer of a language model."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace

import torch
from torch import Tensor

from mentorgrad.domain.advice import TaskCard
from mentorgrad.domain.objective import Calibration, ServedPrompt
from mentorgrad.domain.spec import Criterion, LongTexts
from mentorgrad.errors import (
    InvalidInput,
    MentorgradError,
    PreconditionFailed,
    Unavailable,
    Violation,
)
from mentorgrad.model_refs import resolve
from trainer_service import tensorfile
from trainer_service.costs import RowCosts
from trainer_service.objectives.build import BuildInputs
from trainer_service.objectives.calibrated_problem import CONTENT_FREE, CalibratedProblem
from trainer_service.objectives.calibration import calibrated
from trainer_service.objectives.demonstrations import set_apart
from trainer_service.objectives.initial_text import RANDOM
from trainer_service.objectives.input_template import Template
from trainer_service.objectives.long_texts import TextRoom, by_characters, fitted_task
from trainer_service.objectives.model_file import as_metadata, document_bytes
from trainer_service.objectives.served_prompt import read_template, start_text
from trainer_service.objectives.served_prompt.language import TextLanguage, to_text
from trainer_service.objectives.served_prompt.scorer import LabelScorer, answered
from trainer_service.objectives.torch_free import ARTIFACT, MODEL_FILE, PROMPT_TEXT
from trainer_service.objectives.tuned import Tuned, TunedFiles, scores_at
from trainer_service.protocols import Objective
from trainer_service.tasks.data import UNLABELLED, CutTexts, Row, Split, TaskData

_ALL = 1 << 30
"""Parameters per pass: the scorer divides the work itself."""
_WORD = re.compile(r"\w+(?:['’-]\w+)*")


class ServedPromptProblem(CalibratedProblem):
    """Label scores of a language model with a prompt between text and answer.

    Args:
        spec: Length and calibration.
        task: The rows, without the demonstrations.
        template: Where text, prompt and label stand, behind its opening.
        scorer: Scores the labels; owned by the problem.
        costs: Forward rows of a pass.
        device: Device of the parameters.
    """

    has_gradients = False

    def __init__(
        self,
        spec: ServedPrompt,
        task: TaskData,
        template: Template,
        scorer: LabelScorer,
        costs: RowCosts,
        device: torch.device,
    ) -> None:
        super().__init__(task, spec.calibration, device)
        self.shape = (spec.max_characters,)
        self.costs = costs
        self.tuned_model = scorer.model
        self._template = template
        self._scorer = scorer

    def logits(self, points: Tensor, split: Split, rows: Tensor) -> Tensor:
        """Scores of the labels [k, n, classes]; see `ClassificationProblem`."""
        texts = [to_text(point) for point in points.cpu()]
        of_split, indices = self.task.rows(split), rows.tolist()
        scores = self._scored(texts, [of_split[index] for index in indices])
        # An answer that is no label is wrong, whatever the label is.
        classes = len(self.task.labels)
        for text, row in torch.isnan(scores).any(-1).nonzero().tolist():
            label = of_split[indices[row]].label
            wrong = answered((label + 1) % classes, classes)
            # Of a row to predict, it says nothing of any label.
            scores[text, row] = 0.0 if label == UNLABELLED else scores.new_tensor(wrong)
        return scores

    def batches(self, split: Split, rows: Tensor) -> Iterator[tuple[Tensor, int]]:
        """All rows and parameters at once."""
        yield torch.arange(len(rows), device=rows.device), _ALL

    def untuned_logits(self, split: Split) -> Tensor:
        """Scores without a prompt, calibrated as the spec says; see `Problem`."""
        nothing = torch.zeros(1, *self.shape, device=self.device)
        logits = self.batched_logits(nothing, split, torch.arange(self.size(split)))
        prior = self.final_prior(nothing[0])
        return logits[0] if prior is None else calibrated(logits, prior)[0]

    def take_tokens(self) -> int:
        """See `Problem`."""
        return self._scorer.take_tokens()

    def close(self) -> None:
        """See `Problem`."""
        self._scorer.close()

    def content_free_logits(self, points: Tensor) -> Tensor:
        """See `CalibratedProblem`."""
        return self._scored([to_text(point) for point in points.cpu()], CONTENT_FREE)

    def _scored(self, texts: Sequence[str], rows: Sequence[Row]) -> Tensor:
        heads = [self._template.opening + self._template.head(row) for row in rows]
        tails = [self._template.continuation(text) for text in texts]
        scores = self._scorer.scores(heads, tails)
        return torch.tensor(scores, dtype=torch.float32, device=self.device)


def build(spec: ServedPrompt, inputs: BuildInputs) -> Objective:
    """Builds the objective; loads the tuned model, or contacts its server.

    Raises:
        InvalidInput: The tuned model cannot be used, or cannot be used like this.
        Unavailable: Its server does not answer (reason TUNED_MODEL_AWAY).
    """
    shown, task = set_apart(inputs.rows, spec.demonstrations, inputs.run.seed)
    template = read_template(spec, task).with_demonstrations(shown, task.labels)
    rows = (*task.train, *task.selection, *task.test)
    heads = [template.head(row) for row in rows]
    long_texts = inputs.run.task.long_texts
    initial_text = start_text(spec, inputs.starts, inputs.path)
    scorer = _scorer(
        replace(spec, initial_text=initial_text), inputs, task.labels, template, heads, long_texts
    )
    if not scorer.gives_probabilities:
        wrong = list(_needs_probabilities(spec, inputs.run.criterion, inputs.path))
        if wrong:
            scorer.close()
            raise InvalidInput(violations=wrong, reason="NO_PROBABILITIES")
    try:
        fitted, cut = _fitted(task, template, scorer, long_texts)
    except InvalidInput:
        scorer.close()
        raise
    problem = ServedPromptProblem(spec, fitted, template, scorer, inputs.costs, inputs.device)
    problem.cut_texts = cut
    words = [word for row in task.train for word in _WORD.findall(row.joined)]

    def has_room(text: str) -> bool:
        return scorer.has_room(template.continuation(text))

    start = "" if initial_text == RANDOM else initial_text or template.start
    language = TextLanguage(spec.max_characters, start, words, inputs.device, has_room)

    def export(point: Tensor) -> dict[str, bytes]:
        """The text, and its code points with what is needed to use it."""
        text, prior = to_text(point.cpu()), problem.final_prior(point)
        document = inputs.document(
            spec,
            spec.model,
            scorer.model.partition(" sha256:")[2],
            problem,
            text,
            tuned_model=scorer.model,
            template=template.text,
            template_parts=asdict(template),
            loss_is_likelihood=scorer.gives_probabilities,
            calibration=spec.calibration.value,
            prior=[] if prior is None else prior.tolist(),
        )
        return {
            ARTIFACT: tensorfile.save({"prompt": point.detach()}, as_metadata(document)),
            MODEL_FILE: document_bytes(document),
            PROMPT_TEXT: f"{text}\n".encode(),
        }

    card = TaskCard(
        objective="served_prompt",
        description=task.description,
        labels=task.labels,
        proposal="a line of text that stands between the text to classify and the answer; a "
        "language model reads both and goes on with the name of a class",
        place=template.place,
    )
    return Objective(problem, language, export, card)


def _fitted(
    task: TaskData, template: Template, scorer: LabelScorer, how: LongTexts
) -> tuple[TaskData, CutTexts]:
    """The task with texts that fit the tuned model, as far as its room is known, and which of
    them are cut."""
    if scorer.room is None:
        return task, {}
    least = scorer.count(template.head(Row("", UNLABELLED))) + 1
    if scorer.room < least:
        raise InvalidInput.field(
            "spec.objective.served_prompt.max_characters",
            f"prompt, template and label leave {scorer.room} tokens for a row; at least {least} "
            "are needed",
            reason="PROMPT_TOO_LONG",
        )
    room = TextRoom(
        how,
        scorer.room,
        size=lambda row: scorer.count(template.head(row)),
        count=scorer.count,
        shorten=by_characters(how, scorer.count),
    )
    return fitted_task(task, room)


def _scorer(
    spec: ServedPrompt,
    inputs: BuildInputs,
    labels: Sequence[str],
    template: Template,
    heads: Sequence[str],
    long_texts: LongTexts,
) -> LabelScorer:
    """Loads the tuned model, or contacts its server; `heads` begin the inputs."""
    if spec.model in inputs.tuned_models:
        from trainer_service.objectives.served_prompt.server_scorer import ServerScorer

        example = (
            template.opening + heads[0],
            template.continuation(spec.initial_text or "?"),
        )
        return ServerScorer(
            spec.model,
            inputs.tuned_models[spec.model],
            labels,
            example,
            api_key=inputs.api_key,
            abort=inputs.abort,
        )
    # Compiled code that a trainer without such runs need not have.
    from trainer_service.objectives.served_prompt.llama_scorer import LlamaScorer

    try:
        return LlamaScorer(
            resolve(spec.model, roots=inputs.model_roots),
            labels,
            template.anchor,
            opening=template.opening,
            heads=heads,
            characters=spec.max_characters,
            threads=inputs.threads,
            on_gpu=inputs.device.type == "cuda",
            abort=inputs.abort,
            cuts=long_texts is not LongTexts.ERROR,
        )
    except MentorgradError as error:
        if isinstance(error, InvalidInput) and error.violations:
            raise
        if not isinstance(error, (InvalidInput, Unavailable)):
            raise
        violation = Violation(f"{inputs.path}.model", error.message)
        raise InvalidInput(violations=[violation], reason=error.reason) from error


def _needs_probabilities(
    spec: ServedPrompt, criterion: Criterion, path: str
) -> Iterator[Violation]:
    """Violations of settings that need log-probabilities, which the tuned model does not give."""
    why = "the tuned model's server gives no log-probabilities, only answers"
    if criterion is Criterion.LOSS:
        yield Violation("spec.criterion", f"must be accuracy, macro_f1 or matthews: {why}")
    if spec.calibration is not Calibration.NONE:
        yield Violation(f"{path}.calibration", f"must be none: {why}")


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
    growing = _GrowingScorer(lambda heads: _scorer(spec, inputs, labels, template, heads, how))
    try:
        _require_same(growing.scorer, files)
    except PreconditionFailed:
        growing.close()
        raise

    def problem(task: TaskData) -> ServedPromptProblem:
        scorer = growing.for_rows([template.head(row) for row in task.test])
        fitted, cut = _fitted(task, template, scorer, how)
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
