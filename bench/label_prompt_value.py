"""Value of the mentor for `label_prompt`: its runs compared with those of controls without an LLM.

Runs the experiment `experiments/mentor_value.toml` on the built-in task and the tasks of a folder,
with real services, the embedded models and equal limits for all arms. Differences are of the test
loss of the returned snapshot, paired by task, shots and seed; negative: the mentor is better. The
runs are kept in `--directory`; the same command resumes an interrupted experiment.

    python -m bench.label_prompt_value [--quick] [--tasks DIR] [--only sst2,mpqa]
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.paired import environment
from bench.task_folder import read_tasks
from mentorgrad.cli.support.experiment_file import mentors_of, read_experiment, request_id_of
from mentorgrad.cli.support.experiment_watching import watch_experiment
from mentorgrad.cli.support.local_services import local_services
from mentorgrad.cli.support.output import Output, note
from mentorgrad.cli.support.processes import cores
from mentorgrad.cli.support.service_flags import flags
from mentorgrad.client import Client
from mentorgrad.domain.experiment import ExperimentSpec, Figure, Report, Tuning
from mentorgrad.reports import markdown

FILE = Path(__file__).parent.parent / "experiments" / "mentor_value.toml"

QUICK_TASKS, QUICK_SEEDS, QUICK_VARIATIONS = 2, 3, 1
QUICK_ARMS = ("mentor", "shuffled", "none", "random_tokens", "hint_tokens")
"""Changes to the experiment by `--quick`; all arms then have the middle learning rate."""


def experiment(folder: Path | None, only: tuple[str, ...], quick: bool) -> ExperimentSpec:
    """The experiment of the file, with more tasks or reduced."""
    spec = read_experiment(FILE)
    if folder is not None:
        spec = replace(spec, tasks=(*spec.tasks, *read_tasks(folder, only)))
    if not quick:
        return spec
    rates = sorted(spec.tuning.learning_rates)
    rate = replace(spec.base.optimizer, learning_rate=rates[len(rates) // 2])
    return replace(
        spec,
        base=replace(spec.base, optimizer=rate),
        variations=spec.variations[:QUICK_VARIATIONS],
        tasks=spec.tasks[-QUICK_TASKS:],
        seeds=spec.seeds[:QUICK_SEEDS],
        arms=tuple(arm for arm in spec.arms if arm.name in QUICK_ARMS),
        tuning=Tuning(),
    )


def conduct(spec: ExperimentSpec, folder: Path | None, directory: Path) -> Report:
    """Runs the experiment until it is complete."""
    out = Output()
    # The mentor is busy for only a few seconds per run, so the workers may use all cores.
    with (
        local_services(
            out,
            directory,
            mentors_of(spec),
            workers=cores(),
            model=None,
            trainer_flags=flags(data_root=folder),
        ) as address,
        Client(address) as client,
    ):
        made = client.create_experiment(spec, request_id_of(spec))
        for warning in made.warnings:
            note(f"warning: {warning}")
        watch_experiment(client, made.experiment.experiment_id, out)
        return client.get_report(made.experiment.experiment_id)


def against(report: Report, other: str) -> dict[str, Any]:
    """Pooled difference of the test loss to another arm."""
    found = next(
        comparison
        for comparison in report.comparisons
        if (comparison.other, comparison.figure) == (other, Figure.TEST_LOSS)
        and not comparison.task
        and not comparison.variation
    )
    difference = found.difference
    return {
        "mean": round(difference.mean, 5),
        "low": round(difference.low, 5),
        "high": round(difference.high, 5),
        "win_rate": round(found.win_rate, 3),
    }


def main() -> None:
    """Runs the experiment and prints the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="two tasks, three seeds, five arms, untuned"
    )
    parser.add_argument("--tasks", type=Path, metavar="DIR", help="folder of tasks")
    parser.add_argument("--only", default="", metavar="NAMES", help="tasks of the folder")
    parser.add_argument("--directory", type=Path, default=Path("mentorgrad-experiment"))
    arguments = parser.parse_args()
    only = tuple(name for name in arguments.only.split(",") if name)
    spec = experiment(arguments.tasks, only, arguments.quick)
    report = conduct(spec, arguments.tasks, arguments.directory)
    print(markdown.markdown(report))
    strongest = report.strongest_control
    print(
        json.dumps(
            {
                "vs_none": against(report, "none"),
                "vs_random_tokens": against(report, "random_tokens"),
                "vs_strongest_control": {"name": strongest, **against(report, strongest)},
                "vs_shuffled": against(report, "shuffled"),
                "verdict": report.verdict,
                "complete": report.complete,
                "tasks": [task.name for task in spec.tasks],
                "seeds": len(spec.seeds),
                "environment": environment("torch", "llama-cpp-python"),
            }
        )
    )


if __name__ == "__main__":
    main()
