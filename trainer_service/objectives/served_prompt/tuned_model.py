"""The tuned model of ``served_prompt``: which one scores the labels, and the texts that fit it."""

from __future__ import annotations

from collections.abc import Sequence

from mentorgrad.domain.objective import ServedPrompt
from mentorgrad.domain.spec import LongTexts
from mentorgrad.errors import InvalidInput, MentorgradError, Unavailable, Violation
from mentorgrad.model_refs import resolve
from trainer_service.objectives.build import BuildInputs
from trainer_service.objectives.input_template import Template
from trainer_service.objectives.long_texts import TextRoom, by_characters, fitted_task
from trainer_service.objectives.served_prompt.scorer import LabelScorer
from trainer_service.tasks.data import UNLABELLED, CutTexts, Row, TaskData


def open_scorer(
    spec: ServedPrompt,
    inputs: BuildInputs,
    labels: Sequence[str],
    template: Template,
    heads: Sequence[str],
    long_texts: LongTexts,
) -> LabelScorer:
    """Loads the tuned model, or contacts its server; `heads` begin the inputs.

    Raises:
        InvalidInput: The tuned model cannot be used.
        Unavailable: Its server does not answer (reason TUNED_MODEL_AWAY).
    """
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


def fitted_to(
    task: TaskData, template: Template, scorer: LabelScorer, how: LongTexts
) -> tuple[TaskData, CutTexts]:
    """The task with texts that fit the tuned model, as far as its room is known, and which of
    them are cut.

    Raises:
        InvalidInput: There is no room for any text, or one is too long, and that is an error.
    """
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
