"""What is said of a `causal_prompt` before its run is queued, beside what the build says."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, trainers

from mentorgrad.domain.objective import Calibration, CausalPrompt, PromptPosition
from mentorgrad.domain.spec import DataFiles, RunSpec, Task
from mentorgrad.errors import InvalidInput, Unsupported, Violation
from tests.support.numerics import CPU, tiny_task
from tests.support.tiny_gguf import write_gguf
from tests.support.tiny_models import SENTENCES, WORDS, make, make_causal
from trainer_service.control_plane.validation import validate_objective
from trainer_service.encoding.encoders import load_tokenizer
from trainer_service.encoding.gguf_files import kept_folder, write_list
from trainer_service.encoding.line_tokens import LineTokens
from trainer_service.objectives.build import build_objective
from trainer_service.objectives.causal_prompt import KIND, PATH
from trainer_service.objectives.causal_prompt.inputs import Inputs, read_inputs
from trainer_service.objectives.initial_text import initial_text
from trainer_service.objectives.kinds import CheckInputs, Findings
from trainer_service.tasks.data import Row, TaskData

BEFORE = PromptPosition.BEFORE_TEXT
TASK = tiny_task()
LABELS = "spec.task.labels"
CONTEXT = 128
"""Tokens that the tiny models allow."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model root, and data files in it."""
    folder = tmp_path_factory.mktemp("root")
    make_causal(folder / "llama")
    shutil.copytree(folder / "llama", folder / "wide")
    config = json.loads((folder / "wide" / "config.json").read_text()) | {"hidden_size": 16384}
    (folder / "wide" / "config.json").write_text(json.dumps(config))
    make(folder / "bert")
    make_causal(folder / "mamba", kind="mamba")
    make_causal(folder / "mistral", kind="mistral")
    shutil.copytree(folder / "llama", folder / "bare")
    (folder / "bare" / "tokenizer.json").unlink()
    shutil.copytree(folder / "llama", folder / "torn")
    (folder / "torn" / "tokenizer.json").write_text("{}")
    write_gguf(folder / "tiny.gguf", folder / "llama")
    write_gguf(folder / "rwkv.gguf", folder / "llama", architecture="rwkv")
    (folder / "none.gguf").write_bytes(b"GGML")
    for name, labels in (("rows", "0011"), ("few", "00011111")):
        rows = [
            {"text": f"{name} {n} good", "label": int(label)} for n, label in enumerate(labels * 3)
        ]
        lines = "\n".join(map(json.dumps, rows))
        (folder / f"{name}.jsonl").write_text(lines + "\n")
    return folder


def violations(
    spec: CausalPrompt,
    root: Path,
    task: TaskData | None = TASK,
    cache_dir: Path | None = None,
) -> list[Violation]:
    """What the check alone finds."""
    found = Findings()
    KIND.check(spec, CheckInputs(PATH, task, [root], found, cache_dir=cache_dir))
    try:
        found.settle()
    except InvalidInput as error:
        return list(error.violations)
    return []


def refusal(call: Callable[[], Any]) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        call()
    return caught.value


# id, fields, the field that is named, reason, part of what is said, whether the build says it too
BAD: list[tuple[str, dict[str, Any], str, str, str, bool]] = [
    ("nowhere", {"model": "no"}, "model", "MODEL_NOT_FOUND", "there is no model", True),
    ("outside", {"model": "../x"}, "model", "MODEL_NOT_FOUND", "model roots", True),
    (
        "encoder",
        {"model": "bert"},
        "model",
        "MODEL_UNSUITABLE",
        "bert is not a causal language model: its architecture is BertModel",
        True,
    ),
    (
        "no tokenizer",
        {"model": "bare"},
        "model",
        "MODEL_NOT_FOUND",
        "tokenizer.json is missing",
        True,
    ),
    ("torn tokenizer", {"model": "torn"}, "model", "MODEL_UNSUITABLE", "cannot be read", False),
    ("recurrent", {"model": "mamba"}, "model", "MODEL_UNSUITABLE", "recurrent layers; use", True),
    ("sliding", {"model": "mistral"}, "model", "MODEL_UNSUITABLE", "a sliding window; use", True),
    (
        "architecture",
        {"model": "rwkv.gguf"},
        "model",
        "MODEL_UNSUITABLE",
        "architecture rwkv cannot be dequantised, only falcon",
        True,
    ),
    ("no gguf", {"model": "none.gguf"}, "model", "MODEL_UNSUITABLE", "not a GGUF file", True),
    (
        "snapshot",
        {"model": "wide", "n_tokens": 127, "template": "{text}{prompt}{label}"},
        "n_tokens",
        "PROMPT_TOO_LONG",
        "one snapshot may have at most 4194304",
        False,
    ),
    (
        "context",
        {"n_tokens": 128},
        "n_tokens",
        "PROMPT_TOO_LONG",
        "tokens without a text and a label; the model allows 128",
        True,
    ),
    (
        "length",
        {"n_tokens": 7, "max_length": 8},
        "n_tokens",
        "PROMPT_TOO_LONG",
        "gives, with the template, at least 11 tokens without a text and a label; max_length "
        "allows 8",
        True,
    ),
    (
        "gguf",
        {"model": "tiny.gguf", "n_tokens": 128},
        "n_tokens",
        "PROMPT_TOO_LONG",
        "gives at least 128 tokens without a text and a label; the model allows 128",
        True,
    ),
    (
        "initial text",
        {"n_tokens": 2, "initial_text": "good bad movie"},
        "initial_text",
        "PROMPT_TOO_LONG",
        "has 4 tokens; at most 2 (n_tokens) are allowed",
        True,
    ),
    (
        "description",
        {"n_tokens": 1, "initial_text": "description"},
        "initial_text",
        "PROMPT_TOO_LONG",
        "the shortest wording of the task's description has",
        True,
    ),
    (
        "no text",
        {"template": "{prompt}{label}"},
        "template",
        "INVALID_INPUT",
        "must contain {text}",
        True,
    ),
    (
        "pair",
        {"template": "{text}{text_pair}{prompt}{label}"},
        "template",
        "INVALID_INPUT",
        "must not contain {text_pair}: the rows are single texts",
        True,
    ),
    (
        "order",
        {"template": "{prompt} {text}{label}"},
        "template",
        "INVALID_INPUT",
        "must have {prompt} behind the texts",
        True,
    ),
    (
        "chat",
        {"position": BEFORE, "chat_template": True},
        "chat_template",
        "INVALID_INPUT",
        "needs the position after_text",
        True,
    ),
    (
        "demonstrations",
        {"demonstrations": 2},
        "demonstrations",
        "TOO_FEW_ROWS",
        "must be less than 2, the train rows of the smallest class",
        False,
    ),
]


@pytest.mark.parametrize(
    ("fields", "field", "reason", "says", "late"), [row[1:] for row in BAD], ids=[r[0] for r in BAD]
)
def test_what_cannot_run_is_refused_early_and_by_the_worker_too(
    root: Path,
    fields: dict[str, Any],
    field: str,
    reason: str,
    says: str,
    late: bool,
) -> None:
    task = Task("own", DataFiles("rows.jsonl"), "what it is about", ("bad", "good"), shots=2)
    spec = RunSpec(CausalPrompt(**({"model": "llama", "n_tokens": 3} | fields)), task)
    early = refusal(lambda: validate_objective(spec, data_roots=[root], model_roots=[root]))
    (found,) = early.violations
    assert found.field == f"{PATH}.{field}"
    assert says in found.description
    assert early.reason == reason
    if late:
        build = {"device": CPU, "data_roots": [root], "model_roots": [root]}
        refused = refusal(lambda: build_objective(spec, **build))  # type: ignore[arg-type]
        assert refused.violations[0].field == found.field
        assert len(refused.message.splitlines()) == 1


def test_what_can_run_is_accepted(root: Path) -> None:
    for fields in ({}, {"position": BEFORE}, {"demonstrations": 3}, {"initial_text": "good film"}):
        spec = CausalPrompt(**({"model": "llama", "n_tokens": 8} | fields))
        assert violations(spec, root) == []
    paired = replace(TASK, train=tuple(replace(row, pair="more") for row in TASK.train))
    assert violations(CausalPrompt("llama"), root, paired) == []


def test_everything_that_is_wrong_is_named_at_once(root: Path) -> None:
    spec = CausalPrompt("nowhere", template="{text}", demonstrations=60, chat_template=True)
    task = replace(TASK, labels=("other", "  "))
    found = violations(replace(spec, position=BEFORE), root, task)
    named = ["chat_template", "template", "demonstrations", "model"]
    expected = [f"{PATH}.{name}" for name in named]
    expected.insert(2, LABELS)
    assert [violation.field for violation in found] == expected
    assert found[2].description == "label 2 must not be empty"


def test_a_task_that_is_invalid_itself_is_the_only_violation(root: Path) -> None:
    for template in ("", "{text} {text_pair}\n{prompt}\n{label}"):
        spec = CausalPrompt("llama", template=template, initial_text="description")
        error = refusal(
            lambda spec=spec: validate_objective(  # type: ignore[misc]
                RunSpec(spec, Task("unknown")), model_roots=[root]
            )
        )
        assert [violation.field for violation in error.violations] == ["spec.task.name"]


@pytest.mark.parametrize(("shots", "fewest"), [(3, 3), (50, 9), (0, 9)])
def test_each_class_keeps_a_train_row_beside_the_demonstrations(
    root: Path, shots: int, fewest: int
) -> None:
    """Whatever `shots` says: a class may have fewer rows than that."""
    files = DataFiles("few.jsonl", "rows.jsonl")
    task = Task("own", files, "what it is", ("a", "b"), shots=shots, selection_rows=1)

    def validated(shown: int) -> str:
        spec = RunSpec(CausalPrompt("llama", demonstrations=shown), task)
        return validate_objective(spec, data_roots=[root], model_roots=[root])

    assert validated(fewest - 1)
    (found,) = refusal(lambda: validated(fewest)).violations
    assert found.field == f"{PATH}.demonstrations"
    assert f"must be less than {fewest}" in found.description


def test_a_batch_of_one_row_is_no_prior(root: Path) -> None:
    task = replace(TASK, train=(Row("good", 0),), selection=(), labels=("a",))
    for kind in (Calibration.BATCH, Calibration.MATCHED):
        (found,) = violations(CausalPrompt("llama", calibration=kind), root, task)
        assert (found.field, found.description) == (
            f"{PATH}.calibration",
            f"{kind.value} needs more than one row",
        )
    for other in (Calibration.NONE, Calibration.CONTENT_FREE):
        assert violations(CausalPrompt("llama", calibration=other), root, task) == []


@pytest.mark.parametrize("package", ["peft", "gguf", "accelerate"])
def test_a_missing_package_is_said_before_there_is_a_run(
    package: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *args: None if name == package else find(name)
    )
    fields: dict[str, Any] = {"model": "tiny.gguf"}
    if package == "peft":
        fields = {"model": "llama", "position": BEFORE}
    with pytest.raises(Unsupported, match=r"; run: pip install .*\[trainer") as caught:
        violations(CausalPrompt(**fields), root)
    assert caught.value.reason == "MISSING_EXTRA"
    assert package in caught.value.message
    assert violations(CausalPrompt("llama"), root) == []


def test_a_gguf_file_that_is_kept_needs_no_further_package_and_is_counted(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *args: None if name == "gguf" else find(name)
    )
    folder = kept_folder(root / "tiny.gguf", tmp_path)
    shutil.copytree(root / "llama", folder)
    write_list(folder, root / "tiny.gguf")
    spec = CausalPrompt("tiny.gguf", n_tokens=1, initial_text="good movie")
    (found,) = violations(spec, root, cache_dir=tmp_path)
    assert found.field == f"{PATH}.initial_text"


# -- what is refused early is refused late ----------------------------------------------------


def _metaspace(folder: Path, source: Path, kind: str) -> Path:
    """A model with a vocabulary as SentencePiece's, for which `kind` says how transformers loads
    it: ``PreTrainedTokenizerFast`` as it is, ``LlamaTokenizer`` made anew."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback()])
    raw = [f"<0x{index:02X}>" for index in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=["<unk>", "<s>", "</s>", *raw], show_progress=False
    )
    tokenizer.train_from_iterator([*SENTENCES, " ".join(WORDS)] * 2, trainer)
    shutil.copytree(source, folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    ).save_pretrained(folder)
    settings = folder / "tokenizer_config.json"
    content = json.loads(settings.read_text()) | {"tokenizer_class": kind}
    settings.write_text(json.dumps(content))
    return folder


@dataclass(frozen=True, repr=False)  # Hypothesis writes out what it is given
class Late:
    """Models by number: folder, tokenizer and tokens."""

    known: Sequence[tuple[Path, Any, LineTokens]]


@pytest.fixture(scope="module")
def late(root: Path) -> Late:
    """Models with their tokenizers as a build loads them."""
    folders = [root / "llama"]
    for kind in ("PreTrainedTokenizerFast", "LlamaTokenizer"):
        folders.append(_metaspace(root / kind, root / "llama", kind))
    made = [(folder, load_tokenizer(folder)) for folder in folders]
    return Late([(path, loaded, LineTokens(loaded, torch.zeros(600, 16))) for path, loaded in made])


_pieces = st.sampled_from(
    [*SENTENCES[:3], "\n", "\n\n", " ", "  ", "good", "movie", "a", "bank 12", "ü", "\t", "Answer:"]
)
_texts = st.lists(_pieces, max_size=2).map("".join)  # all parts fit a context of 128 tokens


@pytest.mark.slow
@given(
    which=st.integers(0, 2),
    position=st.sampled_from(list(PromptPosition)),
    parts=st.tuples(_texts, _texts, _texts),
    text=_texts,
    fewer=st.integers(0, 3),
)
def test_nothing_is_refused_that_the_build_accepts(
    late: Late,
    which: int,
    position: PromptPosition,
    parts: tuple[str, str, str],
    text: str,
    fewer: int,
) -> None:
    """A prompt of just the length that its initial text needs, under the least `max_length` that
    the build accepts, is accepted; what is refused under a lower one, the build refuses."""
    folder, tokenizer, tokens = late.known[which]
    one, two, three = parts
    template = f"{{prompt}}{one}{{text}}{two}{three}{{label}}"
    if position is PromptPosition.AFTER_TEXT:
        template = f"{one}{{text}}{two}{{prompt}}{three}{{label}}"
    spec = CausalPrompt(
        folder.name,
        n_tokens=max(len(tokens.token_ids(text)), 1),
        position=position,
        template=template,
        initial_text=text,
    )

    def built(max_length: int) -> Inputs:
        short = replace(spec, max_length=max_length)
        return read_inputs(short, TASK, [], tokenizer, tokens, CONTEXT)

    whole = built(CONTEXT)
    least = CONTEXT - whole.most + len(whole.own_ids(Row("", 0))) + 1
    assert initial_text(spec, TASK, lambda line: len(tokens.token_ids(line)), PATH) == text
    assert built(least).most >= 1
    assert violations(replace(spec, max_length=least), folder.parent) == []
    if violations(replace(spec, max_length=least - fewer), folder.parent):
        error = refusal(lambda: built(least - fewer))
        assert error.violations[0].field == f"{PATH}.n_tokens"


@pytest.mark.slow
@given(which=st.integers(0, 1), text=_texts)
def test_a_text_that_is_longer_by_a_token_is_refused_where_tokens_are_known(
    late: Late, which: int, text: str
) -> None:
    folder, _, tokens = late.known[which]
    count = len(tokens.token_ids(f"good {text.strip()} good"))
    spec = CausalPrompt(folder.name, n_tokens=count - 1, initial_text=f"good {text.strip()} good")
    (found,) = violations(spec, folder.parent)
    assert found.field == f"{PATH}.initial_text"


def test_a_tokenizer_that_is_made_anew_by_its_class_is_not_counted_with(late: Late) -> None:
    """It may divide a text into fewer tokens than ``tokenizer.json`` does."""
    fields: dict[str, Any] = {"n_tokens": 1, "initial_text": "good movie"}
    refused = [
        bool(violations(CausalPrompt(path.name, **fields), path.parent)) for path, *_ in late.known
    ]
    assert refused == [True, True, False]
    path, _, tokens = late.known[2]
    plain = Tokenizer.from_file(str(path / "tokenizer.json"))
    assert len(plain.encode(" good", add_special_tokens=False).ids) > len(tokens.plain_ids(" good"))
