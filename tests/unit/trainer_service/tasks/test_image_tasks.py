"""Tasks of images: a folder per class, a table of paths, and data sets of the hub."""

from __future__ import annotations

import io
import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from mentorgrad.domain.spec import DataFiles, HubData, Task
from mentorgrad.errors import InvalidInput, PreconditionFailed
from mentorgrad.field_limits import violations
from mentorgrad.tables.malformed import MalformedError
from trainer_service.tasks import images
from trainer_service.tasks.load import load_task

WORDS = ("cat", "dog")


def content(seed: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (2, 2), (seed % 256, seed // 256, 7)).save(file, "PNG")
    return file.getvalue()


def write(folder: Path, begin: int = 0, count: int = 4, names: tuple[str, ...] = WORDS) -> Path:
    for label, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for number in range(begin, begin + count):
            (folder / name / f"{number}.png").write_bytes(content(2 * number + label))
    return folder


def task(train: str = "pets", **fields: Any) -> Task:
    data = DataFiles(train, **fields)
    return Task(name="pets", data=data, labels=WORDS, description="which pet", shots=2)


def refused(what: Task, root: Path) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        load_task(what, 0, [root])
    return caught.value


# -- a folder per class -----------------------------------------------------------------------


def test_each_class_has_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "pets")
    (tmp_path / "pets" / "cat" / ".DS_Store").write_bytes(b"x")
    found = load_task(task(), 0, [tmp_path])
    assert found.has_images
    assert Counter(row.label for row in found.train) == {0: 2, 1: 2}
    for row in (*found.train, *found.selection):
        assert row.image is not None
        assert row.text == ""
        assert row.image.name.startswith(f"{WORDS[row.label]}/")
        assert row.image.read() == (tmp_path / "pets" / row.image.name).read_bytes()


def test_folders_may_be_named_by_label_values(tmp_path: Path) -> None:
    write(tmp_path / "pets", names=("0", "1"))
    by_index = load_task(task(), 0, [tmp_path])
    write(tmp_path / "own", names=("n01", "n02"))
    by_value = load_task(replace(task("own"), label_values=("N01", "N02")), 0, [tmp_path])
    assert by_index.digest == by_value.digest, "rows are what the images are, whatever their names"


def test_one_image_stands_in_one_split(tmp_path: Path) -> None:
    write(tmp_path / "pets", count=6)
    write(tmp_path / "test", begin=4, count=3)
    found = load_task(task(test="test"), 0, [tmp_path])
    assert found.dropped == 4
    assert len(found.test) == 6


def test_the_digest_is_that_of_the_images(tmp_path: Path) -> None:
    write(tmp_path / "pets", count=3)
    before = load_task(task(), 0, [tmp_path])
    (tmp_path / "pets" / "cat" / "0.png").write_bytes(content(999))
    after = load_task(task(), 0, [tmp_path])
    assert before.digest != after.digest
    changed = next(
        row.image
        for row in (*before.train, *before.selection)
        if row.image and row.image.name == "cat/0.png"
    )
    with pytest.raises(PreconditionFailed, match=r"the image cat/0\.png was changed"):
        changed.read()


def test_what_is_no_class_is_named(tmp_path: Path) -> None:
    write(tmp_path / "pets")
    (tmp_path / "pets" / "horse").mkdir()
    assert "'horse' is not the folder of one of the labels" in refused(task(), tmp_path).message
    (tmp_path / "pets" / "horse").rename(tmp_path / "horse")
    (tmp_path / "pets" / "dog" / "notes.txt").write_text("x")
    assert "'dog/notes.txt' is no image; its name must end in" in refused(task(), tmp_path).message
    (tmp_path / "pets" / "dog" / "notes.txt").rename(tmp_path / "pets" / "dog" / "empty.png")
    (tmp_path / "pets" / "dog" / "empty.png").write_bytes(b"")
    assert "dog/empty.png: is empty" in refused(task(), tmp_path).message


def test_images_of_one_class_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "pets", names=("cat",))
    error = refused(task(), tmp_path)
    assert error.reason == "TOO_FEW_ROWS"
    assert "class 'dog' has no rows for train" in error.message


def test_a_folder_without_classes_tells_nothing_of_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "secret.png").write_bytes(b"x")
    error = refused(task("private"), tmp_path)
    assert error.reason == "DATA_NOT_FOUND"
    assert "nor a folder with folders named as labels are" in error.message
    assert "secret" not in error.message


@pytest.mark.parametrize("inside", [True, False])
def test_links_are_followed_within_the_roots(tmp_path: Path, inside: bool) -> None:
    root = tmp_path / "root"
    write(root / "pets")
    other = write((root if inside else tmp_path) / "other", begin=10, names=("dog",))
    (root / "pets" / "cat" / "link.png").symlink_to(other / "dog" / "10.png")
    if inside:
        assert load_task(task(), 0, [root]).has_images
        return
    assert "there is no image 'cat/link.png'" in refused(task(), root).message
    (root / "pets" / "cat" / "link.png").unlink()
    (root / "pets" / "1").symlink_to(other / "dog")
    error = refused(task(), root)
    assert "'1' is not the folder of one of the labels" in error.message


def test_an_image_file_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "pets")
    monkeypatch.setattr(images, "MAX_IMAGE_BYTES", 20)
    assert "bytes; the limit is 20" in refused(task(), tmp_path).message


# -- a table ----------------------------------------------------------------------------------


def table(folder: Path, *paths: str) -> Task:
    lines = [f"{path},{WORDS[index % 2]}" for index, path in enumerate(paths)]
    (folder / "rows.csv").write_text("\n".join(["file,label", *lines]))
    return task(f"{folder.name}/rows.csv", image_field="file")


def test_a_column_names_images_beside_the_table(tmp_path: Path) -> None:
    write(tmp_path / "pets")
    paths = [f"{word}/{number}.png" for number in range(4) for word in WORDS]
    by_table = load_task(table(tmp_path / "pets", *paths), 0, [tmp_path])
    (tmp_path / "pets" / "rows.csv").unlink()
    assert by_table.has_images
    by_folder = load_task(task(), 0, [tmp_path])
    of = {row.identity: row.label for row in (*by_folder.train, *by_folder.selection)}
    assert {row.identity: row.label for row in (*by_table.train, *by_table.selection)} == of


@pytest.mark.parametrize(
    "path", ["absent.png", "../../outside.png", "/etc/hostname", "cat", "", "a\x01", "link.png"]
)
def test_a_row_without_its_image_is_named(tmp_path: Path, path: str) -> None:
    root = tmp_path / "root"
    write(root / "pets")
    (tmp_path / "outside.png").write_bytes(content(1))
    (root / "pets" / "link.png").symlink_to(tmp_path / "outside.png")
    error = refused(table(root / "pets", "cat/0.png", "dog/0.png", path), root)
    assert error.violations[0].field == "spec.task.data.train"
    assert "rows.csv: line 4: column 'file'" in error.message
    assert ("there is no image" if path else "neither an image nor the path") in error.message


def test_a_parquet_file_may_hold_the_images(tmp_path: Path) -> None:
    rows = [{"file": content(n), "label": WORDS[n % 2]} for n in range(8)]
    rows[7]["file"] = None
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "rows.parquet")
    what = task("rows.parquet", image_field="file")
    assert "row 8: column 'file' holds neither" in refused(what, tmp_path).message
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows[:7]), tmp_path / "rows.parquet")
    found = load_task(what, 0, [tmp_path])
    assert {row.image.read() for row in found.train if row.image} <= {row["file"] for row in rows}


def test_images_have_no_second_text() -> None:
    wrong = violations(task(image_field="file", pair_field="text"))
    assert [violation.field for violation in wrong] == ["data.pair_field"]


# -- data sets of the hub ---------------------------------------------------------------------


def hub(**fields: Any) -> Task:
    return Task(name="hf:own/pets", shots=2, **fields)


@pytest.mark.slow
def test_a_data_set_with_a_column_of_images(tmp_path: Path) -> None:
    rows = [
        {"picture": {"bytes": content(n), "path": f"{n}.png"}, "label": n % 2} for n in range(20)
    ]
    features = {
        "picture": {"_type": "Image"},
        "label": {"names": list(WORDS), "_type": "ClassLabel"},
    }
    info = json.dumps({"info": {"features": features}})
    for split, part in (("train", rows[:14]), ("test", rows[14:])):
        file = tmp_path / "own" / "pets" / "data" / f"{split}-00000-of-00001.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        made = pyarrow.Table.from_pylist(part).replace_schema_metadata({"huggingface": info})
        pyarrow.parquet.write_table(made, file)
    found = load_task(hub(), 0, [tmp_path])
    assert found.labels == WORDS
    assert found.has_images
    assert len(found.test) == 6
    named = load_task(hub(hub=HubData(text_field="picture")), 0, [tmp_path])
    assert named.digest == found.digest


@pytest.mark.slow
def test_a_data_set_of_image_folders(tmp_path: Path) -> None:
    folder = tmp_path / "own" / "pets"
    write(folder / "train", count=6)
    write(folder / "test", begin=6, count=3)
    found = load_task(hub(), 0, [tmp_path])
    assert found.labels == WORDS
    assert (len(found.train), len(found.test)) == (4, 6)
    assert {row.image.name for row in found.test if row.image} >= {"cat/6.png", "dog/8.png"}
    for split in ("train", "test"):
        (folder / split / "dog").rename(tmp_path / split)
    assert "has images of one class only" in refused(hub(), tmp_path).message


@pytest.mark.parametrize("exchange", [os.mkfifo, lambda path: path.symlink_to("elsewhere.png")])
def test_an_image_that_became_something_else_is_not_read(
    tmp_path: Path, exchange: Callable[[Path], None]
) -> None:
    path = tmp_path / "1.png"
    (tmp_path / "elsewhere.png").write_bytes(content(1))
    path.write_bytes(content(1))
    image = images.EncodedImage.of(path, "1.png")
    path.unlink()
    exchange(path)
    with pytest.raises(PreconditionFailed) as caught:
        image.read()
    assert caught.value.reason == "DATA_CHANGED"
    with pytest.raises(MalformedError):
        images.EncodedImage.of(path, "1.png")
