"""What kinds of lines serve a language model, by selection figures alone: no test row is read.

Draws lines from a mentor's model by the strategy `maao`, and scores them, the control
`description`, random words of the train texts and the empty prompt as prompts of `causal_prompt`,
each on the same train and selection rows, in two templates: with ``Answer:`` on a line of its own
in front of the label, and with the prompt directly in front of it. One JSON line per text goes to
`--records`; the same command goes on from there. The last line has the lowest and the median
calibrated selection loss per group, task and template.

    python -m bench.line_kinds --tasks DIR --only tickets,sst2 [--tuned FILE] [--mentor FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bench.digests import model_sha256
from bench.mentor_lines import Mentor, cards
from bench.paired import environment
from bench.task_folder import read_tasks
from mentor_service.prompts import LineKind
from mentorgrad.cli.support.processor import fast_dtype
from mentorgrad.domain.advice import Proposal
from mentorgrad.domain.objective import CausalPrompt
from mentorgrad.domain.spec import RunSpec, Task
from mentorgrad.errors import MentorgradError
from mentorgrad.model_refs import DEFAULT_MENTOR_MODEL, resolve
from trainer_service.model_settings import default_cache_dir
from trainer_service.objectives.build import build_objective
from trainer_service.protocols import Objective, ProposalRejected, RandomWords
from trainer_service.tasks.wordings import wordings

TEMPLATES = {"answer": "Text: {text}\n{prompt}\nAnswer: {label}", "direct": ""}
LINES, CONTROLS = 18, 8
"""Lines drawn per task, and texts of each control."""

Scored = dict[str, Any]


def texts(objective: Objective, lines: Sequence[str], seed: int) -> Iterator[tuple[str, str]]:
    """Groups and texts to score."""
    yield "empty", ""
    labels = [label.lower() for label in objective.card.labels]
    for line in lines:
        named = sum(label in line.lower() for label in labels)
        kind = LineKind.of(line).name.lower()
        yield f"mentor: {kind}" + (" that names labels" if named > 1 else ""), line
    written = wordings(objective.card.description, objective.card.labels)
    for text in written[: 2 * CONTROLS]:
        yield "description", text
    generator = torch.Generator().manual_seed(seed)
    for _ in range(CONTROLS):
        drawn = objective.language.random_proposal(generator, RandomWords.TRAIN_TEXTS)
        yield "random words", drawn.text


def scored(
    task: Task, lines: Sequence[str], template: str, asked: argparse.Namespace
) -> Iterator[Scored]:
    """Selection figures of all texts that fit the prompt."""
    objective = build_objective(
        RunSpec(
            objective=CausalPrompt(
                model=asked.tuned,
                n_tokens=16,
                dtype=fast_dtype(),
                initial_text="empty",
                template=TEMPLATES[template],
            ),
            task=replace(task, shots=4, selection_rows=16),
            seed=asked.seed,
        ),
        device=torch.device("cpu"),
        data_roots=[asked.tasks] if asked.tasks else [],
        model_roots=None,
        cache_dir=default_cache_dir(),
    )
    start = objective.language.initial(torch.Generator().manual_seed(asked.seed))
    for group, text in texts(objective, lines, asked.seed):
        try:
            point = objective.language.embed(Proposal(text=text), start).parameters
        except ProposalRejected:
            if text:
                continue
            point = start
        (score,) = objective.problem.score(point.unsqueeze(0))
        yield {
            "task": task.name,
            "template": template,
            "group": group,
            "text": text,
            "loss": round(score.loss, 4),
            "accuracy": round(score.accuracy or 0.0, 4),
        }


def summary(records: Sequence[Scored]) -> dict[str, Mapping[str, Any]]:
    """Lowest and median loss, and the number of texts, by task, template and group."""
    groups: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        groups[f"{record['task']}, {record['template']}"][record["group"]].append(record["loss"])
    return {
        place: {
            group: {
                "lowest": min(losses),
                "median": round(statistics.median(losses), 4),
                "texts": len(losses),
            }
            for group, losses in found.items()
        }
        for place, found in groups.items()
    }


def main() -> None:
    """Scores what is missing and prints the summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=Path, metavar="DIR", help="folder of tasks")
    parser.add_argument("--only", default="tickets", metavar="NAMES")
    parser.add_argument("--tuned", default=CausalPrompt().model, metavar="REF")
    parser.add_argument("--mentor", default=DEFAULT_MENTOR_MODEL, metavar="REF")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--records", type=Path, default=Path("line_kinds.jsonl"))
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    names = asked.only.split(",")
    of_folder = tuple(name for name in names if name != "tickets")
    tasks = {"tickets": Task("tickets")}
    if of_folder:
        tasks |= {task.name: task for task in read_tasks(asked.tasks, of_folder)}
    records = _read(asked.records)
    done = {(record["task"], record["template"]) for record in records}
    missing = [(name, way) for name in names for way in TEMPLATES if (name, way) not in done]
    lines = _drawn(asked, {name for name, _ in missing}) if missing else {}
    for name, way in missing:
        found = list(scored(tasks[name], lines[name], way, asked))
        with asked.records.open("a", encoding="utf-8") as file:
            file.writelines(f"{json.dumps(record)}\n" for record in found)
        records += found
        print(f"{name}, {way}: {len(found)} texts", file=sys.stderr)
    print(
        json.dumps(
            {
                "selection_losses": summary(records),
                "tuned_sha256": model_sha256(asked.tuned),
                "mentor_sha256": model_sha256(asked.mentor),
                "seed": asked.seed,
                "environment": environment("torch", "transformers", "llama-cpp-python"),
            }
        )
    )


def _drawn(asked: argparse.Namespace, names: set[str]) -> dict[str, list[str]]:
    """Lines of the mentor's model per task."""
    mentor = Mentor(resolve(asked.mentor), asked.threads)
    of_folder = tuple(name for name in names if name != "tickets")
    found = {}
    for name, card in cards(asked.tasks if of_folder else None, of_folder):
        if name in names:
            answer, _ = mentor.propose(card, LINES, asked.seed + 1, {"form": "completion"})
            found[name] = [proposal.text for proposal in answer.proposals]
    mentor.close()
    return found


def _read(path: Path) -> list[Scored]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    try:
        main()
    except MentorgradError as error:
        raise SystemExit(f"error: {error}") from None
