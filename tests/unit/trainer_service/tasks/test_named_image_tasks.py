"""Published tasks of images: from a folder per class, and as imports of what is published."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from mentorgrad.cli.main import app
from mentorgrad.cli.support.task_import import import_task
from mentorgrad.domain.spec import Task
from mentorgrad.errors import InvalidInput
from mentorgrad.named_tasks import published_tasks
from tests.unit.trainer_service.tasks.test_image_tasks import WORDS, content
from trainer_service.tasks.data import TaskData
from trainer_service.tasks.load import load_task

IMAGES = {name: task for name, task in published_tasks().items() if task.has_images}
PETS = tuple(f"breed_{number:02}" for number in range(37))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where tasks are imported to, and the hub's cache, which is empty."""
    from huggingface_hub import constants

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "home" / "mentorgrad" / "tasks"


def write(folder: Path, begin: int = 0, count: int = 4, names: tuple[str, ...] = WORDS) -> Path:
    """Writes different images, in a folder per class."""
    for label, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for number in range(begin, begin + count):
            (folder / name / f"{number}.png").write_bytes(content(100 * label + number))
    return folder


def load(name: str, *roots: Path, **fields: Any) -> TaskData:
    return load_task(Task(name, shots=2, selection_rows=1, **fields), 0, roots)


def refusal(name: str, *roots: Path, **fields: Any) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        load(name, *roots, **fields)
    return caught.value


def words_of(data: TaskData) -> dict[str, str]:
    """Digest of an image → its label word."""
    rows = (*data.train, *data.selection, *data.test)
    return {row.identity: data.labels[row.label] for row in rows}


def test_the_table_is_complete() -> None:
    assert set(IMAGES) == {
        *("imagenet", "caltech101", "oxford_pets", "stanford_cars", "oxford_flowers", "food101"),
        *("fgvc_aircraft", "sun397", "dtd", "eurosat", "ucf101"),
    }
    for task in IMAGES.values():
        assert task.homepage.startswith("https://")
        assert "{label}" in task.prompt
        assert len(task.labels) or task.classes
        assert len(task.folders) == len(task.labels)


# -- a data root ------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["", "train"])
def test_classes_are_named_by_their_folders(tmp_path: Path, split: str) -> None:
    write(tmp_path / "dtd" / split, count=5, names=("banded", "polka_dotted"))
    data = load("dtd", tmp_path)
    assert data.has_images
    assert (data.labels, data.description) == (
        ("banded", "polka dotted"),
        "which texture the photo shows",
    )
    assert data.untuned_prompts == ["banded texture.", "polka dotted texture."]
    assert Counter(row.label for row in data.test) == {0: 1, 1: 1}
    assert (
        refusal("dtd", tmp_path, labels=("a", "b", "c")).violations[0].field == "spec.task.labels"
    )


def test_folders_as_published_have_the_words_of_the_table(tmp_path: Path) -> None:
    task = IMAGES["eurosat"]
    for names in (task.folders, tuple(map(str, range(10)))):
        folder = tmp_path / names[0]
        write(folder / "eurosat" / "train", names=names)
        write(folder / "eurosat" / "test", begin=50, count=1, names=names)
        data = load("eurosat", folder)
        assert data.labels == task.labels
        assert len(data.test) == 10
        for row in data.test:
            assert row.image is not None
            assert row.image.name.startswith(names[row.label])
    write(tmp_path / "own" / "eurosat", names=("AnnualCrop", "Sea"))
    assert (
        "'Sea' is neither a label word nor a class index"
        in refusal("eurosat", tmp_path / "own").message
    )


def test_a_folder_of_your_own(tmp_path: Path) -> None:
    write(tmp_path / "mine", names=("sun", "rain"))
    card = {"description": "which weather it is", "labels": ["sun", "rain"]}
    (tmp_path / "mine" / "task.json").write_text(json.dumps(card))
    data = load("mine", tmp_path)
    assert data.labels == ("sun", "rain")
    assert data.untuned_prompts == ["sun", "rain"]
    names = {row.image.name.partition("/")[0]: row.label for row in data.train if row.image}
    assert names == {"sun": 0, "rain": 1}


def test_what_is_in_the_folder_beside_images_is_named(tmp_path: Path) -> None:
    write(tmp_path / "dtd" / "train")
    (tmp_path / "dtd" / "train" / "cat" / "notes.txt").write_text("x")
    assert "holds notes.txt beside images" in refusal("dtd", tmp_path).message
    (tmp_path / "dtd" / "train" / "cat" / "notes.txt").unlink()
    (tmp_path / "outside.png").write_bytes(content(1))
    (tmp_path / "dtd" / "train" / "cat" / "link.png").symlink_to(tmp_path / "outside.png")
    assert "link.png is outside the data set" in refusal("dtd", tmp_path).message


def test_images_of_one_class_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "dtd" / "train", names=("banded",))
    assert "has images of one class only" in refusal("dtd", tmp_path).message


def test_classes_keep_their_order(tmp_path: Path) -> None:
    write(tmp_path / "dtd", names=("banded", "dotted"))
    error = refusal("dtd", tmp_path, labels=("dotted", "banded"))
    assert error.violations[0].field == "spec.task.labels"
    assert "in the order of the classes: banded, dotted" in error.message


@pytest.mark.parametrize(
    ("name", "get"),
    [
        ("dtd", "mentorgrad tasks pull dtd (or: mentorgrad tasks import dtd FOLDER)"),
        (
            "ucf101",
            "get it from https://www.crcv.ucf.edu/data/UCF101.php, and run on it: mentorgrad",
        ),
    ],
)
def test_a_task_that_is_nowhere_says_which_folder_would_do(
    tmp_path: Path, name: str, get: str
) -> None:
    error = refusal(name, tmp_path)
    assert error.reason == "TASK_NOT_FOUND"
    assert get in error.message
    assert f"a data root that has a folder {name} with train/CLASS/*.jpg" in error.message


# -- importing --------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_import_is_read_as_its_source_is(tmp_path: Path, home: Path) -> None:
    source = write(tmp_path / "root" / "oxford_pets" / "train", count=3, names=PETS).parent
    write(source / "test", begin=3, count=1, names=PETS)
    path, splits = import_task("oxford_pets", source, home)
    assert [(split.split, split.rows) for split in splits] == [("train", 111), ("test", 37)]
    assert len({split.sha256 for split in splits}) == 2
    assert (path / "train" / "0000" / "0.png").samefile(source / "train" / PETS[0] / "0.png")
    imported, direct = load("oxford_pets"), load("oxford_pets", tmp_path / "root")
    assert imported.digest == direct.digest
    assert imported.labels[1] == "breed 01"
    path, (train, _) = import_task("oxford_pets", source, tmp_path / "few", per_class=2)
    assert train.rows == 74


@pytest.mark.slow
def test_coops_list_has_splits_and_class_names(tmp_path: Path, home: Path) -> None:
    source = tmp_path / "oxford_pets"
    write(source / "images", count=4, names=PETS)
    names = [name.upper() for name in reversed(PETS)]

    def listed(number: int) -> list[Any]:
        return [[f"{n.lower()}/{number}.png", i, n] for i, n in enumerate(names)]

    splits = {"train": [*listed(0), *listed(1)], "val": listed(2), "test": listed(3)}
    (source / "split_zhou_OxfordPets.json").write_text(json.dumps(splits))
    _, found = import_task("oxford_pets", source, home)
    assert {split.split: split.rows for split in found} == {
        "train": 74,
        "validation": 37,
        "test": 37,
    }
    data = load("oxford_pets")
    assert data.labels[0] == "BREED 36"
    assert len(data.selection) == 37
    first = next(row.image for row in data.test if row.label == 0)
    assert first is not None
    assert first.read() == (source / "images" / "breed_36" / "3.png").read_bytes()
    assert first.name == "0000/breed_36-3.png"


@pytest.mark.slow
def test_the_lists_of_fgvc_aircraft(tmp_path: Path, home: Path) -> None:
    source = tmp_path / "data"
    (source / "images").mkdir(parents=True)
    words = [f"F/A-{number}" for number in range(100)]
    (source / "variants.txt").write_text("\n".join(words) + "\n")
    for number, split in enumerate(("train", "val", "test")):
        lines = [f"{1000 * number + label:07} {word}" for label, word in enumerate(words)]
        (source / f"images_variant_{split}.txt").write_text("\n".join(lines) + "\n")
        for label in range(100):
            name = f"{1000 * number + label:07}.jpg"
            (source / "images" / name).write_bytes(content(100 * number + label))
    import_task("fgvc_aircraft", source, home)
    data = load("fgvc_aircraft")
    assert data.labels[18] == "F/A-18"
    assert [row.image.name for row in data.test if row.label == 18 and row.image] == [
        "0018/0002018.jpg"
    ]


def test_words_for_folders_stand_in_a_file_beside_them(tmp_path: Path) -> None:
    source = write(tmp_path / "imagenet" / "images", names=("n02", "n01")).parent
    (source / "classnames.txt").write_text("n02 tench\nn01 great white shark\n")
    with pytest.raises(InvalidInput, match="has 2 classes; imagenet has 1000"):
        import_task("imagenet", source / "images", tmp_path / "home")
    card = {"description": "which fish the photo shows"}
    (source / "images" / "task.json").write_text(json.dumps(card))
    path, _ = import_task("fishes", source / "images", tmp_path / "home")
    assert json.loads((path / "task.json").read_text())["labels"] == ["tench", "great white shark"]
    assert set(words_of(load("fishes", tmp_path / "home")).values()) == {
        "tench",
        "great white shark",
    }
    (source / "classnames.txt").write_text("n02 tench\n")
    with pytest.raises(InvalidInput, match=r"classnames\.txt has no line for the folder 'n01'"):
        import_task("more", source / "images", tmp_path / "home")


@pytest.mark.slow
def test_a_copy_of_the_hub_is_unpacked(tmp_path: Path, home: Path) -> None:
    features = {"label": {"names": list(PETS), "_type": "ClassLabel"}}
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    (tmp_path / "copy" / "data").mkdir(parents=True)
    for split, begin, count in (("train", 0, 3), ("test", 3, 1)):
        rows = [
            {"image": {"bytes": content(100 * label + n), "path": f"{n}.PNG"}, "label": label}
            for n in range(begin, begin + count)
            for label in range(37)
        ]
        rows.append({"image": {"bytes": content(9999), "path": None}, "label": -1})
        table = pyarrow.Table.from_pylist(rows).replace_schema_metadata(about)
        pyarrow.parquet.write_table(
            table, tmp_path / "copy" / "data" / f"{split}-00000-of-00001.parquet"
        )
    _, (train, test) = import_task("oxford_pets", tmp_path / "copy", home)
    assert (train.rows, train.left_out, test.rows) == (111, 1, 37)
    data = load("oxford_pets")
    assert data.labels[36] == "breed 36"
    (tmp_path / "copy").rename(tmp_path / "oxford_pets")
    assert words_of(load("oxford_pets", tmp_path)) == words_of(data)


@pytest.mark.parametrize(
    ("made", "says"),
    [
        ({}, "has no images of dtd: neither CLASS"),
        ({"images/train/a/0.png": b"x"}, "has no images of dtd"),
        ({"train/a/0.png": b"x", "train/b/0.png": b"y"}, "has 2 classes; dtd has 47"),
        ({"split_x.json": b"[]"}, "split_x.json is no list of splits"),
        ({"split_x.json": b"\xff"}, "split_x.json is no list of splits"),
        ({"split_x.json": b'{"train": [], "val": [], "test": []}'}, "class indices are not 0, 1"),
        ({"variants.txt": b"x"}, "variants.txt is no list of splits"),
        ({"train/a/0.png": b"x", "classnames.txt": b"\xff"}, "classnames.txt is no text in UTF-8"),
        (
            {"split_x.json": b'{"train": [["a", 1, "x"]], "val": [], "test": []}'},
            "class indices are not 0, 1, 2",
        ),
        (
            {"split_x.json": b'{"train": [["a.png", 0, "x"]], "val": [], "test": []}'},
            "'a.png' is neither in",
        ),
        ({"train.parquet": b"x"}, "not a readable parquet file"),
        ({"train.csv": b"image,label\n"}, "train.csv has no images whose classes have names"),
    ],
)
def test_what_cannot_be_imported_leaves_nothing(
    tmp_path: Path, home: Path, made: dict[str, bytes], says: str
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name, data in made.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(data)
    with pytest.raises(InvalidInput) as caught:
        import_task("dtd", source, home)
    assert says in caught.value.message
    assert not home.exists()


def test_files_that_are_no_images_leave_nothing(tmp_path: Path, home: Path) -> None:
    task = IMAGES["eurosat"]
    source = write(tmp_path / "source", names=task.folders)
    (source / "River" / "notes.txt").write_text("x")
    with pytest.raises(InvalidInput, match=r"'notes\.txt' is no image; its name must end in"):
        import_task("eurosat", source, home)
    (source / "River" / "notes.txt").unlink()
    for path in (source / "River").iterdir():
        path.unlink()
    with pytest.raises(InvalidInput, match="the class 'river' has no images in train"):
        import_task("eurosat", source, home)
    assert list(home.iterdir()) == []


@pytest.mark.slow
def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "EuroSAT", names=IMAGES["eurosat"].folders)
    for arguments, code in (
        (["import", "eurosat", str(source), "--per-class", "3"], 0),
        (["list"], 0),
        (["pull", "ucf101"], 2),
    ):
        with pytest.raises(SystemExit) as left:
            app(["tasks", *arguments])
        assert left.value.code == code
    said = capsys.readouterr()
    assert said.out.startswith("train: 30 rows, SHA-256 ")
    assert "\ndtd\t47\taccuracy\thf:tanganke/dtd\t" in said.out
    assert "\nucf101\t101\taccuracy\thttps://www.crcv.ucf.edu/" in said.out
    assert "run: mentorgrad tasks import ucf101 FOLDER" in said.err
