"""Builds the objective ``served_prompt`` from its spec."""

from __future__ import annotations

import re
from dataclasses import asdict, replace

from torch import Tensor

from mentorgrad.domain.advice import TaskCard
from mentorgrad.domain.objective import Calibration, ServedPrompt
from mentorgrad.domain.spec import Criterion
from mentorgrad.errors import InvalidInput, Violation
from trainer_service import tensorfile
from trainer_service.objectives.build import BuildInputs
from trainer_service.objectives.demonstrations import set_apart
from trainer_service.objectives.initial_text import RANDOM
from trainer_service.objectives.model_file import as_metadata, document_bytes
from trainer_service.objectives.served_prompt import read_template, start_text
from trainer_service.objectives.served_prompt.language import TextLanguage, to_text
from trainer_service.objectives.served_prompt.problem import ServedPromptProblem
from trainer_service.objectives.served_prompt.tuned_model import fitted_to, open_scorer
from trainer_service.objectives.torch_free import ARTIFACT, MODEL_FILE, PROMPT_TEXT
from trainer_service.protocols import Objective

_WORD = re.compile(r"\w+(?:['’-]\w+)*")


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
    initial_text = start_text(spec, task, inputs.starts, inputs.path)
    scorer = open_scorer(
        replace(spec, initial_text=initial_text), inputs, task.labels, template, heads, long_texts
    )
    try:
        if not scorer.gives_probabilities:
            _require_none_needed(spec, inputs.run.criterion, inputs.path)
        fitted, cut = fitted_to(task, template, scorer, long_texts)
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


def _require_none_needed(spec: ServedPrompt, criterion: Criterion, path: str) -> None:
    """Checks that no setting needs log-probabilities, which the tuned model does not give."""
    why = "the tuned model's server gives no log-probabilities, only answers"
    wrong = []
    if criterion is Criterion.LOSS:
        must = f"must be accuracy, macro_f1 or matthews: {why}"
        wrong.append(Violation("spec.criterion", must))
    if spec.calibration is not Calibration.NONE:
        wrong.append(Violation(f"{path}.calibration", f"must be none: {why}"))
    if wrong:
        raise InvalidInput(violations=wrong, reason="NO_PROBABILITIES")
