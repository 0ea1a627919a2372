"""The real encoder, loaded once a session, and objectives over it."""

from __future__ import annotations

import functools
import io
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mentorgrad.domain import spec as specs
from mentorgrad.domain.objective import (
    DEFAULT_ENCODER,
    Calibration,
    CausalPrompt,
    External,
    Function,
    LabelPrompt,
    Lora,
    MultipleChoice,
    PrefixTuning,
    PromptPosition,
    PromptTuning,
    Readout,
    ServedPrompt,
    Xgblora,
)
from mentorgrad.model_refs import resolve
from tests.support import own_objective
from tests.support.label_server import LabelServer
from trainer_service.costs import FORWARD_BACKWARD, RowCosts
from trainer_service.encoding.causal_model import CausalModel
from trainer_service.encoding.clip import ClipEncoder
from trainer_service.encoding.encoders import TextEncoder
from trainer_service.objectives.build import (
    DEFAULT_STATE_BYTES,
    BuildInputs,
    build_objective,
)
from trainer_service.objectives.number_language import NumberLanguage
from trainer_service.objectives.start_files import OpenRun, no_runs
from trainer_service.objectives.table import kind_of
from trainer_service.optimizers.oracle import BatchOracle
from trainer_service.optimizers.table import build_optimizer
from trainer_service.protocols import Objective
from trainer_service.registry import load
from trainer_service.settings import TrainerSettings
from trainer_service.tasks.data import Row, Split, TaskData
from trainer_service.tasks.images import EncodedImage
from trainer_service.tasks.load import load_task

CPU = torch.device("cpu")
CUDA = torch.device("cuda", 0)

ON_CUDA = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no NVIDIA device"),
]
"""Marks of tests that need one."""
DEVICES = [pytest.param(CPU, id="cpu"), pytest.param(CUDA, id="cuda", marks=ON_CUDA)]
"""Parameters of tests that hold on every device."""


@functools.cache
def encoder(device: torch.device = CPU) -> TextEncoder:
    torch.set_num_threads(1)
    return TextEncoder(resolve(DEFAULT_ENCODER), device)


def tickets(seed: int = 0, device: torch.device = CPU, **fields: object) -> Objective:
    """`label_prompt` on a part of the built-in task: encoding all of its texts takes long."""
    task = load_task(specs.Task(shots=2, selection_rows=2), seed, ())
    return label_prompt_on(replace(task, test=task.test[::16]), device, **fields)


def label_prompt_on(task: TaskData, device: torch.device = CPU, **fields: object) -> Objective:
    """`label_prompt` with the real encoder."""
    return built_on(encoder(device), LabelPrompt(**fields), task)  # type: ignore[arg-type]


def tiny_label_prompt(**fields: object) -> Objective:
    """`label_prompt` on a random encoder."""
    return built_on(tiny_encoder("bert"), LabelPrompt(**fields), tiny_task())  # type: ignore[arg-type]


def function(name: str, dimensions: int, device: torch.device = CPU) -> Objective:
    """`function`."""
    return build_objective(specs.RunSpec(Function(name, dimensions)), device=device)


@dataclass(frozen=True)
class GivenModel(BuildInputs):
    """BuildInputs of an objective with a model that is loaded already."""

    under: TextEncoder | CausalModel | None = None

    def encoder(self, reference: str, dtype: str = "auto") -> TextEncoder:
        assert isinstance(self.under, TextEncoder)
        return self.under

    def image_encoder(self, reference: str) -> ClipEncoder:
        assert isinstance(self.under, ClipEncoder)
        return self.under

    def causal_model(self, reference: str, dtype: str) -> CausalModel:
        assert isinstance(self.under, CausalModel)
        return self.under


def built_on(
    under: TextEncoder | CausalModel,
    spec: Any,
    task: TaskData,
    abort: Callable[[], None] = lambda: None,
    state_bytes: int = DEFAULT_STATE_BYTES,
    run: specs.RunSpec | None = None,
    model_roots: Sequence[Path] | None = (),
    open_run: OpenRun = no_runs,
) -> Objective:
    """An objective with a model that is loaded already."""
    kind = kind_of(spec)
    parts = GivenModel(
        path=kind.path,
        task=task,
        costs=kind.costs(spec, task),
        device=under.device,
        abort=abort,
        cache_dir=TrainerSettings().cache_dir,
        state_bytes=state_bytes,
        under=under,
        run=run or specs.RunSpec(),
        model_roots=model_roots,
        open_run=open_run,
    )
    built: Objective = load(kind.build)(spec, parts)
    return built


def numbers(dimensions: int, lower: float = -5.12, upper: float = 5.12) -> NumberLanguage:
    """Points within bounds."""
    return NumberLanguage(dimensions, lower, upper, CPU)


@functools.cache
def objective(name: str, device: torch.device = CPU) -> Objective:
    """An objective by name, made once: tests must not change it."""
    if name == "own":
        inputs = BuildInputs("", None, RowCosts(per_row=0, per_pass=1), device, lambda: None)
        return own_objective.build(External("bowl"), inputs)
    if name == "label_prompt":
        return tickets(device=device)
    if name == "label_prompt_clip":
        return built_on(tiny_clip(device), LabelPrompt(n_tokens=3), image_task())
    if name in ON_TINY_ENCODER:
        return built_on(tiny_encoder("bert", device), ON_TINY_ENCODER[name], tiny_task())
    if name in ADAPTED_CAUSAL:
        return built_on(tiny_causal(device=device), ADAPTED_CAUSAL[name], causal_task())
    if name == "served_prompt":
        # Each row is a question over HTTP.
        task = tiny_task()
        few = {split.value: task.rows(split)[:: len(task.rows(split)) // 8] for split in Split}
        task = replace(task, **few)
        return served_prompt_on(task, device, max_characters=60, initial_text="random")
    if name == "multiple_choice":
        return multiple_choice_on(choice_task(), device)
    if name.startswith("prompt_tuning"):
        readout = Readout(name.removeprefix("prompt_tuning").strip("_") or "cls")
        return tiny(device=device, readout=readout)
    if name in CAUSAL:
        labels, fields = CAUSAL[name]
        return causal(device=device, labels=labels, initial_text="random", **fields)
    return function(name, 3, device)


@functools.cache
def label_server() -> LabelServer:
    """A served model for the tests of a process."""
    return LabelServer().__enter__()


def served_prompt_on(task: TaskData, device: torch.device = CPU, **fields: object) -> Objective:
    """`served_prompt` with a scripted server."""
    spec = ServedPrompt("own", **fields)  # type: ignore[arg-type]
    kind, models = kind_of(spec), {"own": label_server().url}
    inputs = BuildInputs(
        kind.path, task, kind.costs(spec, task), device, lambda: None, tuned_models=models
    )
    built: Objective = load(kind.build)(spec, inputs)
    return built


@functools.cache
def tiny_encoder(kind: str, device: torch.device = CPU) -> TextEncoder:
    """A random encoder of one of the architectures in `tiny_models`."""
    from tests.support import tiny_models

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="tiny") as folder:
        return TextEncoder(tiny_models.make(Path(folder), kind), device)


@functools.cache
def tiny_clip(device: torch.device = CPU) -> ClipEncoder:
    """A random CLIP."""
    from tests.support import tiny_models

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="tiny") as folder:
        return ClipEncoder(tiny_models.make_clip(Path(folder)), device)


def image_task() -> TaskData:
    """Two classes of 24 different images, told apart by their colour."""
    from PIL import Image

    from tests.support.tiny_models import WORDS

    rows = []
    for number in range(48):
        file = io.BytesIO()
        Image.new("RGB", (16, 16), (5 * number, 200 * (number % 2), 90)).save(file, "PNG")
        rows.append(Row.of(EncodedImage.of(file.getvalue(), f"image {number}"), number % 2))
    train, selection, test = tuple(rows[:24]), tuple(rows[24:36]), tuple(rows[36:])
    return TaskData("tiny", " ".join(WORDS), ("sun", "rain"), train, selection, test)


def tiny_task() -> TaskData:
    """Two classes told apart by a word, in 96 different texts."""
    from tests.support.tiny_models import TEXTS

    rows = tuple(Row(text, int("good" in text or "bad" in text)) for text in TEXTS)
    return TaskData(
        "tiny", "what it is about", ("other", "worth"), rows[::2], rows[1::4], rows[3::4]
    )


def tiny(kind: str = "bert", device: torch.device = CPU, **fields: object) -> Objective:
    """`prompt_tuning` on a random encoder."""
    return prompt_tuning_on(tiny_task(), tiny_encoder(kind, device), **({"n_tokens": 3} | fields))


def prompt_tuning_on(task: TaskData, under: TextEncoder, **fields: object) -> Objective:
    """`prompt_tuning` with an encoder."""
    return built_on(under, PromptTuning(**fields), task)  # type: ignore[arg-type]


def choice_task() -> TaskData:
    """Three choices each, of different lengths; the right one has the word that the text names."""
    task = tiny_task()

    def row(at: int, text: str) -> Row:
        choices = [f"a film {text[: 3 * place]}" for place in range(3)]
        choices[at % 3] = f"a good {text[:at]}"
        return Row(text, at % 3, "\n".join(choices))

    parts = [tuple(row(i, r.text) for i, r in enumerate(task.rows(split))) for split in Split]
    return TaskData("choices", "which is good", ("first", "second", "third"), *parts)  # type: ignore[arg-type]


def multiple_choice_on(task: TaskData, device: torch.device = CPU) -> Objective:
    """`multiple_choice` on a random encoder."""
    return built_on(tiny_encoder("bert", device), MultipleChoice(n_tokens=3), task)


@functools.cache
def tiny_causal(kind: str = "llama", device: torch.device = CPU) -> CausalModel:
    """A random causal language model of one of the architectures in `tiny_models`."""
    from tests.support import tiny_models

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="causal") as folder:
        return CausalModel(tiny_models.make_causal(Path(folder), kind), device)


ONE_TOKEN = ("bad", "good")
"""Labels of one token each."""
NESTED = ("good", "good film", "good movie score", "awful")
"""Labels of one to three tokens; the first begins two others, and so all end with a line break."""

ADAPTERS: dict[str, Any] = {
    "prefix_tuning": PrefixTuning(n_tokens=3),
    "xgblora": Xgblora(boosters=3, booster_steps=2, layers=1),
    "lora": Lora(rank=2),
    "lora_mean": Lora(rank=3, target_modules=("key", "intermediate.dense"), readout=Readout.MEAN),
}
"""Specs of the objectives of this name, which tune adapters."""

ON_TINY_ENCODER: dict[str, Any] = {
    "label_prompt_tiny": LabelPrompt(n_tokens=4),
    "label_prompt_per_class": LabelPrompt(per_class=True, n_tokens=3),
    **ADAPTERS,
}
"""Specs of the objectives of this name, for an encoder with random weights."""

ADAPTED_CAUSAL: dict[str, Any] = {
    "prefix_tuning_causal": PrefixTuning(n_tokens=3, model="tiny"),
    "lora_causal": Lora(rank=2, model="tiny", calibration=Calibration.CONTENT_FREE),
    "xgblora_causal": Xgblora(
        boosters=3, booster_steps=2, layers=1, model="tiny", calibration=Calibration.NONE
    ),
}
"""Specs of the objectives of this name, which adapt a language model with random weights."""

CAUSAL: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "causal_prompt": (ONE_TOKEN, {}),
    "causal_prompt_labels": (NESTED, {"calibration": Calibration.NONE}),
    "causal_prompt_before": (
        ONE_TOKEN,
        {
            "position": PromptPosition.BEFORE_TEXT,
            "calibration": Calibration.BATCH,
        },
    ),
    "causal_prompt_shown": (
        ONE_TOKEN,
        {"demonstrations": 1, "calibration": Calibration.CONTENT_FREE},
    ),
}
"""Labels and fields of objectives of this name."""


def causal_task(labels: tuple[str, ...] = ONE_TOKEN) -> TaskData:
    """Classes of equal size in the texts of `tiny_task`, which differ in length."""
    from tests.support.tiny_models import TEXTS

    rows = tuple(
        Row(" ".join([text] * (1 + index % 3)), index // 4 % len(labels))
        for index, text in enumerate(TEXTS)
    )
    return TaskData("tiny", "what it is about", labels, rows[::2], rows[1::4], rows[3::4])


def causal(
    kind: str = "llama",
    device: torch.device = CPU,
    labels: tuple[str, ...] = ONE_TOKEN,
    **fields: Any,
) -> Objective:
    """`causal_prompt` on a random language model."""
    return causal_on(causal_task(labels), tiny_causal(kind, device), **fields)


def causal_on(
    task: TaskData,
    under: CausalModel,
    state_bytes: int = DEFAULT_STATE_BYTES,
    **fields: object,
) -> Objective:
    """`causal_prompt` with a language model."""
    spec = CausalPrompt(**({"n_tokens": 3} | fields))  # type: ignore[arg-type]
    return built_on(under, spec, task, state_bytes=state_bytes)


def hints_at(built: Objective, point: Tensor, rows: Tensor, count: int) -> tuple[Any, ...]:
    """The gradient hints at a point."""
    _, (gradient,) = built.problem.gradients(point[None], rows)
    return built.language.hints(point, gradient, count)


def oracle(
    built: Objective,
    rows: Tensor,
    passes: int = FORWARD_BACKWARD,
    by: specs.Criterion = specs.Criterion.LOSS,
) -> BatchOracle:
    """An oracle over some train rows."""
    return BatchOracle(built.problem, rows, torch.Generator, passes, by=by)


class GivenGradient:
    """An oracle with one answer, whatever the point."""

    unit = 1.0

    def __init__(self, gradient: Tensor, loss: float = 0.0) -> None:
        self._answer = torch.tensor(loss), gradient

    def gradient(self, point: Tensor) -> tuple[Tensor, Tensor]:
        return self._answer

    def losses(self, points: Tensor) -> Tensor:
        raise AssertionError("a first-order optimizer asks for gradients alone")

    def values(self, points: Tensor) -> tuple[Tensor, Tensor]:
        raise AssertionError("a first-order optimizer asks for gradients alone")

    def derivative(self, point: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
        raise AssertionError("a first-order optimizer asks for gradients alone")

    def generator(self) -> torch.Generator:
        raise AssertionError("a first-order optimizer draws no random numbers")


def tune(built: Objective, optimizer: specs.Optimizer, steps: int, seed: int) -> list[Tensor]:
    """Plain tuning: the parameters before the first step and after each."""
    generator = torch.Generator().manual_seed(seed)
    parameters = built.language.initial(generator)
    stepper, train = build_optimizer(optimizer), built.problem.size(Split.TRAIN)
    trajectory = [parameters.clone()]
    for _ in range(steps):
        rows = torch.randint(train, (optimizer.batch_size,), generator=generator)
        rate = optimizer.learning_rate * built.problem.unit
        stepper.step(parameters, oracle(built, rows), rate)
        trajectory.append(parameters.clone())
    return trajectory
