"""Label scores of the real small model in llama.cpp, against plain evaluations of whole inputs."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from mentorgrad.domain.objective import DEFAULT_LANGUAGE_MODEL, Calibration, ServedPrompt
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import MentorChoice, RunSpec, Stages
from mentorgrad.errors import InvalidInput
from mentorgrad.model_refs import resolve
from run_store.temporary_store import TemporaryRunStore
from tests.contract.test_resume import StopsAt, create, go
from tests.support.effective_log import effective
from tests.support.served_prompts import SPEC, write_rows
from trainer_service import tensorfile
from trainer_service.job import WorkerJob
from trainer_service.objectives.served_prompt import llama_scorer
from trainer_service.objectives.served_prompt.llama_scorer import LlamaScorer
from trainer_service.objectives.torch_free import ARTIFACT
from trainer_service.run_composition import run_parts

LABELS = ("good", "good enough", "bad")  # one begins another: all end with a newline
HEADS = [f"Review: {text}\n" for text in ("It works.", "It broke at once, twice.")]
TAILS = [f"{prompt}\nAnswer:" for prompt in ("Is it good?", "What does the customer think of it?")]


def scorer_of(labels: tuple[str, ...], heads: Sequence[str] = HEADS) -> LlamaScorer:
    return LlamaScorer(
        resolve(DEFAULT_LANGUAGE_MODEL),
        labels,
        "\nAnswer:",
        heads=heads,
        characters=100,
        threads=1,
        on_gpu=False,
        abort=lambda: None,
    )


@pytest.fixture(scope="module")
def scorer() -> Iterator[LlamaScorer]:
    made = scorer_of(LABELS)
    yield made
    made.close()


def plain(scorer: LlamaScorer, text: str, label: str) -> float:
    """The log-probability of a label's tokens, token by token in one sequence."""
    runtime = scorer._runtime
    runtime.clear()
    before = runtime.tokenize(text, plain=True)
    whole = runtime.tokenize(f"{text} {label}\n", plain=True)
    found: list[float] = []
    for position, (token, following) in enumerate(itertools.pairwise(whole)):
        logits = runtime.read([token], position, 0).astype(np.float64)
        found.append(float(logits[following] - np.logaddexp.reduce(logits)))
    return sum(found[len(before) - 1 :])


@pytest.mark.campaign
def test_scores_are_those_of_plain_evaluations(scorer: LlamaScorer) -> None:
    found = scorer.scores(HEADS, TAILS)
    assert found.shape == (2, 2, 3)
    for i, j in ((0, 1), (1, 0)):
        expected = [plain(scorer, HEADS[j] + TAILS[i], label) for label in LABELS]
        assert found[i, j].tolist() == pytest.approx(expected, abs=1e-3)


def test_a_row_s_scores_do_not_depend_on_what_else_is_scored(
    scorer: LlamaScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = scorer.scores(HEADS, TAILS)
    scorer.take_tokens()
    for i, tail in enumerate(TAILS):
        assert scorer.scores(HEADS, [tail])[0] == pytest.approx(together[i], abs=1e-5)
    apart = scorer.take_tokens()
    alone = np.stack([scorer.scores([head], TAILS)[:, 0] for head in HEADS], axis=1)
    assert alone == pytest.approx(together, abs=1e-5)
    monkeypatch.setattr(llama_scorer, "ROWS", 1)
    scorer.take_tokens()
    assert scorer.scores(HEADS, TAILS) == pytest.approx(together, abs=1e-5)
    assert scorer.take_tokens() < apart, "rows are evaluated once for all prompts"


def test_the_model_is_named_with_its_digest(scorer: LlamaScorer) -> None:
    name, _, digest = scorer.model.partition(" sha256:")
    assert name == "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert len(digest) == 64


def test_an_input_that_is_too_long_is_refused(scorer: LlamaScorer) -> None:
    with pytest.raises(InvalidInput, match="room for 1024") as caught:
        scorer.scores(["word " * 1030], TAILS)
    assert caught.value.reason == "PROMPT_TOO_LONG"
    scorer.scores(HEADS[:1], TAILS[:1])  # it goes on


def test_a_prompt_with_too_many_tokens_has_no_room() -> None:
    """Such a proposal must not fail the run. The text, of one token per character, fits."""
    made = scorer_of(LABELS, ["1 " * 600])
    assert made.has_room("is it good? " * 8 + "\nAnswer:")
    assert not made.has_room("🦉" * 100 + "\nAnswer:")
    made.close()


def test_a_text_that_leaves_no_room_is_refused_before_the_run() -> None:
    with pytest.raises(InvalidInput, match="room for 8192") as caught:
        scorer_of(LABELS, ["word " * 10_000])
    assert caught.value.reason == "PROMPT_TOO_LONG"


def test_labels_with_the_same_tokens_are_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        scorer_of(("same", "same"))
    assert caught.value.reason == "BAD_LABELS"


@pytest.mark.usefixtures("scorer")  # who loads a file first asks more often whether to go on
def test_a_run_goes_on_exactly_with_a_local_model(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    spec = RunSpec(
        objective=ServedPrompt(max_characters=40, calibration=Calibration.CONTENT_FREE),
        task=dataclasses.replace(SPEC.task, shots=1, selection_rows=1, test_rows=2),
        stages=Stages(count=2, steps=0),
        mentor=MentorChoice("random_tokens", proposals=1),
    )
    root = str(write_rows(tmp_path))
    how = run_parts(WorkerJob(run_id="-", store="-", data_roots=(root,)))
    store, control = TemporaryRunStore(), StopsAt()
    whole, broken = create(store, spec), create(store, spec)
    assert go(store, whole, control, how) is RunState.SUCCEEDED
    assert go(store, broken, StopsAt(control.asked // 2), how) is RunState.PAUSED
    assert go(store, broken, StopsAt(), how) is RunState.SUCCEEDED
    assert effective(store, broken) == effective(store, whole)
    files = [store.read_artifact(run_id, ARTIFACT) for run_id in (broken, whole)]
    assert files[0] == files[1]
    _, metadata = tensorfile.load(files[0])
    assert "sha256:" in metadata["tuned_model"]
    run = store.get_run(whole)
    assert run.usage.tuned_model_tokens > run.usage.forward_rows > 0
    store.close()
