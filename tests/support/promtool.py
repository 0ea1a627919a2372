"""Prometheus' own checks of queries and rules, by `promtool`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

REQUIRED = "MENTORGRAD_REQUIRE_PROMTOOL"
"""Environment variable; if it is set, the tests fail without promtool instead of being skipped."""

_SELECTOR = re.compile(r"\b((?:mentorgrad|process)_\w+|up\b)(?:\{([^}]*)\})?")

Sample = tuple[str, dict[str, str], float]
"""Name, labels and value."""

Series = dict[str, set[str]]
"""Names of metrics → their labels."""


def promtool(*arguments: str) -> str:
    """What it says; the test is skipped without it, or fails where it is required."""
    command = shutil.which("promtool")
    if command is None:
        required = os.environ.get(REQUIRED, "") not in ("", "0")
        (pytest.fail if required else pytest.skip)("no promtool: `apt-get install prometheus`")
    assert command is not None
    done = subprocess.run([command, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def samples_of(scraped: str, job: str) -> Iterator[Sample]:
    """Each sample, as Prometheus stores it."""
    for family in text_string_to_metric_families(scraped):
        for sample in family.samples:
            yield sample.name, {**sample.labels, "job": job, "instance": "here:1"}, sample.value


def labels_of(samples: Iterable[Sample]) -> Series:
    """The labels of each metric, among samples."""
    found: Series = {"up": {"job", "instance"}}
    for name, labels, _ in samples:
        found.setdefault(name, set()).update(labels)
    return found


def unknown_in(expression: str, known: Series) -> list[str]:
    """Metrics of an expression, and labels of their selectors, that there are not."""
    found = []
    for name, matchers in _SELECTOR.findall(expression):
        if name not in known:
            found.append(name)
            continue
        labels = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", re.sub(r'"[^"]*"', '""', matchers))
        found += [f"{name}{{{label}}}" for label in labels if label not in known[name]]
    return found


def check_finds(expressions: Iterable[str], samples: Iterable[Sample], folder: Path) -> None:
    """Checks that each expression finds something among constant series of these samples."""
    series = []
    for name, labels, value in samples:
        shown = ", ".join(f"{key}={json.dumps(text)}" for key, text in labels.items())
        series.append({"series": f"{name}{{{shown}}}", "values": f"{value!r}x20"})
    tests: list[dict[str, Any]] = [
        {
            "expr": f"count({expression}) > bool 0",
            "eval_time": "10m",
            "exp_samples": [{"labels": "{}", "value": 1}],
        }
        for expression in expressions
    ]
    one = {"interval": "1m", "input_series": series, "promql_expr_test": tests}
    file = folder / "finds_test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [], "tests": [one]}))
    promtool("test", "rules", str(file))
