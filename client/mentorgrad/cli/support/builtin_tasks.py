"""The built-in tasks as tables. Their files lie in the trainer's package, which is not imported."""

from __future__ import annotations

import json
from pathlib import Path

from mentorgrad.cli.support.output_paths import output_file
from mentorgrad.cli.support.row_files import KINDS, row_file
from mentorgrad.errors import InvalidInput, NotFound, Unsupported
from mentorgrad.files import replacing
from mentorgrad.installed import pip_line
from mentorgrad.model_refs import resolve

_SPLITS = ("train", "selection", "test")


def write_builtin(name: str, output: Path | None) -> tuple[int, Path]:
    """Writes all rows of a built-in task to a table.

    Args:
        name: Name of the task.
        output: The file, whose suffix tells the format; None: ``NAME.csv`` here.

    Returns:
        Number of rows, and the file.

    Raises:
        InvalidInput: There is no such task, or the file cannot be written.
        Unsupported: The extra ``trainer`` is not installed.
    """
    folder = _folder(name)
    path = output_file("--output", output or Path(f"{name}.csv"))
    kind = path.suffix.casefold().removeprefix(".")
    if kind not in KINDS:
        raise InvalidInput.field("--output", f"must end in .{', .'.join(KINDS)}; not {path.name}")
    card = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    text, label = card["columns"]["text"], card["columns"]["label"]
    count = 0
    with replacing(path) as file:
        rows = row_file(kind, file, (text, label), ())
        for split in _SPLITS:
            for line in (folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines():
                record = json.loads(line)
                rows.write({text: record["text"], label: card["labels"][record["label"]]})
                count += 1
        rows.close()
    return count, path


def _folder(name: str) -> Path:
    try:
        tasks = resolve("pkg:trainer_service/tasks")
    except NotFound:
        raise Unsupported(
            f"the built-in tasks are not installed; run: {pip_line('trainer')}",
            reason="MISSING_EXTRA",
        ) from None
    known = sorted(card.parent.name for card in tasks.glob("*/task.json"))
    if name not in known:
        raise InvalidInput(f"{name!r} is not a built-in task; known: {', '.join(known)}")
    return tasks / name
