"""Models that a trainer's worker tunes. What only it finds of a `causal_prompt`: the run ends with
a line that names the field. Data that are uploaded, which it reads from the store. And a served
model, by its name.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from structlog.testing import capture_logs

from mentorgrad import AsyncClient
from mentorgrad.domain.event import Created, Finished
from mentorgrad.domain.objective import CausalPrompt, ModelDtype
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import (
    Budget,
    DataFiles,
    LongTexts,
    MentorChoice,
    Optimizer,
    RunSpec,
    Stages,
    Task,
)
from mentorgrad.errors import InvalidInput
from tests.support import served_prompts
from tests.support.label_server import LabelServer
from tests.support.served_prompts import write_rows
from tests.support.thread_trainer import ThreadTrainer
from tests.support.tiny_models import make_causal

PATH = "spec.objective.causal_prompt"
KEY = "key-of-the-served-model"
TASK = Task("own", DataFiles("rows.jsonl"), "what it is about", ("good", "bad"), shots=2)
LONG = dataclasses.replace(TASK, data=DataFiles("long.jsonl"), long_texts=LongTexts.ERROR)
SPEC = RunSpec(
    objective=CausalPrompt("llama", n_tokens=3),
    task=dataclasses.replace(TASK, selection_rows=2),
    optimizer=Optimizer(batch_size=2),
    stages=Stages(count=2, steps=2),
    mentor=MentorChoice("random_tokens", proposals=2),
    budget=Budget(gradient_steps=12),
)


@pytest.fixture(scope="module")
def server() -> Iterator[LabelServer]:
    """Serves the model ``own``."""
    with LabelServer() as opened:
        yield opened


@pytest.fixture(scope="module")
def trainer(
    tmp_path_factory: pytest.TempPathFactory, server: LabelServer
) -> Iterator[ThreadTrainer]:
    """A service with models that look suitable; its runs are executed in this process."""
    folder = tmp_path_factory.mktemp("trainer")
    llama = make_causal(folder / "models" / "llama")
    _changed(llama, "composing", "tokenizer.json", normalizer={"type": "NFC"})
    _changed(llama, "deep", "config.json", num_hidden_layers=3)
    large = _changed(llama, "large", "config.json")
    weights = load_file(large / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"] *= 1e6
    save_file(weights, large / "model.safetensors", {"format": "pt"})
    (folder / "data").mkdir()
    for name, length in (("rows", 1), ("long", 60)):
        rows = [{"text": f"movie {n} " + "good " * length, "label": n % 2} for n in range(12)]
        text = "\n".join(map(json.dumps, rows))
        (folder / "data" / f"{name}.jsonl").write_text(text + "\n")
    (folder / "data" / "served").mkdir()
    write_rows(folder / "data" / "served")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MENTORGRAD_TRAINER_OPENAI_API_KEY", KEY)
        started = ThreadTrainer(
            folder,
            model_root=(folder / "models",),
            data_root=(folder / "data",),
            tuned_model={"own": server.url},
            state_cache_mib=0,
        )
        yield started
        started.stop()


def _changed(source: Path, name: str, file: str, **fields: Any) -> Path:
    folder = source.parent / name
    shutil.copytree(source, folder)
    content = json.loads((folder / file).read_text()) | fields
    (folder / file).write_text(json.dumps(content))
    return folder


@pytest.fixture
async def client(trainer: ThreadTrainer) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(trainer.address) as opened:
        yield opened


def with_labels(*labels: str) -> Task:
    return dataclasses.replace(TASK, labels=labels)


# id, fields of the objective, task, the line
FOUND_LATE: list[tuple[str, dict[str, Any], Task, str]] = [
    (
        "text",
        {"n_tokens": 63},
        LONG,
        "spec.task: row 1 of train takes 66 tokens, which leaves no room for prompt and answer: at "
        "most 65 fit; set spec.task.long_texts to cut texts",
    ),
    (
        "chat",
        {"chat_template": True},
        TASK,
        f"{PATH}.chat_template: the model's tokenizer has none",
    ),
    (
        "labels",
        {"model": "composing"},
        with_labels("café", "cafe\u0301"),
        "spec.task.labels: 'café' and 'cafe\u0301' have the same tokens in this model's vocabulary",
    ),
    (
        "room",
        {"n_tokens": 12, "max_length": 20},
        with_labels("good", "zyxwvutsrqponm"),
        f"{PATH}.n_tokens: prompt, template and label leave ",
    ),
    ("weights", {"model": "deep"}, TASK, f"{PATH}.model: deep has no weights for model.layers.2"),
    (
        "overflow",
        {"model": "large", "dtype": ModelDtype.FLOAT16},
        TASK,
        f"{PATH}.model: the logits of large are not finite in float16; set dtype to bfloat16 or "
        "float32",
    ),
]


@pytest.mark.parametrize(
    ("fields", "task", "line"), [row[1:] for row in FOUND_LATE], ids=[r[0] for r in FOUND_LATE]
)
async def test_a_run_that_cannot_start_ends_with_a_line_that_names_the_field(
    client: AsyncClient, fields: dict[str, Any], task: Task, line: str
) -> None:
    objective = CausalPrompt(**({"model": "llama", "n_tokens": 3} | fields))
    spec = dataclasses.replace(SPEC, objective=objective, task=task)
    run_id = (await client.create_run(spec)).run.run_id
    events = [event async for event in client.watch(run_id)]
    run = await client.get_run(run_id)
    assert run.state is RunState.FAILED
    assert run.reason.startswith(line)
    assert len(run.reason.splitlines()) == 1
    assert isinstance(events[0].payload, Created)
    assert isinstance(events[-1].payload, Finished)
    assert run.usage.gradient_steps == run.usage.evaluations == 0


async def test_the_same_worker_executes_the_next_run_with_the_cache_that_was_set(
    client: AsyncClient,
) -> None:
    with capture_logs() as logged:
        run_id = (await client.create_run(SPEC)).run.run_id
        async for _ in client.watch(run_id):
            pass
    assert (await client.get_run(run_id)).state is RunState.SUCCEEDED
    written = json.loads(await client.read_artifact(run_id, "model.json"))
    assert set(written["kept_rows"].values()) == {0}
    (said,) = [entry for entry in logged if entry["event"] == "text_states_kept"]
    names = ("train_rows", "selection_rows", "all_rows", "bytes", "limit")
    assert [said[name] for name in names] == [0, 0, 8, 0, 0]


async def test_a_run_starts_from_another_one_and_keeps_what_it_took(client: AsyncClient) -> None:
    async def finished(spec: RunSpec) -> str:
        run_id = (await client.create_run(spec)).run.run_id
        assert [event async for event in client.watch(run_id)]
        run = await client.get_run(run_id)
        assert run.state is RunState.SUCCEEDED, run.reason
        return run_id

    def started(reference: str) -> RunSpec:
        prompt = CausalPrompt("llama", n_tokens=4, initial_text=reference)
        return dataclasses.replace(SPEC, objective=prompt, stages=Stages(count=1, steps=1))

    first = await finished(dataclasses.replace(SPEC, stages=Stages(count=1, steps=1)))
    second = await finished(started(f"run:{first}"))
    taken = {item.name: item.sha256 for item in await client.artifacts(second)}
    given = {item.name: item.sha256 for item in await client.artifacts(first)}
    for name in ("model.json", "prompt.safetensors"):
        assert taken[f"start.{name}"] == given[name]
    assert json.loads(await client.read_artifact(second, "start.model.json"))["run_id"] == first
    with pytest.raises(InvalidInput) as caught:
        await client.create_run(started("run:unknown"))
    assert caught.value.reason == "RUN_NOT_FOUND"
    assert caught.value.violations[0].field == f"{PATH}.initial_text"


async def test_an_uploaded_file_is_tuned_on_and_goes_with_its_run(
    client: AsyncClient, tmp_path: Path
) -> None:
    path = tmp_path / "own.CSV"
    rows = [f"movie {n},{('10', '3.0')[n % 2]}" for n in range(12)]
    path.write_text("\n".join(["text,label", *rows]))
    name = await client.upload_data(path)
    assert name == "upload:" + hashlib.sha256(path.read_bytes()).hexdigest()
    task = dataclasses.replace(SPEC.task, data=DataFiles(name), label_values=("3", "10"))
    spec = dataclasses.replace(SPEC, task=task)
    made = await client.create_run(spec)
    assert made.warnings == (
        "4 of 12 labelled rows are not used: spec.task.shots = 2 limits the train rows per class "
        "(0: all)",
    )
    run_id = made.run.run_id
    assert [event async for event in client.watch(run_id)]
    run = await client.get_run(run_id)
    assert run.state is RunState.SUCCEEDED, run.reason
    model = json.loads(await client.read_artifact(run_id, "model.json"))
    assert (model["labels"], model["label_values"]) == (["good", "bad"], ["3", "10"])
    await client.delete_run(run_id)
    with pytest.raises(InvalidInput) as caught:
        await client.create_run(spec)
    assert caught.value.reason == "UPLOAD_NOT_FOUND"
    assert caught.value.violations[0].field == "spec.task.data.train"


async def test_an_upload_that_is_too_large_or_no_table_is_refused(
    client: AsyncClient, tmp_path: Path
) -> None:
    large = tmp_path / "large.csv"
    with large.open("wb") as file:
        file.truncate((64 << 20) + 1)
    with pytest.raises(InvalidInput) as caught:
        await client.upload_data(large)
    assert caught.value.reason == "UPLOAD_TOO_LARGE"
    with pytest.raises(InvalidInput, match=r"upload\.suffix: must be one of"):
        await client.upload_data(Path(__file__))


async def test_a_served_model_is_tuned_by_its_name(
    client: AsyncClient, server: LabelServer
) -> None:
    task = dataclasses.replace(served_prompts.SPEC.task, data=DataFiles("served/rows.jsonl"))
    spec = dataclasses.replace(served_prompts.SPEC, task=task)
    info = await client.trainer_info()
    assert info.tuned_models == ("own",)
    assert "served_prompt" in info.objectives
    objective = dataclasses.replace(served_prompts.OBJECTIVE, model="theirs")
    with pytest.raises(InvalidInput) as caught:
        await client.create_run(dataclasses.replace(spec, objective=objective))
    (violation,) = caught.value.violations
    assert violation.field == "spec.objective.served_prompt.model"
    assert "served models: own" in violation.description
    with capture_logs() as logged:
        run_id = (await client.create_run(spec)).run.run_id
        async for _ in client.watch(run_id):
            pass
    run = await client.get_run(run_id)
    assert run.state is RunState.SUCCEEDED, run.reason
    assert run.usage.tuned_model_tokens == server.tokens > 0
    assert server.keys == {f"Bearer {KEY}"}
    assert logged
    assert KEY not in str(logged)
