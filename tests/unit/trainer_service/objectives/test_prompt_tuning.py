"""A soft prompt before the input of an encoder: what is read, what is cut, what is exported."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mentorgrad.domain.advice import Proposal
from mentorgrad.domain.objective import ModelDtype, PromptTuning, Readout
from mentorgrad.domain.spec import Optimizer, RunSpec, Task
from mentorgrad.errors import InvalidInput, Unsupported
from mentorgrad.installed import pip_line
from tests.support import tiny_models
from tests.support.numerics import (
    CPU,
    built_on,
    prompt_tuning_on,
    tiny,
    tiny_encoder,
    tiny_task,
    tune,
)
from trainer_service import tensorfile
from trainer_service.control_plane.validation import validate_objective
from trainer_service.encoding.encoders import TextEncoder
from trainer_service.objectives.build import build_objective
from trainer_service.objectives.prompt_tuning.problem import PromptTuningProblem
from trainer_service.objectives.token_batches import TokenBatch, TokenRows
from trainer_service.objectives.torch_free import ARTIFACT
from trainer_service.protocols import Objective
from trainer_service.running.stop_control import Stop, StopKind
from trainer_service.tasks.data import Row, Split, TaskData, majority_share

N = 3
ROWS = tuple(Row(text, 0) for text in tiny_models.TEXTS[::7])
PAIRS = tuple(Row(text, 0, pair="a long story of rain") for text in tiny_models.TEXTS[::9])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch_of(encoder: TextEncoder, rows: tuple[Row, ...]) -> TokenBatch:
    return TokenRows(rows, encoder, encoder.max_tokens - N).take(torch.arange(len(rows)))


def logits(built: Objective, points: Tensor, batch: TokenBatch) -> Tensor:
    assert isinstance(built.problem, PromptTuningProblem)
    return built.problem.batch_logits(points, batch)


FEW_KINDS = pytest.mark.parametrize(
    "kind",
    [
        *("bert", "roberta", "modernbert"),
        *(pytest.param(kind, marks=pytest.mark.campaign) for kind in ("distilbert", "electra")),
    ],
)
"""Positions from 0, behind those of padding, and by rotation; the others are like the first."""


# -- the model --------------------------------------------------------------------------------


@pytest.mark.slow
@FEW_KINDS
def test_a_prompt_of_words_is_read_like_the_same_words_in_the_input(kind: str) -> None:
    """Positions and the first layer norm are applied once, by the model itself, and `cls` stands
    behind the prompt."""
    built, encoder = tiny(kind), tiny_encoder(kind)
    parameters = built.language.initial(generator())
    (words,) = built.language.project(parameters[None])
    batch = batch_of(encoder, ROWS)
    ids = torch.cat([torch.tensor(words.ids).expand(len(ROWS), -1), batch.ids], dim=1)
    mask = torch.cat([torch.ones(len(ROWS), N, dtype=torch.int64), batch.mask], dim=1)
    tensors, _ = tensorfile.load(built.export(parameters)[ARTIFACT])
    hidden = encoder.hidden(mask, input_ids=ids)[:, N]
    expected = hidden @ tensors["head.weight"].T + tensors["head.bias"]
    assert expected.std() > 1e-3
    torch.testing.assert_close(logits(built, parameters[None], batch)[0], expected)


def test_the_three_readouts_read_different_things() -> None:
    losses = set()
    for readout in Readout:
        built = tiny(readout=readout)
        losses.add(built.problem.score(built.language.initial(generator())[None])[0].loss)
    assert len(losses) == 3


def test_padding_changes_nothing() -> None:
    short, long = Row("good film", 0), Row(" ".join(tiny_models.WORDS[:20]), 1)
    for readout in Readout:
        built, encoder = tiny(readout=readout), tiny_encoder("bert")
        parameters = built.language.initial(generator())[None]
        alone = logits(built, parameters, batch_of(encoder, (short,)))
        together = logits(built, parameters, batch_of(encoder, (short, long)))
        torch.testing.assert_close(together[:, :1], alone)


def test_the_segments_of_a_pair_reach_the_model() -> None:
    encoder = tiny_encoder("bert")
    built = tiny()
    parameters = built.language.initial(generator())[None]
    pairs = batch_of(encoder, PAIRS)
    assert pairs.segments is not None
    assert pairs.segments.max() == 1
    assert int(pairs.ids[0].eq(encoder.tokens.end_id).sum()) == 2
    blind = TokenBatch(pairs.ids, pairs.mask, None)
    assert not torch.allclose(logits(built, parameters, pairs), logits(built, parameters, blind))
    assert batch_of(tiny_encoder("roberta"), PAIRS).segments is None


def test_long_texts_leave_room_for_the_prompt() -> None:
    words = " ".join(tiny_models.WORDS * 3)
    task = TaskData("t", "d", ("a", "b"), (Row(words, 0), Row("rain", 1)), (Row(words, 0),), ())
    for limit, expected in ((1000, 40), (12, 12)):
        encoder = tiny_encoder("bert")
        built = prompt_tuning_on(task, encoder, n_tokens=N, max_length=limit)
        assert built.problem.score(built.language.initial(generator())[None])[0].rows == 1
        cut = TokenRows(task.train, encoder, expected - N).take(torch.tensor([0]))
        assert cut.ids.shape == (1, expected - N)
        assert int(cut.ids[0, -1]) == encoder.tokens.end_id
        built.problem.gradients(built.language.initial(generator())[None], torch.tensor([0]))


@FEW_KINDS
def test_the_encoder_in_bfloat16_has_nearly_the_gradients_of_float32(
    kind: str, tmp_path: Path
) -> None:
    wide = tiny_encoder(kind)
    narrow = TextEncoder(tiny_models.make(tmp_path, kind), CPU, dtype="bfloat16")
    assert (narrow.dtype, wide.dtype) == ("bfloat16", "float32")
    assert narrow.options != wide.options, "their embeddings are cached apart"
    assert torch.equal(narrow.tokens.vectors, wide.tokens.vectors)
    pair = [prompt_tuning_on(tiny_task(), under, n_tokens=N) for under in (narrow, wide)]
    point = pair[0].language.initial(generator())[None]
    (loss, slope), (exact_loss, exact_slope) = (
        built.problem.gradients(point, torch.arange(16)) for built in pair
    )
    assert (loss.dtype, slope.dtype) == (torch.float32, torch.float32)
    torch.testing.assert_close(loss, exact_loss, atol=1e-2, rtol=0)
    assert float((slope - exact_slope).norm() / exact_slope.norm()) < 0.1


def test_the_spec_says_the_encoder_s_dtype(tmp_path: Path) -> None:
    tiny_models.make(tmp_path / "tiny")
    spec = PromptTuning("tiny", n_tokens=N, dtype=ModelDtype.BFLOAT16)
    built = build_objective(
        RunSpec(spec, Task(shots=2, selection_rows=2)), device=CPU, model_roots=[tmp_path]
    )
    _, metadata = tensorfile.load(built.export(built.language.initial(generator()))[ARTIFACT])
    assert metadata["dtype"] == "bfloat16"


def test_a_few_steps_learn_the_task() -> None:
    built = tiny(readout=Readout.MEAN)
    trajectory = torch.stack(tune(built, Optimizer(learning_rate=0.2, batch_size=16), 40, 0))
    first, last = (
        built.problem.score(trajectory[index : index + 1 or None])[0] for index in (0, -1)
    )
    assert last.loss < 0.8 * first.loss
    majority = majority_share(tiny_task().test)
    assert last.accuracy is not None
    assert majority is not None
    assert last.accuracy > majority + 0.1
    assert built.problem.untuned_logits(Split.TEST) is None, "the head must be trained"


def test_a_scoring_can_be_stopped_between_its_batches() -> None:
    asked = []

    def check() -> None:
        asked.append(1)
        if len(asked) > 1:
            raise Stop(StopKind.CANCEL)

    encoder = tiny_encoder("bert")
    built = built_on(encoder, PromptTuning(n_tokens=N), tiny_task(), check)
    many = built.language.initial(generator()).expand(200, -1, -1)
    with pytest.raises(Stop):
        built.problem.score(many)
    assert len(asked) == 2


def test_an_encoder_that_reads_many_texts_can_be_stopped(tmp_path: Path) -> None:
    def stop() -> None:
        raise Stop(StopKind.PAUSE)

    encoder = TextEncoder(tiny_models.make(tmp_path), CPU, stop)
    with pytest.raises(Stop):
        encoder.encode(["good film"])
    with pytest.raises(Stop):
        prompt_tuning_on(tiny_task(), encoder, n_tokens=N)


# -- words ------------------------------------------------------------------------------------


def test_words_of_a_byte_level_vocabulary_come_back() -> None:
    built = tiny("roberta", initial_text="good movie score")
    start = built.language.initial(generator())
    (words,) = built.language.project(start[None])
    assert words.text == "good movie score"
    drawn = built.language.random_proposal(generator(3))
    embedded = built.language.embed(drawn, start)
    assert built.language.project(embedded.parameters[None])[0].text == drawn.text
    assert torch.equal(embedded.parameters[N:], start[N:])


def test_a_short_proposal_keeps_the_incumbents_prompt_and_head() -> None:
    built = tiny()
    incumbent = torch.randn(built.shape, generator=generator())
    embedded = built.language.embed(Proposal(text="good film"), incumbent)
    assert embedded.filled == (0, 1)
    assert torch.equal(embedded.parameters[2:], incumbent[2:])
    assert built.language.project(embedded.parameters[None])[0].text.startswith("good film ")
    drawn = built.language.random_parameters(generator(), incumbent)
    assert torch.equal(drawn[N:], incumbent[N:])
    assert not torch.equal(drawn[:N], incumbent[:N])


# -- the adapter ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
@pytest.mark.parametrize(
    ("kind", "readout", "rows"),
    [
        ("bert", Readout.CLS, ROWS),
        ("bert", Readout.FIRST, ROWS),
        ("bert", Readout.MEAN, PAIRS),
        ("roberta", Readout.CLS, PAIRS),
        ("distilbert", Readout.MEAN, ROWS),
        ("electra", Readout.CLS, ROWS),
        ("modernbert", Readout.CLS, ROWS),
    ],
)
def test_peft_loads_the_adapter_with_equal_logits(
    tmp_path: Path, kind: str, readout: Readout, rows: tuple[Row, ...]
) -> None:
    from peft import PeftModel
    from transformers import AutoModel, AutoModelForTokenClassification

    base, folder = tiny_models.make(tmp_path / "base", kind), tmp_path / "run"
    folder.mkdir()
    encoder = TextEncoder(base, CPU)
    built = prompt_tuning_on(tiny_task(), encoder, n_tokens=N, readout=readout)
    parameters = torch.randn(built.shape, generator=generator())
    for name, content in built.export(parameters).items():
        (folder / name).write_bytes(content)
    tensors, metadata = tensorfile.load((folder / ARTIFACT).read_bytes())
    batch = batch_of(encoder, rows)
    inputs = {"input_ids": batch.ids, "attention_mask": batch.mask}
    if batch.segments is not None:
        inputs["token_type_ids"] = batch.segments
    assert metadata["readout"] == readout.value
    with torch.no_grad():
        if kind == "modernbert":  # its token classifier has a layer more
            assert metadata["adapter"] == "FEATURE_EXTRACTION"
            model = PeftModel.from_pretrained(AutoModel.from_pretrained(base), folder)
            hidden = model(**inputs).last_hidden_state
            found = hidden @ tensors["head.weight"].T + tensors["head.bias"]
        else:
            assert metadata["adapter"] == "TOKEN_CLS"
            bare = AutoModelForTokenClassification.from_pretrained(base, num_labels=2)
            found = PeftModel.from_pretrained(bare, folder)(**inputs).logits
    if readout is Readout.MEAN:
        weights = batch.mask.unsqueeze(-1)
        read = (found[:, N:] * weights).sum(1) / weights.sum(1)
    else:
        read = found[:, N if readout is Readout.CLS else 0]
    expected = logits(built, parameters[None], batch)[0]
    assert expected.std() > 1e-2
    torch.testing.assert_close(read, expected, atol=1e-5, rtol=1e-5)


def test_an_adapter_names_its_base_only_where_others_find_it() -> None:
    from trainer_service.objectives.peft_files import CONFIG_FILE
    from trainer_service.objectives.prompt_tuning.peft_export import PeftExport

    config = tiny_encoder("bert").config
    named = {}
    for reference in ("hf:org/base@v1", "hf:org/base", "pkg:some/model", "/srv/models/secret"):
        export = PeftExport(config, 2, 2, reference)
        files = export.files(torch.ones(2, 16), torch.ones(2, 16), torch.ones(2))
        written = json.loads(files[CONFIG_FILE])
        named[reference] = (written["base_model_name_or_path"], written["revision"])
    assert named == {
        "hf:org/base@v1": ("org/base", "v1"),
        "hf:org/base": ("org/base", None),
        "pkg:some/model": (None, None),
        "/srv/models/secret": (None, None),
    }


# -- what is refused before a run is queued ---------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"encoder": "nowhere"}, "encoder", "MODEL_NOT_FOUND"),
        ({"n_tokens": 38}, "n_tokens", "PROMPT_TOO_LONG"),
        ({"n_tokens": 6, "max_length": 8}, "n_tokens", "PROMPT_TOO_LONG"),
        ({"n_tokens": 2, "initial_text": "good bad movie"}, "initial_text", "PROMPT_TOO_LONG"),
        ({"n_tokens": 1, "initial_text": "description"}, "initial_text", "PROMPT_TOO_LONG"),
    ],
)
def test_what_cannot_run_is_refused_early_and_by_the_worker_too(
    tmp_path: Path, fields: dict[str, Any], field: str, reason: str
) -> None:
    tiny_models.make(tmp_path / "tiny")
    objective = PromptTuning(**({"encoder": "tiny"} | fields))
    with pytest.raises(InvalidInput) as early:
        validate_objective(RunSpec(objective=objective), model_roots=[tmp_path])
    assert early.value.violations[0].field == f"spec.objective.prompt_tuning.{field}"
    assert early.value.reason == reason
    if field != "encoder":
        with pytest.raises(InvalidInput) as late:
            built_on(tiny_encoder("bert"), objective, tiny_task())
        assert late.value.violations[0].field == f"spec.objective.prompt_tuning.{field}"


def test_a_missing_extra_is_said_before_there_is_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "peft" else found(name)
    )
    with pytest.raises(Unsupported, match=re.escape(pip_line("trainer,peft"))) as caught:
        validate_objective(RunSpec(objective=PromptTuning()))
    assert caught.value.reason == "MISSING_EXTRA"
