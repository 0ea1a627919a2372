"""The objective ``prefix_tuning``: soft keys and values at every layer of a frozen encoder.

This module imports no torch; `problem` does.
"""

from __future__ import annotations

from mentorgrad.domain.spec import PrefixTuning
from mentorgrad.errors import InvalidInput
from trainer_service.costs import RowCosts
from trainer_service.encoding.model_files import UNSUITABLE, hidden_width, read_json
from trainer_service.objectives.adapters.checks import check_adapted_encoder, check_numbers
from trainer_service.objectives.kinds import CheckInputs, ObjectiveKind
from trainer_service.objectives.peft_folder import PeftFolder, peft_folder
from trainer_service.objectives.prompt_checks import check_initial_text
from trainer_service.objectives.start_files import StartSources
from trainer_service.tasks.data import TaskData

ARCHITECTURES = ("bert", "roberta", "xlm-roberta", "electra", "camembert")
"""Architectures whose attention takes keys and values from outside, in transformers."""


def initial_folder(spec: PrefixTuning, sources: StartSources, path: str) -> PeftFolder | None:
    """The prefix that a spec starts from; None: one made of words.

    Raises:
        InvalidInput: It cannot be used.
    """
    field = f"{path}.initial_text"
    return peft_folder(spec.initial_text, ("PREFIX_TUNING",), spec.encoder, sources, field)


def require_architecture(kind: str, field: str) -> None:
    """Checks that an encoder's attention takes keys and values from outside.

    Raises:
        InvalidInput: It does not.
    """
    if kind not in ARCHITECTURES:
        raise InvalidInput.field(
            field,
            f"{kind or 'this architecture'} takes no keys and values from outside; prefix_tuning "
            f"needs one of: {', '.join(ARCHITECTURES)}",
            reason=UNSUITABLE,
        )


def check(spec: PrefixTuning, inputs: CheckInputs) -> None:
    """Checks the encoder, the length of the prefix, its start and the size of the parameter."""
    folder, tokens = check_adapted_encoder(spec, inputs, beside=spec.n_tokens)
    if folder is None or tokens is None:
        return
    config = read_json(folder, "config.json")
    try:
        require_architecture(str(config.get("model_type", "")), f"{inputs.path}.encoder")
        if initial_folder(spec, inputs.starts, inputs.path) is None:
            check_initial_text(spec, tokens.count, inputs)
    except InvalidInput as error:
        inputs.findings.extend(error.violations, error.reason)
    layers = int(config.get("num_hidden_layers", 1))
    check_numbers(2 * layers * spec.n_tokens * hidden_width(folder), "n_tokens", folder, inputs)


def costs(spec: PrefixTuning, task: TaskData | None) -> RowCosts:
    """A pass encodes each of its rows."""
    return RowCosts(per_row=1)


KIND = ObjectiveKind(
    PrefixTuning,
    "trainer_service.objectives.prefix_tuning.problem:build",
    costs,
    check,
    reopen="trainer_service.objectives.prefix_tuning.problem:reopen",
    has_words=False,
    is_written=False,
    forward_row="a text that is encoded",
)
