"""Prompts and adapters that start from another run of the store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from mentorgrad.domain.event import Created
from mentorgrad.domain.objective import CausalPrompt, Lora, PromptTuning, ServedPrompt
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import InvalidInput, NotFound, Unavailable
from run_store.temporary_store import TemporaryRunStore
from tests.support.adapters import generator, somewhere
from tests.support.numerics import (
    CAUSAL,
    built_on,
    causal_task,
    objective,
    tiny_causal,
    tiny_encoder,
    tiny_task,
)
from trainer_service.control_plane.validation import validate_objective
from trainer_service.objectives.served_prompt import start_text
from trainer_service.objectives.start_files import (
    COPIED,
    CopiedRun,
    StartFiles,
    StartSources,
    files_of_run,
)
from trainer_service.objectives.torch_free import MODEL_FILE
from trainer_service.tasks.wordings import wordings


@pytest.fixture(scope="module")
def store() -> Iterator[TemporaryRunStore]:
    with closing(TemporaryRunStore()) as opened:
        yield opened


def left(store: TemporaryRunStore, files: dict[str, bytes]) -> str:
    """A run that has left files."""
    run_id = store.create(Created(RunSpec()))[0].run_id
    lease = store.claim(run_id, "test", timedelta(seconds=30))
    for name, content in files.items():
        store.put_blob(run_id, lease.attempt, name, content)
    return run_id


@pytest.fixture(scope="module")
def runs(store: TemporaryRunStore) -> dict[str, tuple[str, torch.Tensor]]:
    """Id and result by objective."""
    made = {}
    for name in ("prompt_tuning", "lora", "causal_prompt"):
        built = objective(name)
        point = somewhere(built)
        made[name] = left(store, built.export(point)), point
    return made


def started(store: TemporaryRunStore, spec: Any) -> torch.Tensor:
    causal = isinstance(spec, CausalPrompt)
    built = built_on(
        tiny_causal() if causal else tiny_encoder("bert"),
        spec,
        causal_task() if causal else tiny_task(),
        open_run=partial(files_of_run, store),
    )
    return built.language.initial(generator(7))


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("prompt_tuning", PromptTuning(n_tokens=3)),
        (next(iter(CAUSAL)), CausalPrompt(n_tokens=3)),
        ("lora", Lora(rank=2)),
    ],
)
def test_the_result_of_another_run_is_a_start(
    store: TemporaryRunStore, runs: dict[str, tuple[str, torch.Tensor]], name: str, spec: Any
) -> None:
    run_id, point = runs[name]
    field = "initial" if name == "lora" else "initial_text"
    found = started(store, replace(spec, **{field: f"run:{run_id}"}))
    if name == "prompt_tuning":  # the rest of the last row is never read
        found[-1, 2:] = point[-1, 2:]
    torch.testing.assert_close(found, point)


def test_words_of_another_run_are_a_start_of_a_served_prompt(
    store: TemporaryRunStore, runs: dict[str, tuple[str, torch.Tensor]], tmp_path: Path
) -> None:
    sources = StartSources([tmp_path], partial(files_of_run, store))
    for name in ("causal_prompt", "lora"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.json").write_bytes(
            store.read_artifact(runs[name][0], "model.json")
        )
    words = store.read_artifact(runs["causal_prompt"][0], "prompt.txt").decode()
    for lead in ("run:", f"peft:{tmp_path}/"):
        of_run = {name: name if "peft" in lead else runs[name][0] for name in runs}
        spec = ServedPrompt(initial_text=lead + of_run["causal_prompt"], max_characters=4000)
        assert start_text(spec, None, sources, "p") == words.removesuffix("\n")
        spec = ServedPrompt(initial_text=lead + of_run["lora"])
        with pytest.raises(InvalidInput, match="is no result of a run of served_prompt or causal_"):
            start_text(spec, None, sources, "p")


def test_the_task_is_a_start_of_a_served_prompt() -> None:
    task, sources = tiny_task(), StartSources()
    for text, expected in (
        ("labels", "other worth"),
        ("description", wordings(task.description, task.labels)[0]),
        ("what labels are", "what labels are"),
    ):
        spec = ServedPrompt(initial_text=text)
        assert start_text(spec, task, sources, "p") == expected
    with pytest.raises(InvalidInput) as caught:
        start_text(ServedPrompt(initial_text="labels", max_characters=10), task, sources, "p")
    (violation,) = caught.value.violations
    assert violation.description == (
        "the label words have 11 characters; at most 10 (max_characters) are allowed"
    )


def refused(store: TemporaryRunStore, spec: Any) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        validate_objective(RunSpec(spec), open_run=partial(files_of_run, store))
    (violation,) = caught.value.violations
    assert violation.field.endswith((".initial", ".initial_text"))
    return caught.value


def test_runs_that_are_no_start_are_refused_when_a_run_is_created(
    store: TemporaryRunStore, runs: dict[str, tuple[str, torch.Tensor]]
) -> None:
    assert refused(store, PromptTuning(initial_text="run:none")).reason == "RUN_NOT_FOUND"
    queued = store.create(Created(RunSpec()))[0].run_id
    early = refused(store, Lora(initial=f"run:{queued}"))
    assert early.reason == "NO_RESULT"
    assert "it is queued" in str(early)
    other = refused(store, Lora(initial=f"run:{runs['prompt_tuning'][0]}"))
    assert "type PROMPT_TUNING; needed: LORA" in str(other)
    longer = PromptTuning(n_tokens=2, initial_text=f"run:{runs['prompt_tuning'][0]}")
    assert refused(store, longer).reason == "PROMPT_TOO_LONG"
    higher = Lora(rank=1, initial=f"run:{runs['lora'][0]}")
    assert refused(store, higher).reason == "RANK_TOO_HIGH"
    other = refused(store, Lora(initial=f"run:{runs['causal_prompt'][0]}"))
    assert other.reason == "MODEL_CHANGED"


def test_a_store_that_is_away_is_no_wrong_input() -> None:
    def away(run_id: str) -> StartFiles:
        raise Unavailable("as told", reason="STORE_AWAY")

    with pytest.raises(Unavailable):
        validate_objective(RunSpec(Lora(initial="run:any")), open_run=away)


def test_what_was_taken_is_read_again_once_it_is_copied(
    store: TemporaryRunStore, runs: dict[str, tuple[str, torch.Tensor]]
) -> None:
    source, _ = runs["lora"]
    run_id = left(store, {})
    spec = Lora(initial=f"run:{source}")
    first = CopiedRun(store, run_id)
    first.fetch(spec)
    opened = first.open(source)
    for name in ("adapter_config.json", "adapter_model.safetensors", MODEL_FILE):
        opened.read(name)
    taken = first.taken()
    assert list(taken)[-1] == f"{COPIED}{MODEL_FILE}"
    assert len(taken) == 3, "what was not read is not kept"
    for name, content in taken.items():
        store.put_blob(run_id, 1, name, content)
    digests = {item.name: item.sha256 for item in store.artifacts(source)}
    assert {item.name.removeprefix(COPIED): item.sha256 for item in store.artifacts(run_id)} == {
        name.removeprefix(COPIED): digests[name.removeprefix(COPIED)] for name in taken
    }

    again = CopiedRun(store, run_id)
    again.fetch(Lora(initial="run:deleted-since"))
    assert again.open(source).read(MODEL_FILE) == taken[f"{COPIED}{MODEL_FILE}"]
    assert again.taken() == {}
    with pytest.raises(NotFound):
        CopiedRun(store, left(store, {})).fetch(Lora(initial="run:deleted-since"))
