"""Where is a mentor worth it? Arms with and without a mentor, at equal numbers of texts and limits.

Runs every cell that the file of records lacks, one JSON line per finished run; the same command
goes on where another one stopped, also on another machine. Then writes tables and a picture, and
prints one JSON object: the largest mentor against no prompt, random words and the description, in
test loss on the largest tuned model and the first budget. Negative: the mentor is better. Exit
code 1: a run failed; the same command does it again.

    python -m bench.mentor_value --quick
    python -m bench.mentor_value --tasks DIR --only tickets,sst2 --tuned 135M,0.5B=FILE.gguf \\
        --mentor 135M,1.5B=FILE.gguf --budgets 0,20,40,f400 --seeds 10
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.mentor_value.arms import Allowance, Model
from bench.mentor_value.conduct import conduct, prepare_tasks, services, test_rows
from bench.mentor_value.figures import arms_of, difference, none_at
from bench.mentor_value.picture import draw
from bench.mentor_value.plan import Campaign, check_arms, hours, weights
from bench.mentor_value.records import Record, cell_of, open_records, read_records
from bench.mentor_value.tables import largest_mentor, tables
from bench.paired import environment
from mentorgrad.cli.support.output import note
from mentorgrad.domain.objective import Calibration, CausalPrompt
from mentorgrad.errors import InvalidInput, MentorgradError
from mentorgrad.model_refs import DEFAULT_MENTOR_MODEL

RESULTS = Path(__file__).parent.parent / "results"
RECORDS = RESULTS / "mentor_value.jsonl"

EMBEDDED = "135M"
"""Size class of the embedded model, which needs no file."""

_QUICK = {"only": "tickets", "tuned": EMBEDDED, "mentor": EMBEDDED, "budgets": "0", "seeds": 3}


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.mentor_value", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--objective", default="causal_prompt", help="or served_prompt")
    parser.add_argument("--tuned", default=EMBEDDED, metavar="SIZE[=FILE],...")
    parser.add_argument("--mentor", default=EMBEDDED, metavar="SIZE[=FILE],...")
    parser.add_argument("--budgets", default="0,20", help="STEPS, 0xROUNDS or fPASSES, ...")
    parser.add_argument("--shots", default="4", help="train rows per class, ...")
    parser.add_argument("--seeds", type=int, default=10, help="number of seeds")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--tasks", type=Path, metavar="DIR", help="folder of tasks")
    parser.add_argument("--only", default="", metavar="NAMES", help="tasks; default: all")
    parser.add_argument("--arms", default="", metavar="NAMES", help="default: by budget")
    parser.add_argument(
        "--calibration",
        choices=list(Calibration),
        type=Calibration,
        default=CausalPrompt().calibration,
        help="of all arms; default: that of causal_prompt",
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--records", type=Path, default=RECORDS, metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="one task, three seeds, no step")
    parser.add_argument("--plan", action="store_true", help="only say what would be done")
    parser.add_argument("--report", action="store_true", help="only report what is recorded")
    found = parser.parse_args(given)
    if found.quick:
        parser.set_defaults(**_QUICK, records=Path(tempfile.mkdtemp()) / "records.jsonl")
        found = parser.parse_args(given)
    return found


def models(text: str) -> dict[str, Model]:
    """Reads ``SIZE[=FILE],...``, the smallest first.

    Raises:
        InvalidInput: A size class is malformed, or a file is missing.
    """
    found = {}
    for part in _parts(text):
        name, _, file = part.partition("=")
        if not file and name != EMBEDDED:
            raise InvalidInput(f"{name}: only {EMBEDDED} is embedded; write {name}=FILE")
        if file and not Path(file).exists():
            raise InvalidInput(f"{name}: no file {file}")
        reference = str(Path(file).resolve()) if file else DEFAULT_MENTOR_MODEL
        found[name] = Model(name, reference)
    return dict(sorted(found.items(), key=lambda item: weights(item[0])))


def headline(records: Sequence[Record], campaign: Campaign) -> dict[str, Any]:
    """The largest mentor against the arms without an LLM, where the campaign looks first."""
    place = campaign.objective, campaign.tuned[-1], campaign.budgets[0]
    arms = arms_of(records, place)
    mentor = largest_mentor(arms)
    found: dict[str, Any] = {"tuned": place[1], "budget": place[2], "mentor": mentor}
    others = {"vs_none": none_at(arms)} | {
        f"vs_{name}": name for name in ("random_tokens", "description")
    }
    for name, other in others.items():
        against = difference(records, place, mentor, other) if mentor else None
        found[name] = None if against is None else against.as_json()
    return found


def main() -> None:
    """Runs what is missing and prints the result."""
    try:
        run(arguments())
    except (MentorgradError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def run(asked: argparse.Namespace) -> None:
    """Runs what the options ask for; raises MentorgradError for bad ones."""
    tuned, mentors = models(asked.tuned), models(asked.mentor)
    check_arms(_parts(asked.arms))
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        tasks = {
            task.name: task for task in prepare_tasks(asked.tasks, _parts(asked.only), directory)
        }
        campaign = Campaign(
            objective=asked.objective,
            tasks={
                task.name: (len(task.labels), test_rows(task, directory)) for task in tasks.values()
            },
            tuned=tuple(tuned),
            mentors=tuple(mentors),
            budgets=_budgets(asked.budgets),
            shots=tuple(map(int, _parts(asked.shots))),
            seeds=tuple(range(asked.first_seed, asked.first_seed + asked.seeds)),
            arms=_parts(asked.arms),
        )
        records = read_records(asked.records, asked.calibration)
        done = {cell_of(record) for record in records}
        cells = [cell for cell in campaign.cells() if cell not in done]
        rows = sum(map(campaign.rows, cells))
        time = hours(campaign, cells, records)
        note(f"{len(done)} runs recorded; planned: {len(cells)} runs, {rows} rows, {time:.1f} h")
        failed = 0
        if cells and not (asked.plan or asked.report):
            used = [mentors[name] for name in mentors if any(cell.mentor == name for cell in cells)]
            with (
                open_records(asked.records) as file,
                services(directory, list(tuned.values()), used, asked.threads) as client,
            ):
                failed = conduct(client, cells, tasks, tuned, mentors, asked.calibration, file)
    records = read_records(asked.records, asked.calibration)
    print(tables(records))
    if not asked.plan:
        asked.records.with_suffix(".md").write_text(
            _HEAD.format(calibration=asked.calibration) + tables(records)
        )
        draw(records, asked.records.with_suffix(".png"))
    print(
        json.dumps(
            {
                **headline(records, campaign),
                "runs": len(records),
                "missing": len(cells) if asked.plan or asked.report else failed,
                "environment": environment("torch", "transformers", "llama-cpp-python"),
            }
        )
    )
    if failed:
        raise SystemExit(1)


_HEAD = """<!-- written by python -m bench.mentor_value -->
# Where a mentor is worth it

Test figures of the best prompt by *selection*: means over tasks of means over seeds. Differences
are paired by task, shots and seed, with 95 % intervals: of test loss, where below 0 the mentor is
better, and of test accuracy, where above 0 it is. Fewer than 10 seeds are called weak. The columns
of tasks are test losses. Calibration: `{calibration}`.

"""


def _budgets(text: str) -> tuple[str, ...]:
    for part in _parts(text):
        try:
            Allowance.parse(part)
        except ValueError as error:
            raise InvalidInput.field(
                "--budgets", f"{part!r} is none of STEPS, 0xROUNDS and fPASSES"
            ) from error
    return _parts(text)


def _parts(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(",")))


if __name__ == "__main__":
    main()
