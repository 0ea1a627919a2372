"""The report of one run: what it was, what it reached, and how it went there. As tables, and as a
self-contained HTML page.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from html import escape

import numpy as np

from mentorgrad.domain.label_score import MOST_GUESSED_LABELS
from mentorgrad.domain.query import RunReader
from mentorgrad.domain.run import Candidate, Run, Score
from mentorgrad.outside_text import one_line
from mentorgrad.plots import Curve, curve
from mentorgrad.reports.charts import BETTER, UNCLEAR
from mentorgrad.reports.label_tables import label_tables, recorded_label_scores
from mentorgrad.reports.page import page, table_section
from mentorgrad.reports.tables import ReportTable
from mentorgrad.reports.texts import DASH, number
from mentorgrad.schema import snake_case

CANDIDATES = 10
"""Candidates that are shown."""
_POINTS = 400
"""Points of a curve that are drawn at most."""
_WIDTH, _HEIGHT, _MARGIN = 820.0, 240.0, 46.0


def run_page(reader: RunReader, run_id: str) -> str:
    """The report as a self-contained HTML page: no scripts, no external resources.

    Raises:
        NotFound: The run does not exist.
    """
    run = reader.get_run(run_id)
    title = run.spec.name or run_id
    head = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="question">Run <code>{escape(run_id)}</code></p>',
    ]
    return page(title, [*head, *run_parts(reader, run)])


def run_parts(reader: RunReader, run: Run) -> Iterator[str]:
    """The sections of a run's page."""
    best = reader.list_candidates(run.run_id, page_size=CANDIDATES).candidates
    labels = label_tables(recorded_label_scores(reader, run.run_id), MOST_GUESSED_LABELS)
    yield from map(table_section, (_result(run), *_baselines(run), *labels))
    yield _losses(curve(reader, run.run_id))
    yield from map(table_section, (_candidates(best), _costs(run), _spec(run)))


def _scores(score: Score | None) -> tuple[str, str, str]:
    if score is None:
        return DASH, DASH, DASH
    return number(score.loss), number(score.accuracy, 3), number(score.macro_f1, 3)


def _result(run: Run) -> ReportTable:
    state = f"{run.state}" + (f": {run.reason}" if run.reason else "")
    rows = []
    note = state[:1].upper() + state[1:] + "."
    if run.result is not None:
        returned = run.result.returned
        rows = [
            ("selection", *_scores(returned.score), str(returned.score.rows)),
            (
                "test",
                *_scores(run.result.test),
                str(run.result.test.rows if run.result.test else 0),
            ),
        ]
        note += f" The prompt in words: {one_line(returned.text) or DASH}"
    columns = ("split", "loss", "accuracy", "macro F1", "rows")
    return ReportTable("Result", columns, tuple(rows), note)


def _baselines(run: Run) -> Iterator[ReportTable]:
    if run.result is not None and run.result.baselines:
        rows = tuple(
            (item.name, *_scores(item.test), str(item.labelled_rows), item.detail)
            for item in run.result.baselines
        )
        columns = ("baseline", "test loss", "accuracy", "macro F1", "labelled rows", "settings")
        note = "Methods without prompt tuning, fitted on train and selection, scored on test."
        yield ReportTable("Baselines", columns, rows, note)


def _candidates(best: Sequence[Candidate]) -> ReportTable:
    return ReportTable(
        "Best candidates on selection",
        ("candidate", "source", "loss", "accuracy", "macro F1", "words"),
        tuple(
            (item.candidate_id, str(item.source), *_scores(item.score), one_line(item.text))
            for item in best
        ),
    )


def _costs(run: Run) -> ReportTable:
    usage = run.usage
    at_once = run.result.rows_at_once if run.result is not None else 0
    rows = (
        ("gradient steps", f"{usage.gradient_steps:,}, {usage.probe_steps:,} of them in races"),
        ("evaluations", f"{usage.evaluations:,}"),
        ("forward rows", f"{usage.forward_rows:,}"),
        *((("rows at a time in a step", f"{at_once:,}"),) if at_once else ()),
        ("restarts", f"{run.restarts_applied}"),
        ("mentor calls", f"{usage.mentor_calls}, {usage.usable_answers} with a usable answer"),
        ("seconds", f"{usage.train_time.total_seconds():.1f}"),
        ("of them waiting for the mentor", f"{usage.mentor_time.total_seconds():.1f}"),
    )
    return ReportTable("Costs", ("what", "how much"), rows)


def _spec(run: Run) -> ReportTable:
    spec = run.spec
    rows = (
        ("objective", snake_case(type(spec.objective).__name__)),
        ("task", spec.task.name),
        ("labels", ", ".join(spec.task.labels)),
        ("mentor", spec.mentor.name),
        ("optimizer", f"{spec.optimizer.name}, learning rate {spec.optimizer.learning_rate:g}"),
        ("ranked by", str(spec.criterion)),
        ("seed", str(spec.seed)),
        *sorted(run.versions.items()),
    )
    kept = tuple((name, one_line(value)) for name, value in rows if value)
    return ReportTable("Conditions", ("what", "value"), kept)


# -- the curve --------------------------------------------------------------------------------


def _losses(found: Curve) -> str:
    """Train loss and best selection loss over the steps, as SVG; empty without two points."""
    train = _finite(found.steps, found.train_loss)
    best = _finite(found.best_steps, found.best_loss)
    if len(train) + len(best) < 2:
        return ""
    every = np.array([*train, *best])
    (left, low), (right, high) = every.min(0), every.max(0)

    def place(step: float, loss: float) -> tuple[float, float]:
        across = (step - left) / max(right - left, 1e-9)
        down = (high - loss) / max(high - low, 1e-9)
        return _MARGIN + across * (_WIDTH - _MARGIN - 8), 12 + down * (_HEIGHT - 42)

    marks = "".join(
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="12" y2="{_HEIGHT - 30:.0f}" stroke="{UNCLEAR}" '
        'stroke-dasharray="3 3"/>'
        for x, _ in (place(float(step), high) for step in found.restarts)
    )
    words = "".join(
        f'<text x="{x:.0f}" y="{y:.0f}" font-size="12" text-anchor="{anchor}">{text}</text>'
        for x, y, anchor, text in (
            (_MARGIN - 6, 16, "end", f"{high:.2f}"),
            (_MARGIN - 6, _HEIGHT - 28, "end", f"{low:.2f}"),
            (_MARGIN, _HEIGHT - 10, "start", f"{left:.0f}"),
            (_WIDTH - 8, _HEIGHT - 10, "end", f"{right:.0f} gradient steps"),
        )
    )
    return (
        '<section><h2>Losses</h2><svg role="img" aria-label="Losses over the gradient steps" '
        f'viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}">{marks}'
        f"{_line((place(*point) for point in train), UNCLEAR, 1.2)}"
        f"{_line((place(*point) for point in _stairs(best)), BETTER, 2.4)}{words}</svg>"
        f'<p class="note key"><span><b style="color:{BETTER}">━</b> lowest selection loss so far'
        f'</span><span><b style="color:{UNCLEAR}">━</b> train loss</span>'
        f'<span><b style="color:{UNCLEAR}">┆</b> restart from a proposal</span></p></section>'
    )


def _finite(steps: np.ndarray, losses: np.ndarray) -> list[tuple[float, float]]:
    """The points that can be drawn, some of them evenly spaced."""
    points = [
        (float(step), float(loss))
        for step, loss in zip(steps, losses, strict=True)
        if math.isfinite(step) and math.isfinite(loss)
    ]
    return points[:: math.ceil(len(points) / _POINTS) or 1]


def _stairs(points: list[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    for (_, before), (step, loss) in zip(points[:1] + points[:-1], points, strict=False):
        yield from ((step, before), (step, loss))


def _line(points: Iterable[tuple[float, float]], colour: str, width: float) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>'
