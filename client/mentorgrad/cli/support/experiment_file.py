"""Experiment files: TOML with the fields of `ExperimentSpec`, a shorthand for seeds, and published
figures to show beside the results."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from mentorgrad.cli.support.specs import read_toml
from mentorgrad.domain.experiment import ExperimentSpec
from mentorgrad.errors import InvalidInput
from mentorgrad.reports.published import PublishedFigure
from mentorgrad.serialization import from_dict, to_dict


def read_experiment(path: Path) -> ExperimentSpec:
    """Reads the experiment spec from a file.

    Shorthand: ``seeds = 10`` for the seeds 0 to 9.

    Raises:
        InvalidInput: The file cannot be read, or a field is unknown, has the wrong type or is
            out of range; names the field's path.
    """
    tree = _plain(read_toml(path), path)
    tree.pop("published", None)
    tuning = tree.get("tuning")
    for table in (tree, tuning):
        if isinstance(table, dict) and "seeds" in table:
            table["seeds"] = _seeds(table["seeds"])
    return from_dict(ExperimentSpec, tree)


def read_published(path: Path) -> tuple[PublishedFigure, ...]:
    """Reads the published figures of an experiment file, its tables ``[[published]]``.

    Raises:
        InvalidInput: The file cannot be read, or a figure is invalid.
    """
    found = _plain(read_toml(path), path).get("published", [])
    if not isinstance(found, list):
        raise InvalidInput.field("published", "must be a list of figures")
    return tuple(
        from_dict(PublishedFigure, figure, f"published[{index}]")
        for index, figure in enumerate(found)
    )


def request_id_of(spec: ExperimentSpec) -> str:
    """The idempotency key of an experiment: a hash of its content."""
    text = json.dumps(to_dict(spec), sort_keys=True)
    return f"file-{hashlib.sha256(text.encode()).hexdigest()[:40]}"


def mentors_of(spec: ExperimentSpec) -> list[str]:
    """Names of the mentors of the arms, without controls."""
    return list(dict.fromkeys(a.mentor.name for a in spec.arms if not a.mentor.is_control))


def _plain(tree: dict[str, Any], path: Path) -> dict[str, Any]:
    """The tree as plain JSON values; TOML dates and times are rejected."""
    try:
        return dict(json.loads(json.dumps(tree)))
    except TypeError:
        raise InvalidInput(f"{path}: no field accepts a date or a time") from None


def _seeds(value: Any) -> Any:
    """Expands ``10`` to 0 to 9; returns anything else unchanged."""
    if isinstance(value, bool) or not isinstance(value, int):
        return value
    if not 0 < value <= 10_000:
        raise InvalidInput.field(
            "seeds", f"must be a list, or a number of seeds between 1 and 10000, not {value}"
        )
    return list(range(value))
