"""The files of a tuned prompt: the soft prompt, the prompt in words, and a PEFT adapter."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from torch import Tensor

from mentorgrad.domain.objective import CausalPrompt, PromptPosition
from mentorgrad.domain.run import Score
from mentorgrad.domain.spec import RunSpec
from trainer_service import tensorfile
from trainer_service.encoding.causal_model import CausalModel
from trainer_service.objectives.causal_prompt.inputs import Inputs
from trainer_service.objectives.causal_prompt.problem import CausalPromptProblem
from trainer_service.objectives.model_file import as_metadata, document_bytes, model_document
from trainer_service.objectives.peft_files import (
    WEIGHTS_FILE,
    config_file,
    prompt_tuning_config,
    quietly,
)
from trainer_service.objectives.prompt_language import PromptLanguage
from trainer_service.objectives.torch_free import ARTIFACT, MODEL_FILE, PROMPT_TEXT
from trainer_service.tasks.data import Split

_PEFT_TENSOR = "prompt_embeddings"
"""PEFT's name of the soft prompt."""


class CausalExport:
    """Makes the files of one run; see `trainer_service.protocols.Export`.

    ``prompt.txt`` is the prompt in words, and ``model.json`` says what it scores on *selection*,
    tokenised in one string with the template, beside the soft prompt, and everything that is
    needed to use either. A prompt in front of the text is a PEFT adapter besides::

        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder)

    Args:
        spec: The objective.
        run: The run.
        model: The frozen model.
        inputs: Template and labels as tokens.
        problem: Scores prompts.
        language: Writes prompts as words.
        revision: Commit of a model of the Hugging Face hub; empty for others.
    """

    def __init__(
        self,
        spec: CausalPrompt,
        run: RunSpec,
        model: CausalModel,
        inputs: Inputs,
        problem: CausalPromptProblem,
        language: PromptLanguage,
        revision: str,
    ) -> None:
        self._spec = spec
        self._run = run
        self._revision = revision
        self._model = model
        self._inputs = inputs
        self._problem = problem
        self._language = language

    def __call__(self, parameters: Tensor) -> dict[str, bytes]:
        """The files by name; equal parameters give equal bytes."""
        parameters = parameters.detach()
        (words,) = self._language.project(parameters.unsqueeze(0))
        document = self._document(parameters, words.text)
        files = {
            ARTIFACT: tensorfile.save({"prompt": parameters}, as_metadata(document)),
            MODEL_FILE: document_bytes(document),
            PROMPT_TEXT: f"{words.text}\n".encode(),
        }
        if self._spec.position is PromptPosition.BEFORE_TEXT:
            files |= self._adapter(parameters)
        return files

    def _document(self, parameters: Tensor, text: str) -> dict[str, Any]:
        task, spec = self._problem.task, self._spec
        (soft,) = self._problem.score(parameters.unsqueeze(0))
        worded = self._problem.words_score(text, Split.SELECTION)
        return model_document(
            spec,
            self._run,
            task,
            model=spec.model,
            model_sha256=self._model.digest,
            model_revision=self._revision,
            device=self._model.device.type,
            text=text,
            cut_texts=self._problem.cut_texts,
            dtype=self._model.dtype,
            position=spec.position.value,
            template=self._inputs.template.text,
            template_parts=asdict(self._inputs.template),
            label_tokens=[list(label) for label in self._inputs.tree.labels],
            labels_terminated=self._inputs.tree.terminated,
            calibration=spec.calibration.value,
            prior=_numbers(self._problem.final_prior(parameters)),
            prior_in_words=_numbers(self._problem.words_prior(text)),
            selection=_figures(soft),
            selection_in_words=_figures(worded),
            loss_of_words=worded.loss - soft.loss,
            kept_rows={split.value: n for split, n in self._problem.kept_rows.items()},
        )

    def _adapter(self, parameters: Tensor) -> dict[str, bytes]:
        config = self._model.config.get_text_config()
        with quietly():
            made = prompt_tuning_config(
                "CAUSAL_LM",
                n_tokens=len(parameters),
                width=parameters.shape[1],
                heads=config.num_attention_heads,
                layers=config.num_hidden_layers,
                model=self._spec.model,
            )
        weights = tensorfile.save({_PEFT_TENSOR: parameters}, {"format": "pt"})
        return {**config_file(made), WEIGHTS_FILE: weights}


def _figures(score: Score) -> dict[str, Any]:
    return {"loss": score.loss, "accuracy": score.accuracy, "rows": score.rows}


def _numbers(prior: Tensor | None) -> list[float]:
    return [] if prior is None else list(prior.tolist())
