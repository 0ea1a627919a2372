"""Steps per second of `prompt_tuning`, `lora` or `prefix_tuning`, relative to the `Trainer` of
transformers with PEFT.

The embedded encoder on sst2, batches of 32 rows; a prompt or prefix of 8 tokens, or query and value
projections adapted with rank 8. Ours are the steps of a whole run, with capture and recording to
SQLite. The peer is `Trainer` with its default settings, around the adapter of PEFT that the run
exports, which is one for token classification: only there the classifier can read the text's own
[CLS]. Both are timed from the begin of the first step to that of the last; data are read and
tokenised before. With one thread, seconds are those of the CPU: what other processes do does not
count.

- `ratio`: ours with batches of similar length and in bfloat16, over the peer as it is. The peer
  trains with dropout, as the model's configuration asks for.
- `ratio_unsorted_float32`: ours with the peer's batches and number format, over the same peer.
- `ratio_unsorted_float32_without_dropout`: the same over a peer that does the same arithmetic. On
  the same batches, the losses of the two have to be equal.

    python -m bench.train_peft --tasks DIR [--objective prompt_tuning] [--blocks 10] [--steps 6]
                               [--threads 1] [--dtype bfloat16] [--quick]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from bench.paired import abba, environment
from bench.task_folder import read_tasks
from mentorgrad.domain.event import Created
from mentorgrad.domain.objective import Lora, ModelDtype, PrefixTuning, PromptTuning
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import Optimizer, RunSpec, Schedule, Stages, Task
from mentorgrad.model_refs import resolve
from mentorgrad.schema import snake_case
from run_store.open import open_store
from run_store.protocols import RunStore
from trainer_service.job import WorkerJob
from trainer_service.objectives.peft_files import CONFIG_FILE, WEIGHTS_FILE
from trainer_service.objectives.problem import Problem
from trainer_service.protocols import Objective
from trainer_service.run_composition import run_parts
from trainer_service.running.execution import Parts, execute
from trainer_service.running.restart_decision import batch_order
from trainer_service.running.stop_control import StopRequest
from trainer_service.seeds import generator

Tuned = PromptTuning | Lora | PrefixTuning

OBJECTIVES: dict[str, Tuned] = {
    "prompt_tuning": PromptTuning(head_scale=1.0),
    "lora": Lora(head_scale=1.0),
    "prefix_tuning": PrefixTuning(head_scale=1.0),
}
"""The scale is 1 for the classifier to be updated as the peer's is."""

SELECTION_ROWS = 4
TOLERANCE = 1e-4
"""Of equal losses."""


def spec_of(task: Task, objective: Tuned, steps: int) -> RunSpec:
    """A run of one stage on all rows, with the peer's schedule and clipping; one step more than are
    timed."""
    assert task.data is not None
    data = replace(task.data, test="")
    return RunSpec(
        objective=objective,
        task=replace(task, shots=0, selection_rows=SELECTION_ROWS, data=data),
        optimizer=Optimizer(learning_rate=1e-2, schedule=Schedule.LINEAR, clip_norm=1.0),
        stages=Stages(count=1, steps=steps + 1, candidates=1),
        checkpoint_interval=timedelta(hours=1),
    )


def now() -> float:
    """Seconds of the CPU, or of the clock if several threads share the work."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


class Timing(StopRequest):
    """Notes the begin of each step: a run asks then whether it has to stop."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def check(self) -> None:
        """Notes the time."""
        self.times.append(now())
        super().check()


@dataclass(frozen=True)
class Ours:
    """Runs of an objective that is built once.

    Args:
        store: Records the runs.
        spec: Of each run but for its seed.
        parts: Those of a worker.
        built: The objective.
    """

    store: RunStore
    spec: RunSpec
    parts: Parts
    built: Objective

    @staticmethod
    def make(store: RunStore, spec: RunSpec, root: Path, *, grouped: bool) -> Ours:
        """Builds the objective from data below `root`; without `grouped`, batches are made of rows
        of any length."""
        job = WorkerJob(
            run_id="bench",
            store="-",
            data_roots=(str(root),),
            model_roots=(str(Path.cwd().anchor),),
            threads=torch.get_num_threads(),
        )
        parts = run_parts(job)
        built = parts.objective(spec, lambda: None)
        if not grouped:
            built.problem.train_lengths = ()
        return Ours(store, spec, replace(parts, objective=lambda spec, check: built), built)

    @property
    def problem(self) -> Problem:
        """The objective's problem."""
        return self.built.problem

    @property
    def objective(self) -> Tuned:
        """The spec of the objective."""
        assert isinstance(self.spec.objective, Tuned)
        return self.spec.objective

    def start(self, seed: int) -> Mapping[str, bytes]:
        """What a run begins with, as files; PEFT's adapter is among them."""
        return self.built.export(self.built.language.initial(generator(seed, "initial")))

    def rows(self, seed: int) -> list[int]:
        """The train rows of a run's steps, in their order."""
        order = batch_order(replace(self.spec, seed=seed), self.problem, "batches")
        return torch.cat([order.rows(step) for step in range(self.spec.stages.steps)]).tolist()

    def run(self, seed: int) -> tuple[float, list[float]]:
        """Steps per second of a run, and the train loss of each."""
        run, _ = self.store.create(Created(spec=replace(self.spec, seed=seed)))
        lease = self.store.claim(run.run_id, "bench", timedelta(minutes=10))
        timing = Timing()
        state = execute(self.store, run, lease, self.parts, timing)
        assert state is RunState.SUCCEEDED, self.store.get_run(run.run_id).reason
        losses = [each.train_loss for each in self.store.trajectory(run.run_id).snapshots]
        return rate(timing.times[-len(losses) :]), losses


def rate(begins: Sequence[float]) -> float:
    """Steps per second, from the times at which steps begin."""
    return (len(begins) - 1) / (begins[-1] - begins[0])


class Peer:
    """An adapter of PEFT with a classifier, trained by `Trainer`.

    Args:
        ours: The rows, and the start.
        dropout: Whether the peer trains with the dropout of the model's configuration.
    """

    def __init__(self, ours: Ours, *, dropout: bool) -> None:
        from peft import PeftConfig, get_peft_model
        from transformers import AutoModelForTokenClassification, AutoTokenizer

        self._ours, task, spec = ours, ours.problem.task, ours.objective
        assert task is not None
        in_front = 0 if isinstance(spec, Lora) else spec.n_tokens
        self._read = in_front if isinstance(spec, PromptTuning) else 0  # the place of [CLS]
        folder = resolve(spec.encoder)
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        inputs = self._tokenizer(
            [row.text for row in task.train], truncation=True, max_length=spec.max_length - in_front
        )
        self._rows = [
            {name: inputs[name][index] for name in inputs} | {"label": row.label}
            for index, row in enumerate(task.train)
        ]
        names = () if dropout else ("hidden_dropout_prob", "attention_probs_dropout_prob")
        bare = AutoModelForTokenClassification.from_pretrained(
            folder, num_labels=len(task.labels), dtype=torch.float32, **dict.fromkeys(names, 0.0)
        )
        exported = json.loads(ours.start(0)[CONFIG_FILE])
        config = PeftConfig.from_peft_type(**exported | {"inference_mode": False})
        self._model: Any = get_peft_model(bare, config)

    def _begin(self, start: Mapping[str, bytes]) -> None:
        """Sets what is trained."""
        from peft import set_peft_model_state_dict

        state = safetensors.torch.load(start[WEIGHTS_FILE])
        set_peft_model_state_dict(self._model, state)
        trained = [each for each in self._model.parameters() if each.requires_grad]
        assert sum(map(Tensor.numel, trained)) == sum(map(Tensor.numel, state.values()))

    def _batch(self, rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        inputs = [{name: row[name] for name in row if name != "label"} for row in rows]
        batch = dict(self._tokenizer.pad(inputs, return_tensors="pt"))
        labels = torch.full((len(rows), self._read + batch["input_ids"].shape[1]), -100)
        labels[:, self._read] = torch.tensor([row["label"] for row in rows])  # and nowhere else
        return {**batch, "labels": labels}

    def run(self, seed: int) -> tuple[float, list[float]]:
        """Steps per second of a training on the rows of a run, in their order, and the losses."""
        from torch.utils.data import SequentialSampler
        from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

        losses: list[Tensor] = []
        times: list[float] = []

        class Begins(TrainerCallback):  # type: ignore[misc]
            def on_step_begin(self, *_: Any, **__: Any) -> None:
                times.append(now())

        class Ordered(Trainer):  # type: ignore[misc]
            def _get_train_sampler(self, train_dataset: Any = None) -> Any:
                return SequentialSampler(self.train_dataset)

            def compute_loss(self, model: Any, inputs: Any, *more: Any, **others: Any) -> Any:
                loss = super().compute_loss(model, inputs, *more, **others)
                losses.append(loss.detach())
                return loss

        optimizer, steps = self._ours.spec.optimizer, self._ours.spec.stages.steps
        unit = self._ours.problem.unit  # of what ours measures parameters and gradients in
        self._begin(self._ours.start(seed))
        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                folder,
                per_device_train_batch_size=optimizer.batch_size,
                learning_rate=optimizer.learning_rate * unit,
                max_grad_norm=optimizer.clip_norm / unit,
                adam_epsilon=1e-8 / unit,
                max_steps=steps,
                use_cpu=True,
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
                remove_unused_columns=False,  # the batches are made of all columns
                dataloader_pin_memory=False,
            )
            trainer = Ordered(
                self._model,
                arguments,
                data_collator=self._batch,
                train_dataset=[self._rows[row] for row in self._ours.rows(seed)],
                callbacks=[Begins()],
            )
            trainer.remove_callback(PrinterCallback)
            trainer.train()
        assert len(losses) == len(times) == steps
        return rate(times), [float(loss) for loss in losses]


def rates(run: Callable[[int], tuple[float, list[float]]]) -> Callable[[], float]:
    """A measurement of steps per second; each time with the batches of another seed."""
    seeds = itertools.count()
    return lambda: run(next(seeds))[0]


def compared(
    root: Path, task: Task, objective: Tuned, *, steps: int, blocks: int, dtype: ModelDtype
) -> dict[str, Any]:
    """The ratios, with absolute figures and the largest difference of a loss.

    Args:
        root: Folder of the task's data.
        task: The task.
        objective: Of the slower form.
        steps: Of each measurement.
        blocks: Of each comparison.
        dtype: Of the faster form.
    """
    spec = spec_of(task, objective, steps)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the peer
        store = open_store(f"sqlite:///{Path(folder) / 'runs.sqlite'}")
        plain = Ours.make(store, spec, root, grouped=False)
        narrow = replace(spec, objective=replace(objective, dtype=dtype))
        fast = Ours.make(store, narrow, root, grouped=True)
        default, same = (Peer(plain, dropout=dropout) for dropout in (True, False))
        pairs = zip(plain.run(0)[1], same.run(0)[1], strict=True)
        apart = max(abs(one - other) for one, other in pairs)
        assert apart < TOLERANCE, apart
        sides = {
            "ratio": (fast, default),
            "ratio_unsorted_float32": (plain, default),
            "ratio_unsorted_float32_without_dropout": (plain, same),
        }
        found = {
            name: abba(rates(ours.run), rates(peer.run), blocks)
            for name, (ours, peer) in sides.items()
        }
        store.close()
    return {
        **{name: round(pair.ratio, 3) for name, pair in found.items()},
        "steps_per_second": {name: pair.rounded() for name, pair in found.items()},
        "objective": snake_case(type(objective).__name__),
        "loss_difference": float(f"{apart:.2g}"),
        "dtype": dtype.value,
        "steps": steps,
        "threads": torch.get_num_threads(),
        "load": [round(each, 1) for each in os.getloadavg()],
        "environment": environment("torch", "transformers", "peft", "accelerate"),
    }


def main() -> None:
    """Runs the benchmark and prints the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=Path, required=True, help="a folder of tasks, with sst2")
    parser.add_argument("--objective", choices=OBJECTIVES, default="prompt_tuning")
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--steps", type=int, default=6, help="of each measurement")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=[each.value for each in ModelDtype], default="bfloat16")
    parser.add_argument("--quick", action="store_true", help="two blocks of two steps")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    blocks, steps = (2, 2) if given.quick else (given.blocks, given.steps)
    dtype = ModelDtype(given.dtype)
    (task,) = read_tasks(given.tasks, ("sst2",))
    objective = OBJECTIVES[given.objective]
    found = compared(given.tasks, task, objective, steps=steps, blocks=blocks, dtype=dtype)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
