"""Adapters of a causal language model: what is built, left and reopened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from torch import Tensor

from trainer_service import tensorfile
from trainer_service.encoding.causal_model import CausalModel
from trainer_service.objectives.adapters.adapter import Adapter
from trainer_service.objectives.adapters.language_model_inputs import AdapterSpec, as_prompt
from trainer_service.objectives.adapters.language_model_problem import LanguageModelAdapterProblem
from trainer_service.objectives.build import BuildInputs
from trainer_service.objectives.causal_prompt.inputs import inputs_of, read_inputs
from trainer_service.objectives.input_template import PROMPT, Template
from trainer_service.objectives.peft_files import WEIGHTS_FILE, config_file, quietly
from trainer_service.objectives.tuned import TunedFiles
from trainer_service.tasks.data import TaskData

_TASK_TYPE = "CAUSAL_LM"


class OnLanguageModel:
    """An adapter of a causal language model, for the rows of a run; see `AdaptedParts`."""

    def __init__(
        self, spec: AdapterSpec, inputs: BuildInputs, model: CausalModel, adapter: Adapter
    ) -> None:
        task = inputs.rows
        prompt = as_prompt(spec, task.is_paired, inputs.path)
        tokenizer, room = model.tokenizer, model.max_tokens
        self._inputs = read_inputs(prompt, task, (), tokenizer, model.tokens, room, inputs.path)
        self._spec, self._model, self._adapter = spec, model, adapter
        long_texts = inputs.run.task.long_texts
        self.problem = LanguageModelAdapterProblem(
            *(adapter, task, model, self._inputs, spec.calibration, inputs.costs),
            check=inputs.abort,
            long_texts=long_texts,
        )

    def facts(self, parameters: Tensor) -> dict[str, Any]:
        """What ``model.json`` has besides; see `AdaptedParts`."""
        prior, template = self.problem.final_prior(parameters), self._inputs.template
        return {
            "dtype": self._model.dtype,
            "template": template.text.removeprefix(PROMPT),
            "template_parts": asdict(template),
            "label_tokens": [list(label) for label in self._inputs.tree.labels],
            "labels_terminated": self._inputs.tree.terminated,
            "calibration": self._spec.calibration.value,
            "prior": [] if prior is None else prior.tolist(),
            "adapter": _TASK_TYPE,
        }

    def files(self, parameters: Tensor) -> dict[str, bytes]:
        """The files for PEFT; see `AdaptedParts`."""
        tensors = self._adapter.peft_tensors(self.problem.layout.views(parameters.detach()))
        named = {f"{self._adapter.peft_lead}{name}": part for name, part in tensors.items()}
        with quietly():
            configuration = config_file(self._adapter.peft_config(_TASK_TYPE))
        return {**configuration, WEIGHTS_FILE: tensorfile.save(named, {"format": "pt"})}


def reopened(
    files: TunedFiles, inputs: BuildInputs, spec: AdapterSpec, model: CausalModel, adapter: Adapter
) -> Callable[[TaskData], LanguageModelAdapterProblem]:
    """Rows to predict → the run's problem on them, with the template as it was used.

    Raises:
        PreconditionFailed: The labels have other tokens by now.
    """
    document = files.document
    template, words = Template(**document["template_parts"]), document["labels"]
    prompt = as_prompt(spec, bool(document["paired"]), inputs.path)
    tokenizer, room = model.tokenizer, model.max_tokens
    known = inputs_of(prompt, template, words, tokenizer, model.tokens, room, inputs.path)
    known.require_label_tokens(document["label_tokens"])

    def problem(task: TaskData) -> LanguageModelAdapterProblem:
        return LanguageModelAdapterProblem(
            *(adapter, task, model, known, spec.calibration, inputs.costs),
            check=inputs.abort,
            long_texts=files.long_texts,
        )

    return problem
