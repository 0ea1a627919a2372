"""What predicting with a run's files promises, over all objectives."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mentorgrad import AsyncPredictClient
from mentorgrad.domain.objective import (
    Calibration,
    CausalPrompt,
    LabelPrompt,
    PromptTuning,
    ServedPrompt,
)
from mentorgrad.domain.spec import LongTexts, RunSpec, Task
from mentorgrad.errors import DataLoss, InvalidInput, NotFound, PreconditionFailed
from mentorgrad.tune.predictions import read_predictions
from service_common import server
from tests.support.numerics import (
    ADAPTED_CAUSAL,
    CAUSAL,
    CPU,
    GivenModel,
    built_on,
    causal_task,
    encoder,
    label_server,
    objective,
    tiny_causal,
    tiny_encoder,
    tiny_task,
)
from tests.support.tiny_gguf import write_gguf
from tests.support.tiny_models import make, make_causal
from trainer_service.baselines.compute import baselines
from trainer_service.baselines.frozen_model import LABELLED
from trainer_service.costs import RowCosts
from trainer_service.encoding.causal_model import CausalModel
from trainer_service.encoding.encoders import TextEncoder
from trainer_service.objectives.build import BuildInputs
from trainer_service.objectives.calibration import calibrated
from trainer_service.objectives.classification import ClassificationProblem
from trainer_service.objectives.kept_results import KeptResults
from trainer_service.objectives.table import kind_of
from trainer_service.objectives.torch_free import ARTIFACT, MODEL_FILE, PROBE_FILE
from trainer_service.prediction import service
from trainer_service.prediction.predictor import ResultPredictor, load, reopened
from trainer_service.prediction.result_folder import read_result
from trainer_service.prediction.service import PredictServer
from trainer_service.prediction.settings import PredictorSettings
from trainer_service.protocols import Objective
from trainer_service.registry import load as load_object
from trainer_service.running.final_test import predictions
from trainer_service.tasks.data import Row, Split

NAMES = [
    pytest.param("label_prompt", marks=pytest.mark.campaign),  # the real encoder
    "label_prompt_per_class",
    *("prompt_tuning", "prompt_tuning_mean"),
    "served_prompt",
    *("prefix_tuning", "lora", "xgblora"),
    "lora_causal",
    *CAUSAL,
]
FEW = ("label_prompt_per_class", "prompt_tuning", "served_prompt", "lora", "causal_prompt")
"""One of each way to predict."""
NEAR = {"rtol": 0.0, "atol": 1e-4}


def model_of(name: str) -> TextEncoder | CausalModel | None:
    if name == "label_prompt":
        return encoder()
    if name in CAUSAL or name in ADAPTED_CAUSAL:
        return tiny_causal()
    return None if name == "served_prompt" else tiny_encoder("bert")


def drawn(made: Objective, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    start = made.language.initial(generator)
    return made.language.random_parameters(generator, start)


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def opened(folder: Path, name: str, use: str = "prompt") -> ResultPredictor:
    """The predictor of a folder, with a model that is loaded already."""
    result = read_result(folder)
    inputs = GivenModel(
        path="result",
        task=None,
        costs=RowCosts(),
        device=CPU,
        abort=lambda: None,
        model_roots=None,
        known=KeptResults(1 << 20),
        tuned_models={"own": label_server().url},
        under=model_of(name),
    )
    probe = result.probe() if use == "probe" else None
    return reopened(result, inputs, use, result.document["model"], probe)


class World:
    """An objective, a parameter of it, and the folder with its files."""

    def __init__(self, name: str, folder: Path, made: Objective | None = None) -> None:
        self.name = name
        self.objective = made or objective(name)
        self.point = drawn(self.objective)
        self.folder = write(folder, self.objective.export(self.point))
        assert isinstance(self.objective.problem, ClassificationProblem)
        self.problem = self.objective.problem
        self.rows = self.problem.task.test[:12]
        self.texts = [row.text for row in self.rows]

    def open(self, use: str = "prompt") -> ResultPredictor:
        return opened(self.folder, self.name, use)

    def tested(self, point: Tensor) -> Tensor:
        """Probabilities of the final test under a parameter, [rows, classes]."""
        results = self.problem.results(point[None], Split.TEST)
        if results.reference is not None and results.log_probs is not None:
            assert results.labels is not None
            prior = results.reference.prior(results.log_probs, results.labels)
            found = calibrated(results.log_probs, prior)[0]
        else:
            rows = torch.arange(len(self.problem.task.test))
            found = self.problem.batched_logits(point[None], Split.TEST, rows)[0].log_softmax(-1)
        return found.exp()[: len(self.rows)]


of_few = pytest.mark.parametrize(
    "world",
    [
        *FEW,
        *(
            pytest.param(name, marks=pytest.mark.campaign)
            for name in ("label_prompt", *NAMES[2:])
            if name not in FEW
        ),
    ],
    indirect=True,
)
"""Marks a test that most objectives would only repeat."""


@pytest.fixture(params=NAMES)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    return World(request.param, tmp_path / "result")


@pytest.mark.slow
@pytest.mark.parametrize("world", ["label_prompt_tiny", *NAMES], indirect=True)
def test_a_prediction_is_that_of_the_final_test(world: World) -> None:
    with world.open() as predictor:
        found = predictor.predict_proba(world.texts)
        assert predictor.labels == tuple(world.problem.task.labels)
        assert predictor.use == "prompt"
        labels = predictor.predict(world.texts)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found.sum(-1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(found, world.tested(world.point).numpy(), **NEAR)
    assert labels == [predictor.labels[row] for row in found.argmax(-1)]


@of_few
def test_a_prediction_does_not_depend_on_what_else_is_predicted(world: World) -> None:
    with world.open() as predictor:
        together = predictor.predict_proba([*world.texts, "film " * 9])
        turned = predictor.predict_proba([f" {text}\n" for text in world.texts[::-1]])
        alone = np.concatenate([predictor.predict_proba([text]) for text in world.texts[:3]])
        none = predictor.predict_proba([])
    np.testing.assert_allclose(together[:-1], turned[::-1], **NEAR)
    np.testing.assert_allclose(together[:3], alone, **NEAR)
    assert none.shape == (0, len(predictor.labels))


def test_the_words_predict_as_they_were_scored(world: World) -> None:
    with world.open("words") as predictor:
        found = torch.from_numpy(predictor.predict_proba(world.texts)).float()
    (words,) = world.objective.language.project(world.point[None])
    if world.name in CAUSAL:  # tokenised in one string with the template
        problem: Any = world.problem
        log_probs = problem.words_log_probs(words.text, Split.TEST)
        prior = problem.words_prior(words.text)
        expected = (log_probs if prior is None else calibrated(log_probs, prior)).exp()
        expected = expected[: len(world.rows)]
    else:
        point = world.objective.language.embed_ids(words.ids, world.point)
        expected = world.tested(point)
    torch.testing.assert_close(found, expected, **NEAR)


@pytest.mark.slow
@of_few
def test_the_probe_predicts_as_it_was_scored(world: World) -> None:
    files: dict[str, bytes] = {}
    made = baselines(world.problem, lambda: None, files.__setitem__)
    probe = next((item for item in made if item.name == "linear_probe"), None)
    if probe is None:
        assert world.name == "served_prompt"
        with pytest.raises(NotFound, match=PROBE_FILE):
            world.open("probe")
        return
    write(world.folder, files)
    rows = world.problem.task.test
    with world.open("probe") as predictor:
        found = predictor.predict_proba([row.text for row in rows])
    losses = -np.log(found[np.arange(len(rows)), [row.label for row in rows]])
    assert probe.test is not None
    assert losses.mean() == pytest.approx(probe.test.loss, abs=1e-4)
    assert sum(map(len, map(world.problem.task.rows, LABELLED))) == probe.labelled_rows


@pytest.mark.slow
@pytest.mark.parametrize("name", ["label_prompt_per_class", "served_prompt", "causal_prompt"])
def test_all_uses_predict_together_as_each_alone(name: str, tmp_path: Path) -> None:
    world = World(name, tmp_path / "result")
    files: dict[str, bytes] = {}
    logits: dict[str, np.ndarray] = {}
    baselines(world.problem, lambda: None, files.__setitem__, logits.__setitem__)
    write(world.folder, files)
    # A served prompt is words itself, and has no features for a probe.
    uses = ["prompt"] if name == "served_prompt" else ["prompt", "words", "probe"]
    with world.open(uses[-1]) as predictor:
        together = predictor.predict_proba_by_use(world.texts)
    assert list(together) == uses
    left, score, by_label = predictions(world.objective, world.problem, world.point, logits)
    right = sum(one.guesses[at] for at, one in enumerate(by_label))
    assert right / score.rows == pytest.approx(score.accuracy)
    defined = [one.f1 for one in by_label if one.f1 is not None]
    assert sum(defined) / len(defined) == pytest.approx(score.macro_f1)
    tested = read_predictions(left).methods
    for use in uses:
        rows = tested["linear_probe" if use == "probe" else use]
        np.testing.assert_allclose(together[use].max(-1), rows.probabilities[:12], **NEAR)
        with world.open(use) as predictor:
            np.testing.assert_allclose(together[use], predictor.predict_proba(world.texts), **NEAR)


@of_few
def test_empty_and_odd_texts_have_predictions(world: World) -> None:
    with world.open() as predictor:
        found = predictor.predict_proba(["", " \n", "{label} {text}", "фильм 映画 🎬"])
    assert np.isfinite(found).all()


@of_few
def test_what_is_no_text_is_refused(world: World) -> None:
    with world.open() as predictor:
        for texts in (["good", None], ["\ud800"], "good"):
            with pytest.raises(InvalidInput):
                predictor.predict_proba(texts)  # type: ignore[arg-type]
        with pytest.raises(InvalidInput, match="single texts"):
            predictor.predict_proba(["good"], ["film"])
        assert predictor.predict_proba(text for text in ["good"]).shape[0] == 1  # type: ignore[arg-type]


@of_few
def test_a_changed_model_is_refused_by_name(world: World) -> None:
    change(world.folder, model_sha256="0" * 64, tuned_model="another")
    with pytest.raises(PreconditionFailed) as refused:
        world.open()
    assert refused.value.reason == "MODEL_CHANGED"
    assert json.loads((world.folder / MODEL_FILE).read_text())["model"] in refused.value.message


# -- the folder -------------------------------------------------------------------------------


def change(folder: Path, **fields: Any) -> None:
    """Changes fields of both descriptions of a result."""
    from trainer_service import tensorfile
    from trainer_service.objectives.model_file import as_metadata, document_bytes

    document = json.loads((folder / MODEL_FILE).read_text()) | fields
    tensors, _ = tensorfile.load((folder / ARTIFACT).read_bytes())
    (folder / ARTIFACT).write_bytes(tensorfile.save(tensors, as_metadata(document)))
    (folder / MODEL_FILE).write_bytes(document_bytes(document))


@pytest.fixture
def tuned(tmp_path: Path) -> World:
    return World("prompt_tuning", tmp_path / "result")


def spoil(name: str, content: bytes | None) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        (folder / name).unlink() if content is None else (folder / name).write_bytes(content)

    return act


@pytest.mark.parametrize(
    ("act", "error", "words"),
    [
        (spoil(MODEL_FILE, None), NotFound, "mentorgrad runs download"),
        (spoil(ARTIFACT, None), NotFound, ARTIFACT),
        (spoil(MODEL_FILE, b"\xff\x00"), DataLoss, "JSON"),
        (spoil(MODEL_FILE, b"[]"), DataLoss, "format"),
        (spoil(ARTIFACT, b"\x80\x04."), DataLoss, ARTIFACT),
        (lambda folder: change(folder, format=99), InvalidInput, "format 99"),
        (lambda folder: change(folder, objective="function"), InvalidInput, "do not predict"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused(
    tuned: World, act: Callable[[Path], None], error: type[Exception], words: str
) -> None:
    act(tuned.folder)
    with pytest.raises(error, match=words):
        tuned.open()


def test_files_of_two_runs_are_told(tuned: World, tmp_path: Path) -> None:
    other = write(tmp_path / "other", tuned.objective.export(drawn(tuned.objective, 1)))
    (tuned.folder / ARTIFACT).write_bytes((other / ARTIFACT).read_bytes())
    with pytest.raises(DataLoss, match="different runs"):
        tuned.open()


def test_a_model_is_loaded_from_its_place_or_from_another(tuned: World, tmp_path: Path) -> None:
    """By the entry point's function, as a user does."""
    here = make(tmp_path / "encoder", "bert")
    with load(tuned.folder, model=str(here)) as predictor:
        found = predictor.predict_proba(tuned.texts)
    with load(tuned.folder, model=here.name, model_roots=[here.parent]) as predictor:
        again = predictor.predict_proba(tuned.texts)
    np.testing.assert_allclose(found, tuned.tested(tuned.point).numpy(), **NEAR)
    np.testing.assert_array_equal(found, again)
    with pytest.raises(NotFound, match=r"no model at .*/nowhere; if the run's model is elsewhere"):
        load(tuned.folder, model=str(tmp_path / "nowhere"))
    with pytest.raises(InvalidInput, match="use must be one of"):
        load(tuned.folder, "best", model=str(here))
    with pytest.raises(InvalidInput, match="closed"):
        predictor.predict_proba(["good"])


@pytest.mark.parametrize("device", ["cuda:99", "abacus"])
def test_a_device_that_is_not_there_is_named(tuned: World, device: str) -> None:
    with pytest.raises(InvalidInput, match=f"device: {device!r} cannot be used here"):
        load(tuned.folder, device=device)


async def test_a_service_predicts_the_same(tuned: World) -> None:
    predictor = tuned.open()
    expected, info = predictor.predict_proba(tuned.texts), predictor.info
    server = PredictServer(predictor, info)
    async with AsyncPredictClient(await server.start()) as client:
        together = await asyncio.gather(*(client.predict([text]) for text in tuned.texts))
        streamed = [one async for one in client.predict_stream(tuned.texts)]
        told = await client.info()
    await server.stop(0.0)
    for found in ([one for (one,) in together], streamed):
        np.testing.assert_allclose([one.probabilities for one in found], expected, **NEAR)
        assert [one.label_index for one in found] == expected.argmax(-1).tolist()
    document = json.loads((tuned.folder / MODEL_FILE).read_text())
    assert told.labels == tuple(document["labels"])
    assert (told.objective, told.use) == ("prompt_tuning", "prompt")
    lines = [
        f"{hashlib.sha256((tuned.folder / name).read_bytes()).hexdigest()}  {name}\n"
        for name in (MODEL_FILE, ARTIFACT)
    ]
    assert told.result_sha256 == hashlib.sha256("".join(lines).encode()).hexdigest()


async def test_the_command_serves_a_folder(
    tuned: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    told = asyncio.Event()

    async def wait(ready: Callable[[], None]) -> None:
        ready()
        await told.wait()

    monkeypatch.setattr(service, "announce", lambda name, where, shown: address.set_result(where))
    monkeypatch.setattr(server, "wait_for_signal", wait)
    settings = PredictorSettings(
        result=tuned.folder,
        listen="127.0.0.1:0",
        model=str(make(tmp_path / "encoder", "bert")),
        threads=torch.get_num_threads(),
    )
    serving = asyncio.create_task(service.serve(settings))
    await asyncio.wait([serving, address], return_when=asyncio.FIRST_COMPLETED)
    async with AsyncPredictClient(await address) as client:
        found = [one.probabilities for one in await client.predict(tuned.texts)]
    told.set()
    await serving
    np.testing.assert_allclose(found, tuned.tested(tuned.point).numpy(), **NEAR)


def test_pairs_are_told_apart_from_single_texts(tmp_path: Path) -> None:
    task = tiny_task()
    task = replace(
        task,
        **{
            split.value: tuple(Row(row.text, row.label, "the plot") for row in task.rows(split))
            for split in Split
        },
    )
    made = built_on(tiny_encoder("bert"), PromptTuning(n_tokens=3), task)
    folder = write(tmp_path / "result", made.export(drawn(made)))
    with opened(folder, "prompt_tuning") as predictor:
        assert predictor.is_paired
        mixed = predictor.predict_proba(["good", "bad"], ["film", ""])
        alone = predictor.predict_proba(["good"], ["film"])
        np.testing.assert_allclose(mixed[:1], alone, **NEAR)
        with pytest.raises(InvalidInput, match="pairs"):
            predictor.predict_proba(["good"])
        with pytest.raises(InvalidInput, match="2 texts and 1 pairs"):
            predictor.predict_proba(["good", "bad"], ["film"])


# -- models in GGUF files ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gguf")
    base = make_causal(folder / "base", max_position_embeddings=2048)
    return write_gguf(folder / "tiny.gguf", base)


def run_on(spec: ServedPrompt | CausalPrompt, folder: Path) -> World:
    """An objective that loads its model itself."""
    task, kind = tiny_task(), kind_of(spec)
    inputs = BuildInputs(
        kind.path, task, kind.costs(spec, task), CPU, lambda: None, None, folder / "cache"
    )
    return World(kind.name, folder / "result", load_object(kind.build)(spec, inputs))


@pytest.mark.slow
def test_a_served_prompt_predicts_with_its_file(gguf: Path, tmp_path: Path) -> None:
    spec = ServedPrompt(str(gguf), max_characters=60, calibration=Calibration.BATCH)
    world = run_on(spec, tmp_path)
    expected = world.tested(world.point).numpy()
    world.problem.close()
    long = "film " * 1200
    with load(world.folder) as predictor:
        np.testing.assert_allclose(predictor.predict_proba(world.texts), expected, **NEAR)
        found = predictor.predict_proba([long, *world.texts])  # takes a larger context
    np.testing.assert_allclose(found[1:], expected, **NEAR)
    changed = gguf.with_name("other.gguf")
    changed.write_bytes(gguf.read_bytes() + b"\0")
    with pytest.raises(PreconditionFailed, match=r"other\.gguf is not the model"):
        load(world.folder, model=str(changed))


@pytest.mark.slow
def test_a_causal_prompt_predicts_with_its_file(gguf: Path, tmp_path: Path) -> None:
    spec = CausalPrompt(str(gguf), n_tokens=3, max_length=64)
    world = run_on(spec, tmp_path)
    with load(world.folder, cache_dir=tmp_path / "cache") as predictor:
        found = predictor.predict_proba([*world.texts, "film " * 300])  # truncated, as in the run
    np.testing.assert_allclose(found[:-1], world.tested(world.point).numpy(), **NEAR)


LONG_TEXTS = {
    "label_prompt_per_class": LabelPrompt(n_tokens=3),
    "prompt_tuning": PromptTuning(n_tokens=3),
    "causal_prompt": CausalPrompt(n_tokens=3),
}
"""By the names of their models here."""


def on_long_texts(name: str, how: LongTexts, folder: Path) -> World:
    task = causal_task() if name in CAUSAL else tiny_task()
    under = model_of(name)
    assert under is not None
    run = RunSpec(task=Task(long_texts=how))
    return World(name, folder, built_on(under, LONG_TEXTS[name], task, run=run))


@pytest.mark.parametrize("name", LONG_TEXTS)
@pytest.mark.parametrize("how", [LongTexts.TRUNCATE, LongTexts.HEAD_TAIL])
def test_long_texts_are_cut_as_in_the_run(name: str, how: LongTexts, tmp_path: Path) -> None:
    begin, middle, end = ("good " * 130, "film " * 30, "bad " * 130)
    texts = [begin + middle + end, begin + "rain " * 30 + end, begin + middle + "sun " * 130]
    with on_long_texts(name, how, tmp_path / "result").open() as predictor:
        same, other_middle, other_end = predictor.predict_proba(texts)
        assert predictor.cut_texts == (0, 1, 2)
        predictor.predict_proba(["good", texts[0]])
        assert predictor.cut_texts == (1,)
    np.testing.assert_allclose(same, other_middle, **NEAR)
    assert np.allclose(same, other_end, **NEAR) is (how is LongTexts.TRUNCATE)


@pytest.mark.parametrize("name", LONG_TEXTS)
def test_a_text_that_is_too_long_is_told_by_its_number(name: str, tmp_path: Path) -> None:
    world = on_long_texts(name, LongTexts.ERROR, tmp_path / "result")
    with world.open() as predictor, pytest.raises(InvalidInput) as refused:
        predictor.predict_proba(["good", "film " * 300])
    assert refused.value.reason == "TEXT_TOO_LONG"
    assert refused.value.message.startswith("texts[1]: takes ")
    assert "spec" not in refused.value.message
