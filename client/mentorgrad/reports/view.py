"""The view of a report: all that a page of an experiment shows, as texts, tables and coordinates.

The HTML report and the page that `mentorgrad serve ui` serves are both made from it, so that no
format computes a statistic of its own.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mentorgrad.domain.experiment import Report
from mentorgrad.reports.chart_views import ForestChart, StripChart, forest_chart, strip_chart
from mentorgrad.reports.design_views import (
    BudgetUse,
    Failure,
    GridRow,
    SeedTable,
    budget_uses,
    failure_list,
    grid,
    seed_table,
)
from mentorgrad.reports.tables import (
    FIGURE_TITLES,
    ReportTable,
    conditions,
    failed_cells,
    primary,
    results,
)
from mentorgrad.reports.texts import TextPart, parts_of


@dataclass(frozen=True)
class ReportView:
    """A report, ready to be shown."""

    experiment_id: str
    """Id of the experiment."""
    title: str
    """Name of the experiment, or its id."""
    description: str
    """The question that it answers; may be empty."""
    is_complete: bool
    """Whether all runs have ended; otherwise the figures are preliminary."""
    subject: str
    """Name of the arm that is evaluated against the others."""
    figure: str
    """Title of the primary figure."""
    claim: tuple[TextPart, ...]
    """The verdict: its claim."""
    grounds: tuple[TextPart, ...]
    """The verdict: its figures and caveats; may be empty."""
    forest: ForestChart | None
    """Differences with their intervals."""
    strips: StripChart | None
    """Every run."""
    grid: tuple[GridRow, ...]
    """Arms x tasks."""
    seeds: SeedTable
    """Every run, with what is compared side by side."""
    budgets: tuple[BudgetUse, ...]
    """What the arms spent."""
    failures: tuple[Failure, ...]
    """Runs without a result."""
    failed: int
    """Number of runs without a result, those left out included."""
    beside: tuple[ReportTable, ...]
    """Tables beside the report, such as published figures."""
    results: tuple[ReportTable, ...]
    """Tables of results."""
    conditions: tuple[ReportTable, ...]
    """Tables of costs and conditions."""


def report_view(report: Report, beside: Sequence[ReportTable] = (), planned: int = 0) -> ReportView:
    """The view of a report.

    Args:
        report: The report.
        beside: Tables to be shown beside it.
        planned: Runs of an arm on a task; 0: those that exist.
    """
    claim, mark, rest = report.verdict.partition(" (pooled")
    return ReportView(
        experiment_id=report.experiment_id,
        title=report.name or report.experiment_id,
        description=report.description,
        is_complete=report.complete,
        subject=report.subject,
        figure=FIGURE_TITLES[primary(report)],
        claim=parts_of(claim),
        grounds=parts_of(f"{mark}{rest}".strip()) if mark else (),
        forest=forest_chart(report),
        strips=strip_chart(report),
        grid=grid(report, planned),
        seeds=seed_table(report),
        budgets=budget_uses(report),
        failures=failure_list(report),
        failed=len(failed_cells(report)),
        beside=tuple(beside),
        results=tuple(results(report)),
        conditions=tuple(conditions(report)),
    )


def as_json(value: Any) -> Any:
    """A view as plain values for JSON: names in lower camel case, null for a number that is not
    finite."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {camel_case(field.name): as_json(getattr(value, field.name)) for field in fields}
    if isinstance(value, (tuple, list)):
        return [as_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def camel_case(name: str) -> str:
    """``mean_loss`` → ``meanLoss``."""
    return re.sub(r"_(\w)", lambda found: found[1].upper(), name)
