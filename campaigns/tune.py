"""Tunes and predicts by the command line on tables of real tasks, each in another format.

    python -m campaigns.tune FOLDER [--tasks agnews,rte,mpqa] [--rows 1000] [--minutes 5]

FOLDER holds a folder per task: ``task.json`` with ``labels``, and ``train.jsonl`` and
``validation.jsonl`` with ``text``, ``text_pair`` and ``label`` (an index). Of each task, the train
rows become a table that is tuned on, and the validation rows one that is predicted. Without the
folder, nothing is done.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from mentorgrad.cli.support.row_files import row_file

FORMATS = ("csv", "tsv", "parquet")
COMMAND = (sys.executable, "-c", "from mentorgrad.cli.main import main; main()")


def write_table(source: Path, labels: list[str], target: Path, most: int, pair: bool) -> int:
    """Writes rows of a task as a table; returns how many."""
    columns = ("sentence", *(("second",) if pair else ()), "category")
    with source.open(encoding="utf-8") as lines, target.open("wb") as file:
        rows = row_file(target.suffix[1:], file, columns, ())
        records = [json.loads(line) for line in islice(lines, most)]
        for record in records:
            row = {"sentence": record["text"], "category": labels[record["label"]]}
            rows.write(row | ({"second": record["text_pair"]} if pair else {}))
        rows.close()
    return len(records)


def called(*arguments: str) -> tuple[int, str]:
    """Runs the command line; returns its exit code and the last line of its output."""
    done = subprocess.run([*COMMAND, *arguments], stdout=subprocess.PIPE, text=True, check=False)
    lines = done.stdout.splitlines()
    return done.returncode, lines[-1] if lines else ""


def one_task(source: Path, kind: str, into: Path, rows: int, minutes: float) -> dict[str, Any]:
    """Tunes on a task and predicts with the result."""
    card = json.loads((source / "task.json").read_text(encoding="utf-8"))
    pair = bool(card.get("pair"))
    into.mkdir(parents=True, exist_ok=True)
    known, new = into / f"known.{kind}", into / f"new.{kind}"
    count = write_table(source / "train.jsonl", card["labels"], known, rows, pair)
    write_table(source / "validation.jsonl", card["labels"], new, rows, pair)
    columns = ["--text", "sentence", "--label", "category", *(["--pair", "second"] if pair else [])]
    result, out = into / "result", into / f"out.{kind}"
    begun = time.monotonic()
    code, line = called(
        *("tune", str(known), *columns, "--description", card["description"]),
        *("--output", str(result), "--minutes", str(minutes), "--json"),
    )
    found: dict[str, Any] = {"format": kind, "rows": count, "tune_code": code}
    if code:
        return found
    summary = json.loads(line)
    tests = {
        one["name"]: [round(one["test"]["accuracy"], 3), round(one["test"]["macro_f1"], 3)]
        for one in summary["methods"]
    }
    found |= {
        "objective": summary["objective"],
        "stopped": summary["stopped"],
        "choice": summary["choice"],
        "test_accuracy_and_macro_f1": tests,
        "tune_seconds": round(time.monotonic() - begun, 1),
    }
    begun = time.monotonic()
    code, line = called("predict", str(result), str(new), *columns, "-o", str(out), "--json")
    found |= {"predict_code": code, "predict_seconds": round(time.monotonic() - begun, 1)}
    if not code:
        figures = json.loads(line)
        found["predicted"] = figures["rows"]
        found["accuracy_of_new_rows"] = round(figures["agreement"]["accuracy"], 3)
    return found


def main() -> int:
    """Runs the campaign; returns the number of commands that failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tasks", default="agnews,rte,mpqa")
    parser.add_argument("--rows", type=int, default=1_000)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--into", type=Path, default=None)
    asked = parser.parse_args()
    names = [name for name in asked.tasks.split(",") if (asked.folder / name).is_dir()]
    if not names:
        print(json.dumps({"skipped": f"{asked.folder} holds none of {asked.tasks}"}))
        return 0
    into = asked.into or Path(tempfile.mkdtemp(prefix="tuned-"))
    found = {
        name: one_task(asked.folder / name, kind, into / name, asked.rows, asked.minutes)
        for name, kind in zip(names, cycle(FORMATS), strict=False)
    }
    failed = sum(bool(one["tune_code"] or one.get("predict_code")) for one in found.values())
    print(json.dumps({"failed": failed, "tasks": found}, ensure_ascii=False))
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
