"""Data sets in the hub's layout, read from folders and caches that the tests make."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from mentorgrad import dataset_refs
from mentorgrad.cli.main import app
from mentorgrad.dataset_refs import LocalDataSet
from mentorgrad.domain.spec import HubData, Task
from mentorgrad.errors import InvalidInput, NotFound, Unavailable
from mentorgrad.field_limits import violations
from mentorgrad.tables.malformed import MalformedError
from trainer_service.tasks.hub_layout import Layout
from trainer_service.tasks.load import load_task

NAMES = ("entailment", "not_entailment")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("something went to the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def pairs(count: int, begin: int = 0, label: int | None = None) -> list[dict[str, Any]]:
    return [
        {
            "premise": f"premise {n}",
            "hypothesis": f"hypothesis {n}",
            "idx": n,
            "label": n % 2 if label is None else label,
        }
        for n in range(begin, begin + count)
    ]


def write_parquet(path: Path, rows: Sequence[Mapping[str, Any]], names: Sequence[str] = ()) -> None:
    """As the hub has them: what the label indices are called stands in the schema."""
    table = pyarrow.Table.from_pylist(list(rows))
    features: dict[str, Any] = {
        name: {"dtype": "string" if kind == pyarrow.string() else "int64", "_type": "Value"}
        for name, kind in zip(table.column_names, table.schema.types, strict=True)
    }
    if names:
        features["label"] = {"names": list(names), "_type": "ClassLabel"}
    info = json.dumps({"info": {"features": features}})
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(table.replace_schema_metadata({"huggingface": info}), path)


def rte(folder: Path) -> Path:
    """The layout of super_glue: a folder a configuration, a card, a test split without labels."""
    for split, rows in (
        ("train", pairs(60)),
        ("validation", pairs(20, 100)),
        ("test", pairs(10, 200, label=-1)),
    ):
        write_parquet(folder / "rte" / f"{split}-00000-of-00001.parquet", rows, NAMES)
    lines = [f"  - split: {s}\n    path: rte/{s}-*" for s in ("train", "validation", "test")]
    card(folder, "configs:\n- config_name: rte\n  data_files:\n" + "\n".join(lines))
    return folder


def card(folder: Path, metadata: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text(f"---\n{metadata}\n---\n\nA data set.\n")


def write_jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(row) for row in rows))


def own(root: Path, rows: Sequence[Mapping[str, Any]], split: str = "train") -> None:
    write_jsonl(root / "org/own" / f"{split}.jsonl", rows)


def refusal(task: Task, root: Path) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        load_task(task, 0, [root])
    assert "\n" not in caught.value.message
    return caught.value


# -- names ------------------------------------------------------------------------------------


def test_a_name_can_be_read_in_two_ways() -> None:
    def read(name: str) -> list[tuple[str, str | None, str | None]]:
        return [(r.repo, r.config, r.revision) for r in dataset_refs.readings(name)]

    assert read("hf:imdb") == [("imdb", None, None)]
    assert read("hf:super_glue/rte") == [
        ("super_glue/rte", None, None),
        ("super_glue", "rte", None),
    ]
    assert read("hf:org/set/config@refs/pr/1") == [("org/set", "config", "refs/pr/1")]
    for wrong in ("imdb", "hf:", "hf:a/b/c/d", "hf:../x", "hf:a b", "hf:a@"):
        with pytest.raises(InvalidInput):
            dataset_refs.readings(wrong)


def test_a_spec_takes_such_names_and_no_others() -> None:
    def wrong(task: Task) -> list[str]:
        return [violation.field for violation in violations(task)]

    assert wrong(Task("hf:super_glue/rte@main", hub=HubData(label_field="y"))) == []
    assert wrong(Task("hf:../etc/passwd")) == ["name"]
    assert wrong(Task("tickets", hub=HubData())) == ["hub"]


# -- splits and columns -----------------------------------------------------------------------


@pytest.mark.slow
def test_a_public_benchmark_is_a_task_without_further_ado(tmp_path: Path) -> None:
    rte(tmp_path / "super_glue")
    task = load_task(Task("hf:super_glue/rte", shots=8, selection_rows=4), 0, [tmp_path])
    assert task.labels == ("entailment", "not entailment")
    assert task.description == "label of premise and hypothesis in the data set super_glue/rte"
    # The test split hides its labels, so validation is what is reported on.
    assert {int(row.text.split()[1]) for row in task.test} == set(range(100, 120))
    assert Counter(row.label for row in task.train) == {0: 8, 1: 8}
    assert Counter(row.label for row in task.selection) == {0: 4, 1: 4}
    for row in (*task.train, *task.selection, *task.test):
        number = int(row.text.split()[1])
        assert (row.pair, row.label) == (f"hypothesis {number}", number % 2)


def test_all_of_train_is_all_that_selection_leaves(tmp_path: Path) -> None:
    rte(tmp_path / "super_glue")
    task = load_task(Task("hf:super_glue/rte", shots=0, selection_rows=5), 0, [tmp_path])
    assert (len(task.train), len(task.selection), len(task.test)) == (50, 10, 20)


def test_labelled_splits_are_taken_as_they_are(tmp_path: Path) -> None:
    for split, begin in (("train", 0), ("validation", 100), ("test", 200)):
        write_parquet(tmp_path / f"org/set/data/{split}.parquet", pairs(40, begin), NAMES)
    task = load_task(Task("hf:org/set", shots=8), 0, [tmp_path])
    assert {int(row.text.split()[1]) // 100 for row in task.selection} == {1}
    assert {int(row.text.split()[1]) // 100 for row in task.test} == {2}
    swapped = HubData(selection="test", test="validation")
    task = load_task(Task("hf:org/set", shots=8, hub=swapped), 0, [tmp_path])
    assert {int(row.text.split()[1]) // 100 for row in task.selection} == {2}
    assert {int(row.text.split()[1]) // 100 for row in task.test} == {1}


def test_what_is_held_out_of_train_is_the_same_for_every_seed(tmp_path: Path) -> None:
    own(tmp_path, [{"text": f"text {n}", "label": "ab"[n % 2]} for n in range(50)])
    tasks = [load_task(Task("hf:org/own", shots=4), seed, [tmp_path]) for seed in (0, 1)]
    assert tasks[0].test == tasks[1].test
    assert Counter(row.label for row in tasks[0].test) == {0: 5, 1: 5}
    assert tasks[0].train != tasks[1].train
    assert tasks[0].labels == ("a", "b")


def test_several_columns_make_one_text_by_a_template(tmp_path: Path) -> None:
    rows = [
        {"word": "bank", "s1": f"one {n}", "s2": "two", "same": n % 3 == 0, "n": n}
        for n in range(60)
    ]
    own(tmp_path, rows)
    error = refusal(Task("hf:org/own", hub=HubData(label_field="same")), tmp_path)
    assert error.violations[0].field == "spec.task.hub.text_field"
    assert "word, s1, s2" in error.message
    hub = HubData(label_field="same", template="{word}: {s1} / {s2} ({n})")
    task = load_task(Task("hf:org/own", shots=4, hub=hub), 0, [tmp_path])
    assert task.labels == ("false", "true")
    for row in task.train:
        number = int(row.text.split()[2])
        assert row.text == f"bank: one {number} / two ({number})"
        assert row.label == int(number % 3 == 0)


def test_a_template_can_stand_beside_a_pair_or_choices(tmp_path: Path) -> None:
    rows = [
        {"premise": f"p {n}", "kind": "cause", "one": f"a {n}", "two": "b", "label": n % 2}
        for n in range(40)
    ]
    own(tmp_path, rows)
    hub = HubData(template="{premise} {kind}?", choice_fields=("one", "two"))
    task = load_task(Task("hf:org/own", shots=4, hub=hub), 0, [tmp_path])
    assert task.labels == ("one", "two")
    row = task.train[0]
    number = row.text.split()[1]
    assert (row.text, row.choices) == (f"p {number} cause?", (f"a {number}", "b"))
    hub = HubData(template="{premise}", pair_field="two")
    task = load_task(Task("hf:org/own", labels=("x", "y"), shots=4, hub=hub), 0, [tmp_path])
    assert {row.pair for row in task.train} == {"b"}
    missing = Task("hf:org/own", labels=("x", "y"), hub=HubData(choice_fields=("one", "no")))
    assert refusal(missing, tmp_path).violations[0].field == "spec.task.hub.text_field"


def test_numbers_need_their_words_and_empty_rows_are_left_out(tmp_path: Path) -> None:
    rows = [{"text": f"text {n}", "label": n % 2} for n in range(40)]
    own(tmp_path, [*rows, {"text": " ", "label": 0}, {"text": "no label", "label": None}])
    assert refusal(Task("hf:org/own"), tmp_path).violations[0].field == "spec.task.labels"
    task = load_task(Task("hf:org/own", labels=("no", "yes"), shots=4), 0, [tmp_path])
    every = (*task.train, *task.selection, *task.test)
    assert all(row.label == int(row.text.split()[1]) % 2 for row in every)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train.json", json.dumps([{"text": f"t {n}", "label": "ab"[n % 2]} for n in range(40)])),
        ("train.csv", "text,label\n" + "\n".join(f"t {n},{'ab'[n % 2]}" for n in range(40))),
        ("train.tsv", "text\tlabel\n" + "\n".join(f"t {n}\t{'ab'[n % 2]}" for n in range(40))),
    ],
)
def test_the_other_formats_of_the_hub(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / name).write_text(content)
    task = load_task(Task("hf:own", shots=4), 0, [tmp_path])
    assert len(task.train) == 8
    assert all(row.label == int(row.text[2:]) % 2 for row in task.train)


@pytest.mark.parametrize(
    ("task", "field", "says"),
    [
        (Task("hf:super_glue/boolq"), "name", "rte"),
        (Task("hf:nobody/nothing"), "name", "mentorgrad tasks pull hf:nobody/nothing"),
        (Task("hf:super_glue/rte", hub=HubData(train="dev")), "hub.train", "train, validation"),
        (Task("hf:super_glue/rte", hub=HubData(test="test")), "hub.test", "no row with a text and"),
        (Task("hf:super_glue/rte", hub=HubData(text_field="x")), "hub.text_field", "premise, hypo"),
        (Task("hf:super_glue/rte", hub=HubData(label_field="y")), "hub.label_field", "premise"),
        (
            Task("hf:super_glue/rte", hub=HubData(template="{z}")),
            "hub.template",
            "column 'z' does not exist",
        ),
        (Task("hf:super_glue/rte", labels=("a", "b", "c")), "labels", "has 2 classes, not 3"),
        (Task("hf:super_glue/rte", shots=1000), "shots", "lower `shots`"),
    ],
)
def test_what_is_no_task_says_which_field_and_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: Task, field: str, says: str
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    rte(tmp_path / "super_glue")
    error = refusal(task, tmp_path)
    assert error.violations[0].field == f"spec.task.{field}"
    assert says in error.message


@pytest.mark.parametrize(
    "place", ["/etc/*.jsonl", "../other/*.jsonl", "https://example.com/x.jsonl", "~/x.jsonl"]
)
def test_a_card_cannot_name_files_elsewhere(tmp_path: Path, place: str) -> None:
    write_jsonl(tmp_path / "other/train.jsonl", [{"text": "secret", "label": "a"}])
    card(tmp_path / "org/bad", f"configs:\n- config_name: default\n  data_files: '{place}'")
    assert "outside the data set" in refusal(Task("hf:org/bad"), tmp_path).message


def test_a_second_card_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    def unwanted(*_: Any, **__: Any) -> None:
        raise AssertionError("the package was asked")

    monkeypatch.setattr(datasets, "load_dataset_builder", unwanted)
    own(tmp_path, [{"text": "x", "label": "a"}])
    second = tmp_path / "org/own/.huggingface.yaml"
    for make in (lambda: second.write_text("configs: 5"), lambda: second.symlink_to("nowhere")):
        make()
        assert (
            ".huggingface.yaml, which is not read" in refusal(Task("hf:org/own"), tmp_path).message
        )
        second.unlink()


def test_reading_a_data_set_opens_no_connection_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unwanted(*_: Any) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", unwanted)
    rte(tmp_path / "super_glue")
    (tmp_path / "super_glue/empty").mkdir()

    def there() -> list[tuple[str, int]]:
        return sorted((str(path), path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))

    before = there()
    assert load_task(Task("hf:super_glue/rte", shots=4), 0, [tmp_path]).train
    assert there() == before


def test_a_file_that_is_exchanged_after_the_layout_was_read_is_refused(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "secret.jsonl", [{"text": "secret", "label": "a"}])
    own(tmp_path / "root", [{"text": "x", "label": "a"}])
    layout = Layout.of(LocalDataSet(tmp_path / "root/org/own", None))
    (file,) = layout.files["train"]
    assert [dict(record) for _, record in layout.records(file, ["text"])] == [
        {"text": "x", "label": "a"}
    ]
    file.unlink()
    file.symlink_to(tmp_path / "secret.jsonl")
    with pytest.raises(MalformedError, match="outside the data set"):
        list(layout.records(file, ["text"]))


def test_links_that_leave_the_data_set_and_scripts_are_refused(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "secret.jsonl", [{"text": "secret", "label": "a"}])
    folder = tmp_path / "root/org/own"
    folder.mkdir(parents=True)
    (folder / "train.jsonl").symlink_to(tmp_path / "secret.jsonl")
    error = refusal(Task("hf:org/own"), tmp_path / "root")
    assert "is outside the data set" in error.message
    (folder / "train.jsonl").unlink()
    (folder / "own.py").write_text("raise SystemExit('code was run')")
    assert refusal(Task("hf:org/own"), tmp_path / "root").reason == "DATA_MALFORMED"


def test_what_cannot_be_read_is_said_in_one_line(tmp_path: Path) -> None:
    broken = tmp_path / "org/own/train.parquet"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"not parquet")
    assert refusal(Task("hf:org/own"), tmp_path).reason == "DATA_MALFORMED"
    broken.unlink()
    own(tmp_path, [{"text": "x", "label": "a"}])
    for metadata in ("configs: 5", "configs:\n- config_name: [1]\n  data_files: 3", "a: [", "- x"):
        card(tmp_path / "org/own", metadata)
        assert refusal(Task("hf:org/own"), tmp_path).reason == "DATA_MALFORMED"


# -- the hub's cache --------------------------------------------------------------------------


def cached(cache: Path, repo: str, revision: str = "a" * 40) -> Path:
    """A download as huggingface-hub lays it out: snapshots of links into blobs."""
    folder = cache / f"datasets--{repo.replace('/', '--')}"
    plain = rte(cache / "plain")
    snapshot = folder / "snapshots" / revision
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(revision)
    (folder / "blobs").mkdir()
    for number, file in enumerate(p for p in sorted(plain.rglob("*")) if p.is_file()):
        blob = folder / "blobs" / str(number)
        shutil.copy(file, blob)
        link = snapshot / file.relative_to(plain)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    shutil.rmtree(plain)
    return snapshot


@pytest.mark.parametrize("revision", ["", "@main", f"@{'a' * 40}"])
def test_what_was_pulled_is_found_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, revision: str
) -> None:
    from huggingface_hub import constants

    cached(tmp_path, "super_glue")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    task = load_task(Task(f"hf:super_glue/rte{revision}", shots=4), 0, ())
    assert (len(task.train), len(task.test)) == (8, 20)
    with pytest.raises(NotFound, match="tasks pull"):
        dataset_refs.resolve("hf:super_glue/rte@v2")


def test_a_data_root_may_be_a_copy_of_the_cache(tmp_path: Path) -> None:
    snapshot = cached(tmp_path, "org/set")
    assert dataset_refs.resolve("hf:org/set/rte", [tmp_path]).folder == snapshot
    assert len(load_task(Task("hf:org/set", shots=4), 0, [tmp_path]).train) == 8


@pytest.mark.slow
def test_the_service_checks_specs_and_reads_a_data_set_without_torch(tmp_path: Path) -> None:
    rte(tmp_path / "super_glue")
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from mentorgrad.domain.objective import CausalPrompt\n"
        "from mentorgrad.domain.spec import RunSpec, Task\n"
        "from trainer_service.control_plane.validation import validate_objective\n"
        "from trainer_service.tasks.load import load_task\n"
        "import trainer_service.optimizers.schedule\n"
        "for spec in (RunSpec(), RunSpec(CausalPrompt())):\n"
        "    validate_objective(spec)\n"
        "heavy = {'torch', 'transformers'}\n"
        "assert not {*heavy, 'pyarrow'} & set(sys.modules)\n"
        f"load_task(Task('hf:super_glue/rte', shots=4), 0, [Path({str(tmp_path)!r})])\n"
        "assert not heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


# -- pulling ----------------------------------------------------------------------------------


class Hub:
    """What huggingface-hub would answer, by repository."""

    def __init__(self, folders: Mapping[str, Path | Exception]) -> None:
        import huggingface_hub.errors

        self.errors = huggingface_hub.errors
        self.asked: list[tuple[str, str | None]] = []
        self._folders = folders

    def snapshot_download(self, repo: str, **options: Any) -> str:
        assert options["repo_type"] == "dataset"
        assert not any(pattern.endswith(".py") for pattern in options["allow_patterns"])
        self.asked.append((repo, options["revision"]))
        found = self._folders.get(repo)
        if isinstance(found, Exception):
            raise found
        if found is None:
            import httpx

            raise self.errors.RepositoryNotFoundError(
                "404", response=httpx.Response(404, request=httpx.Request("GET", "http://hub"))
            )
        return str(found)


def test_pulling_tries_both_readings_and_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    hub = Hub({"super_glue": rte(tmp_path / "sg"), "script": empty, "away": OSError("no route")})
    monkeypatch.setattr(dataset_refs, "hub_library", lambda: hub)
    found = dataset_refs.pull("hf:super_glue/rte@v1")
    assert (found.folder, found.config) == (tmp_path / "sg", "rte")
    assert hub.asked == [("super_glue/rte", "v1"), ("super_glue", "v1")]
    with pytest.raises(SystemExit) as left:
        app(["tasks", "pull", "hf:super_glue/rte"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"{tmp_path / 'sg'}\n"
    with pytest.raises(SystemExit) as left:
        app(["tasks", "pull", "rte"])
    assert left.value.code != 0
    assert hub.asked[-1] == ("aps/super_glue", None)
    with pytest.raises(NotFound, match="refs/convert/parquet"):
        dataset_refs.pull("hf:script")
    with pytest.raises(NotFound, match="has no data set hf:nothing"):
        dataset_refs.pull("hf:nothing")
    with pytest.raises(Unavailable, match="no route"):
        dataset_refs.pull("hf:away")
