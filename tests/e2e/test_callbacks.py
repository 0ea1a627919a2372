"""The callbacks inside the real training loops that they are made for: a proposal that must win
restarts the very parameter that the loop trains."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler
from transformers import AutoTokenizer

from mentorgrad.domain.advice import ProposalStatus
from mentorgrad.domain.run import Score
from mentorgrad.errors import InvalidInput
from mentorgrad.integrations.torch import Rules, Words
from tests.support import tiny_models
from tests.support.told_session import Session

WIDTH = 16
RULES = Rules(stage_steps=4, finalists=1, probe_steps=2)
GOAL = "warm bread"
# Lightning asks torch for names that it deprecates, and for more workers than two rows need.
LIGHTNING = pytest.mark.filterwarnings(
    "ignore:.*LeafSpec:FutureWarning", "ignore:.*does not have many workers"
)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return AutoTokenizer.from_pretrained(tiny_models.make(tmp_path_factory.mktemp("model")))


class Watched(Session):
    """Proposes the goal; keeps the prompt and the age of its moments as each restart left them."""

    def __init__(self) -> None:
        super().__init__(GOAL)
        self.prompt = torch.empty(0)
        self.optimizer: torch.optim.Optimizer | None = None
        self.left: list[tuple[Tensor, float]] = []

    def watch(self, prompt: Tensor, optimizer: torch.optim.Optimizer) -> None:
        self.prompt, self.optimizer = prompt, optimizer

    def age(self) -> float:
        assert self.optimizer is not None
        return float(self.optimizer.state[self.prompt]["step"])

    def report(self, outcomes: Any, **facts: Any) -> None:
        super().report(outcomes, **facts)
        self.left.append((self.prompt.detach().clone(), self.age()))


def assert_restarted(session: Watched, advised: Any, goal: Tensor) -> None:
    """After 5 steps with a question before the last one."""
    assert advised.restarts == 1
    assert session.statuses == {"p0": ProposalStatus.APPLIED}
    ((left, age),) = session.left
    assert age == 2.0  # of the race alone, not the four steps before it
    torch.testing.assert_close(left, goal, atol=0.01, rtol=0.0)
    assert session.age() == 3.0  # the loop went on with these moments
    torch.testing.assert_close(session.prompt.detach(), goal, atol=0.015, rtol=0.0)
    assert not torch.equal(session.prompt, left)  # and moved what was written
    assert [step for step, _ in session.pushed] == [1, 2, 3, 4, 5]
    assert session.pushed[3][1] != session.pushed[4][1] == GOAL


# peft asks transformers for a name that it deprecates.
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
def test_the_prompt_of_a_hugging_face_trainer_is_restarted(tokenizer: Any, tmp_path: Path) -> None:
    from peft import PromptTuningConfig, get_peft_model
    from transformers import (
        BertConfig,
        BertForSequenceClassification,
        DataCollatorWithPadding,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    from mentorgrad.integrations.huggingface import MentorCallback, soft_prompt

    torch.manual_seed(0)
    sizes = {"hidden_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(vocab_size=len(tokenizer), intermediate_size=16, **sizes)
    base = BertForSequenceClassification(config)
    base.get_input_embeddings().weight.data.normal_()  # words far from each other
    model = get_peft_model(base, PromptTuningConfig("SEQ_CLS", num_virtual_tokens=2))
    prompt, storage = soft_prompt(model), soft_prompt(model).data_ptr()
    table = base.get_input_embeddings().weight
    goal = Words(table, tokenizer).embed(GOAL, torch.zeros(2, WIDTH))
    session = Watched()

    class Watch(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
            session.watch(soft_prompt(parts["model"]), parts["optimizer"].optimizer)

    def score() -> Score:
        return Score((soft_prompt(model) - goal).square().mean().item(), None, 1)

    advice = MentorCallback(session, score=score, rules=RULES)  # type: ignore[arg-type]
    trainer = Trainer(
        model,
        TrainingArguments(
            str(tmp_path),
            max_steps=5,
            learning_rate=0.001,
            per_device_train_batch_size=2,
            logging_steps=1,
            report_to=[],
            save_strategy="no",
            use_cpu=True,
            disable_tqdm=True,
        ),
        DataCollatorWithPadding(tokenizer),
        [{**tokenizer(text), "labels": n % 2} for n, text in enumerate(tiny_models.TEXTS[:6])],
        processing_class=tokenizer,
        callbacks=[Watch(), advice],
    )
    trainer.train()
    assert_restarted(session, advice.advised, goal)
    assert session.prompt is prompt
    assert prompt.data_ptr() == storage
    assert any(parameter is prompt for parameter in trainer.model.parameters())
    held = [each for group in trainer.optimizer.param_groups for each in group["params"]]
    assert any(parameter is prompt for parameter in held)


@functools.cache
def tuned_module() -> Any:
    """A class; only who runs these tests waits for Lightning's imports."""
    from lightning.pytorch import LightningModule

    class Tuned(LightningModule):  # type: ignore[misc]
        """A prompt whose loss is its distance to a goal, in front of a head that trains with it."""

        def __init__(self, start: Tensor, goal: Tensor) -> None:
            super().__init__()
            self.prompt = torch.nn.Parameter(start)
            self.head = torch.nn.Linear(1, 1)
            self.goal = goal

        def loss(self, batch: Tensor) -> Tensor:
            return (self.prompt - self.goal).square().mean() + self.head(batch).square().mean()

        def training_step(self, batch: Tensor, _: int) -> Tensor:
            return self.loss(batch)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=0.001)

    return Tuned


@pytest.fixture
def tuned(tokenizer: Any) -> tuple[Any, Words]:
    torch.manual_seed(0)
    words = Words(torch.randn(len(tokenizer), WIDTH), tokenizer)
    start, goal = (words.embed(text, torch.zeros(2, WIDTH)) for text in ("cold cheese", GOAL))
    return tuned_module()(start, goal + 0.1), words


def fit(
    tuned: tuple[Any, Words], session: Session, loaders: Any, accumulated: int = 1
) -> tuple[Any, Any]:
    from lightning.pytorch import Trainer

    from mentorgrad.integrations.lightning import MentorCallback

    module, words = tuned
    selection: Iterable[Tensor] = [torch.zeros(3, 1)]
    advice = MentorCallback(
        session,  # type: ignore[arg-type]
        words,
        loss=type(module).loss,
        selection=selection,
        rules=RULES,
    )
    trainer = Trainer(
        max_steps=5,
        callbacks=[advice],
        barebones=True,
        accelerator="cpu",
        accumulate_grad_batches=accumulated,
    )
    trainer.fit(module, loaders)
    return advice.advised, trainer


def rows() -> Any:
    return torch.randn(20, 1)


@LIGHTNING
@pytest.mark.parametrize("accumulated", [1, 2])
def test_the_prompt_of_a_lightning_module_is_restarted(
    tuned: tuple[Any, Words], accumulated: int
) -> None:
    module, words = tuned
    prompt, storage, session = module.prompt, module.prompt.data_ptr(), Watched()
    with torch.no_grad():
        module.head.weight.zero_()
        module.head.bias.zero_()  # so the first loss is the same for every batch
    first = module.loss(torch.zeros(2, 1)).item()
    optimizer = module.configure_optimizers()
    session.watch(prompt, optimizer)
    module.configure_optimizers = lambda: optimizer  # type: ignore[method-assign]
    advised, trainer = fit(tuned, session, DataLoader(rows(), 2), accumulated)
    assert_restarted(session, advised, words.embed(GOAL, prompt))
    assert session.losses[0] == pytest.approx(first)  # the mean over the batches of the step
    assert trainer.optimizers == [optimizer]
    assert module.prompt is prompt
    assert prompt.data_ptr() == storage
    assert any(each is prompt for each in optimizer.param_groups[0]["params"])
    assert float(optimizer.state[module.head.weight]["step"]) == 5.0  # no race moved the head


@LIGHTNING
@pytest.mark.parametrize("kind", ["several", "batch_sampler", "no_batch_size", "no_loader"])
def test_a_lightning_loader_that_no_race_can_draw_from_is_refused_at_the_start(
    tuned: tuple[Any, Words], kind: str
) -> None:
    data, session = rows(), Session()
    loaders = {
        "several": [DataLoader(data, 2), DataLoader(data, 2)],
        "batch_sampler": DataLoader(
            data, batch_sampler=BatchSampler(SequentialSampler(data), 2, drop_last=False)
        ),
        "no_batch_size": DataLoader(data, batch_size=None),
        "no_loader": [torch.zeros(2, 1)],
    }
    with pytest.raises(InvalidInput, match="must be one DataLoader with a batch_size"):
        fit(tuned, session, loaders[kind])
    assert not session.pushed  # no step was taken
