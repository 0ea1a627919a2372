"""Tasks by name: from a folder, an import or a copy of a published data set."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from mentorgrad.cli.main import app
from mentorgrad.cli.support.task_import import import_task
from mentorgrad.domain.spec import Criterion, Task
from mentorgrad.errors import InvalidInput
from mentorgrad.field_limits import violations
from mentorgrad.named_tasks import published_tasks
from mentorgrad.paths import tasks_folder
from tests.unit.trainer_service.tasks.test_hub_tasks import card
from trainer_service.tasks.builtin import builtin_names
from trainer_service.tasks.load import load_task

HUB_FILES = "".join(f"  - split: {s}\n    path: wic/{s}.jsonl\n" for s in ("train", "validation"))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where tasks are imported to, and the hub's cache, which is empty."""
    from huggingface_hub import constants

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "home" / "mentorgrad" / "tasks"


def put(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def rows_of(*columns: str, count: int = 40, begin: int = 0) -> list[dict[str, Any]]:
    return [
        {**{column: f"{column} {n}" for column in columns}, "label": n % 2}
        for n in range(begin, begin + count)
    ]


def folder(
    root: Path, name: str, *columns: str, described: Mapping[str, Any] | None = None
) -> Path:
    put(root / name / "train.jsonl", rows_of(*columns))
    put(root / name / "validation.jsonl", rows_of(*columns, count=10, begin=100))
    if described is not None:
        (root / name / "task.json").write_text(json.dumps(described))
    return root / name


def refusal(task: Task, *roots: Path) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        load_task(task, 0, roots)
    return caught.value


def test_the_table_is_complete() -> None:
    tasks = published_tasks()
    named = "boolq cb copa rte wic wsc sst2 sst5 cola agnews mpqa"
    assert set(named.split()) <= set(tasks)
    assert not set(tasks) & set(builtin_names())
    for name, task in tasks.items():
        assert violations(Task(name)) == []
        if task.source:
            assert violations(Task(task.source, hub=task.columns(), labels=task.labels)) == []
        assert len(task.description) > 20
    assert tasks["cola"].metric is Criterion.MATTHEWS


@pytest.mark.slow
def test_a_folder_and_the_hub_and_an_import_give_the_same_rows(tmp_path: Path, home: Path) -> None:
    usual = folder(tmp_path / "usual", "wic", "word", "text", "text_pair")
    hub = tmp_path / "hub/aps/super_glue/wic"
    card(hub.parent, "configs:\n- config_name: wic\n  data_files:\n" + HUB_FILES)
    for split in ("train", "validation"):
        lines = [json.loads(line) for line in (usual / f"{split}.jsonl").read_text().splitlines()]
        renamed = {"word": "word", "text": "sentence1", "text_pair": "sentence2", "label": "label"}
        put(hub / f"{split}.jsonl", [{renamed[k]: v for k, v in row.items()} for row in lines])
    task = Task("wic", shots=4)
    found = [load_task(task, 0, [tmp_path / "usual"]), load_task(task, 0, [hub.parent])]
    found.append(load_task(task, 0, [tmp_path / "hub"]))
    import_task("wic", hub, home)
    found.append(load_task(task, 0, []))
    assert len({data.digest for data in found}) == 1
    (first, *_) = found
    assert (first.labels, first.description) == (
        ("different", "same"),
        "whether a word means the same in two sentences",
    )
    row = first.train[0]
    number = row.text.split()[-1]
    assert (row.text, row.pair) == (f"word {number}: text {number}", f"text_pair {number}")
    assert {int(row.text.split()[-1]) // 100 for row in first.test} == {1}


def test_a_folder_with_a_card_is_a_task(tmp_path: Path) -> None:
    own = {"description": "which is it", "labels": ["not_this", "that"], "pair": True}
    folder(tmp_path, "mine", "text", "text_pair", described=own)
    data = load_task(Task("mine", shots=4), 0, [tmp_path])
    assert (data.labels, data.description) == (("not this", "that"), "which is it")
    assert data.is_paired
    given = load_task(Task("mine", shots=4, labels=("a", "b"), description="x"), 0, [tmp_path])
    assert (given.labels, given.description) == (("a", "b"), "x")


def test_the_label_words_of_a_card_are_those_of_its_indices(tmp_path: Path) -> None:
    folder(tmp_path, "boolq", "text", "text_pair", described={"labels": ["yes", "no"]})
    assert load_task(Task("boolq", shots=4), 0, [tmp_path]).labels == ("yes", "no")


@pytest.mark.parametrize(
    ("name", "columns", "described", "says"),
    [
        ("rte", ("text",), None, "column 'hypothesis' does not exist; the columns are: text, lab"),
        ("rte", ("text", "text_pair"), {"labels": ["a", "b", "c"]}, "has 3 labels; rte has 2"),
        ("mine", ("text",), None, "its folder has no task.json"),
        ("mine", ("text",), {"labels": ["a", "b"]}, "task.json: description must not be empty"),
        ("mine", ("text",), ["a"], "task.json is no JSON object"),
    ],
)
def test_a_folder_that_does_not_fit_says_why(
    tmp_path: Path, name: str, columns: tuple[str, ...], described: Any, says: str
) -> None:
    folder(tmp_path, name, *columns, described=described)
    error = refusal(Task(name), tmp_path)
    assert error.violations[0].field == "spec.task.name"
    assert says in error.violations[0].description
    assert str(tmp_path) not in error.message


def test_labels_that_do_not_fit_are_named(tmp_path: Path) -> None:
    task = folder(tmp_path, "sst2", "sentence")
    put(task / "validation.jsonl", [{"sentence": "x", "label": 2}])
    assert "'2' is neither a label word nor a class index from 0 to 1" in str(
        refusal(Task("sst2"), tmp_path)
    )
    count = refusal(Task("sst2", labels=("a", "b", "c")), tmp_path).violations[0]
    assert (count.field, count.description) == ("spec.task.labels", "sst2 has 2 classes, not 3")
    few = refusal(Task("sst2", shots=100), folder(tmp_path / "few", "sst2", "text").parent)
    assert few.violations[0].field == "spec.task.shots"
    put(task / "train.jsonl", [row | {"label": 0} for row in rows_of("sentence")])
    put(task / "validation.jsonl", rows_of("sentence", count=6, begin=100))
    missing = refusal(Task("sst2"), tmp_path).violations[0]
    assert missing.field == "spec.task.name"
    assert "'positive' has no rows for train" in missing.description


def test_a_task_that_is_nowhere_says_which_folder_would_do(tmp_path: Path) -> None:
    error = refusal(Task("rte"), tmp_path)
    assert error.reason == "TASK_NOT_FOUND"
    (violation,) = error.violations
    assert violation.field == "spec.task.name"
    for said in (
        "mentorgrad tasks pull rte",
        "mentorgrad tasks import rte FOLDER",
        "a folder rte with train.jsonl",
    ):
        assert said in violation.description
    unknown = refusal(Task("unknown"), tmp_path).violations[0].description
    assert "tickets" in unknown
    assert "boolq" in unknown


def test_a_folder_outside_the_roots_is_none(tmp_path: Path) -> None:
    outside = folder(tmp_path / "outside", "rte", "text", "text_pair")
    root = tmp_path / "root"
    root.mkdir()
    (root / "rte").symlink_to(outside)
    assert refusal(Task("rte"), root).reason == "TASK_NOT_FOUND"


# -- importing --------------------------------------------------------------------------------


def test_an_import_reads_the_labels_of_the_original_files(tmp_path: Path, home: Path) -> None:
    words = {0: "entailment", 1: "not_entailment"}
    rows = [row | {"label": words[row["label"]]} for row in rows_of("premise", "hypothesis")]
    put(tmp_path / "RTE/train.jsonl", rows)
    put(tmp_path / "RTE/val.jsonl", rows_of("premise", "hypothesis", count=8, begin=100))
    put(tmp_path / "RTE/test.jsonl", [{"premise": "a", "hypothesis": "b", "label": None}])
    path, splits = import_task("rte", tmp_path / "RTE", home)
    assert [(s.split, s.rows, s.left_out) for s in splits] == [
        ("train", 40, 0),
        ("validation", 8, 0),
        ("test", 0, 1),
    ]
    assert path == tasks_folder() / "rte"  # type: ignore[operator]
    written = [json.loads(line) for line in (path / "train.jsonl").read_text().splitlines()]
    assert written[1] == {"text": "premise 1", "text_pair": "hypothesis 1", "label": 1}
    assert sorted(file.name for file in path.iterdir()) == [
        *("task.json", "train.jsonl", "validation.jsonl")
    ]
    with pytest.raises(InvalidInput, match="exists already"):
        import_task("rte", tmp_path / "RTE", home)


def test_a_single_file_is_a_task_from_which_test_rows_are_held_out(
    tmp_path: Path, home: Path
) -> None:
    lines = [f"{n},good film {n},{str(bool(n % 2)).lower()}" for n in range(40)]
    (tmp_path / "films.csv").write_text("\n".join(["id,sentence,label", *lines]) + "\n")
    import_task("sst2", tmp_path / "films.csv", home)
    data = load_task(Task("sst2", shots=4), 0, [])
    assert (len(data.train), len(data.test)) == (8, 8)
    assert all(row.label == int(row.text.split()[-1]) % 2 for row in data.test)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"sentence": "x", "label": "maybe"}], "train.jsonl: line 1: 'maybe' is no label of sst2"),
        ([{"sentence": "x", "label": 2}], "an index from 0 to 1, or one of: negative, positive"),
        ([{"sentence": "x", "label": -1}], "has no rows with a text and a label"),
        ([{"words": "x", "label": 1}], "column 'sentence'"),
    ],
)
def test_what_cannot_be_imported_leaves_nothing(
    tmp_path: Path, home: Path, rows: list[dict[str, Any]], says: str
) -> None:
    put(tmp_path / "bad/train.jsonl", rows)
    with pytest.raises(InvalidInput) as caught:
        import_task("sst2", tmp_path / "bad", home)
    assert says in caught.value.message
    assert list(home.iterdir()) == []


def test_what_is_no_source_is_refused(tmp_path: Path, home: Path) -> None:
    for name, source, says in (
        ("sst2", tmp_path / "nowhere", "there is no file"),
        ("sst2", tmp_path, "there is no file"),
        ("mine", folder(tmp_path, "mine", "text"), "has no task.json"),
        ("../x", tmp_path, "is no name of a task"),
    ):
        with pytest.raises(InvalidInput, match=says):
            import_task(name, source, home)
    assert not home.exists()


def test_an_import_says_which_words_it_takes_the_place_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for labels, said in (
        (
            ["bad", "fine"],
            "the labels are negative, positive, in this order; task.json calls them bad, fine\n",
        ),
        (["Positive", "negative"], ""),  # the words of a card are those of its indices
    ):
        source = folder(tmp_path, labels[0], "text", described={"labels": labels})
        with pytest.raises(SystemExit):
            app(
                [
                    "tasks",
                    "import",
                    "sst2",
                    str(source),
                    "--folder",
                    str(tmp_path / f"to {labels[0]}"),
                ]
            )
        assert capsys.readouterr().err == said


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = {"description": "which is it", "labels": ["this", "that"]}
    source = folder(tmp_path, "mine", "text", described=own)
    for arguments in (["import", "mine", str(source)], ["list"], ["list", "--json"]):
        with pytest.raises(SystemExit) as left:
            app(["tasks", *arguments])
        assert left.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("train: 40 rows, SHA-256 ")
    assert lines[2] == str(tasks_folder() / "mine")  # type: ignore[operator]
    assert any(line.startswith("rte\t2\taccuracy\thf:aps/super_glue/rte\t") for line in lines)
    assert any(line.startswith("mine\t2\taccuracy\t") for line in lines)
    found = {task["name"]: task for task in json.loads(lines[-1])["tasks"]}
    assert found["copa"]["choices"] == ["choice1", "choice2"]
    assert found["mine"]["labels"] == ["this", "that"]
