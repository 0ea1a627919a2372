"""The two sides of `bench.causal_prompt`: our objective, and a prompt of PEFT in a plain loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mentorgrad.domain.objective import (
    DEFAULT_LANGUAGE_MODEL,
    Calibration,
    CausalPrompt,
    PromptPosition,
)
from mentorgrad.domain.spec import Task
from mentorgrad.model_refs import resolve
from trainer_service.costs import RowCosts
from trainer_service.encoding.causal_model import CausalModel
from trainer_service.encoding.dequantising import causal_folder
from trainer_service.encoding.line_tokens import LineTokens
from trainer_service.model_settings import default_cache_dir
from trainer_service.objectives.causal_prompt.inputs import Inputs, read_inputs
from trainer_service.objectives.causal_prompt.problem import CausalPromptProblem
from trainer_service.objectives.peft_files import quietly
from trainer_service.tasks.data import Row, Split, TaskData
from trainer_service.tasks.load import load_task

STATE_BYTES = 8 * 1024**3
"""Keys and values are kept of all rows."""

DEMO_TASK = "tickets"


def rows_of(model: CausalModel, rows: int, length: int, labels: Sequence[str] = ()) -> TaskData:
    """The first train rows of the built-in task, their texts repeated and cut to `length` tokens.

    Args:
        model: Its tokens count.
        rows: Number of rows; more than the task has are taken again from its beginning.
        length: Tokens per text.
        labels: Label words instead of the task's own; rows get them in turn.
    """
    task = load_task(Task(name=DEMO_TASK), 0, ())
    words = tuple(labels) or task.labels
    made = []
    for index in range(rows):
        row = task.train[index % len(task.train)]
        label = index % len(words) if labels else row.label
        made.append(Row(_of_length(row.text, length, model.tokens), label))
    return TaskData(
        task.name,
        task.description,
        words,
        train=tuple(made),
        selection=(),
        test=(),
    )


def _of_length(text: str, length: int, tokens: LineTokens) -> str:
    """A text repeated and cut so that it takes `length` tokens in its place in the template."""
    frame = len(tokens.plain_ids("Text:")) + len(tokens.plain_ids("\n"))
    words = text.split()
    for begin in range(len(words)):  # the last token may be another at the line's end
        whole = " ".join([*words[begin:], *words * length])
        count = len(tokens.plain_ids(whole))
        for cut in range(count - length - 2, count):
            found = tokens.shortened(whole, cut)
            if len(tokens.plain_ids(f"Text: {found}\n")) - frame == length:
                return found
    raise ValueError(f"no part of {text!r} takes {length} tokens")


def prompts_for(model: CausalModel, n_tokens: int) -> Tensor:
    """Two prompts [2, tokens, width] of the word vectors' scale. A measurement takes them in turn,
    because a problem keeps the logits of the latest one."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(len(model.tokens.vectors), (2, n_tokens), generator=generator)
    return model.tokens.vectors[ids.to(model.device)].clone()


class Ours:
    """The objective ``causal_prompt`` without calibration, all keys and values kept."""

    def __init__(
        self,
        model: CausalModel,
        task: TaskData,
        prompts: Tensor,
        position: PromptPosition = PromptPosition.AFTER_TEXT,
    ) -> None:
        self._prompts = prompts
        self.gradient = prompts[0]
        """Of the latest step, [tokens, width]."""
        spec = CausalPrompt(
            n_tokens=prompts.shape[1], position=position, calibration=Calibration.NONE
        )
        self.inputs: Inputs = read_inputs(
            spec, task, [], model.tokenizer, model.tokens, model.max_tokens
        )
        self.problem = CausalPromptProblem(spec, task, model, self.inputs, RowCosts(), STATE_BYTES)
        self._rows = torch.arange(len(task.train), device=model.device)
        self._evaluated = 0
        config = model.config.get_text_config()
        size = config.hidden_size // config.num_attention_heads
        per_token = 2 * config.num_hidden_layers * config.num_key_value_heads * size
        tokens = sum(len(self.inputs.own_ids(row)) for row in task.train)
        self.kept_bytes = tokens * per_token * model.network.dtype.itemsize
        """Bytes of keys and values that are kept between steps, for a prompt behind the text."""

    def evaluation(self) -> float:
        """Loss of a prompt on all rows."""
        self._evaluated += 1
        prompt = self._prompts[self._evaluated % 2].unsqueeze(0)
        return float(self.problem.results(prompt, Split.TRAIN).losses.mean())

    def step(self) -> float:
        """Loss of a prompt on all rows, with its gradient."""
        losses, slopes = self.problem.gradients(self._prompts[:1], self._rows)
        self.gradient = slopes[0]
        return float(losses[0])


class Peer:
    """The same prompt as a prefix of PEFT, in a plain loop over a model of transformers.

    It keeps the logits of the last position only. The rows are of one length, so that there is no
    padding.

    Args:
        model: Its weights are loaded once more, as anybody would load them.
        task: The rows.
        inputs: Template and labels of a prompt in front of the text.
        prompts: The prompts that are measured in turn.
    """

    def __init__(self, model: CausalModel, task: TaskData, inputs: Inputs, prompts: Tensor) -> None:
        from peft import PromptTuningConfig, TaskType, get_peft_model
        from transformers import AutoModelForCausalLM

        self._prompts = prompts
        network = AutoModelForCausalLM.from_pretrained(
            model.config.name_or_path, dtype=model.network.dtype
        ).to(model.device)
        with quietly():
            config = PromptTuningConfig(
                task_type=TaskType.CAUSAL_LM, num_virtual_tokens=prompts.shape[1]
            )
            self._tuned: Any = get_peft_model(network, config)
        self._tuned.eval()
        ids = [inputs.own_ids(row) for row in task.train]
        assert len({len(row) for row in ids}) == 1, "rows of one length"
        self._ids = torch.tensor(ids, device=model.device)
        self._present = torch.ones_like(self._ids)
        self._wanted = torch.tensor([row.label for row in task.train], device=model.device)
        self._labels = torch.tensor([label[0] for label in inputs.tree.labels], device=model.device)
        self._weight = self._tuned.prompt_encoder["default"].embedding.weight
        self._evaluated = 0
        self.gradient: Tensor = self._weight
        """Of the latest step, [tokens, width]."""

    def _loss(self, prompt: Tensor) -> Tensor:
        with torch.no_grad():
            self._weight.copy_(prompt)
        logits = self._tuned(
            input_ids=self._ids, attention_mask=self._present, logits_to_keep=1, use_cache=False
        ).logits
        return functional.cross_entropy(logits[:, -1, self._labels].float(), self._wanted)

    @torch.no_grad()
    def evaluation(self) -> float:
        """Loss of a prompt on all rows."""
        self._evaluated += 1
        return float(self._loss(self._prompts[self._evaluated % 2]))

    def step(self) -> float:
        """Loss of a prompt on all rows, with its gradient."""
        loss = self._loss(self._prompts[0])
        (self.gradient,) = torch.autograd.grad(loss, self._weight)
        return float(loss.detach())


def language_model(device: torch.device, dtype: str = "float32") -> CausalModel:
    """The embedded language model, dequantised."""
    folder = causal_folder(resolve(DEFAULT_LANGUAGE_MODEL), default_cache_dir())
    return CausalModel(folder, device, dtype)
