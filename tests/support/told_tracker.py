"""A tracker that keeps what it is told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from mentorgrad.domain.run import RunState
from mentorgrad.integrations.tracking import Opening, Point


class ToldTracker:
    def __init__(self, folder: Path | None = None) -> None:
        self.opening: Opening | None = None
        self.values: dict[str, dict[int, float]] = {}
        self.texts: list[tuple[str, int, str]] = []
        self.ended: RunState | None = None
        self.closed = 0

    def begin(self, opening: Opening) -> None:
        self.opening = opening

    def points(self, points: Sequence[Point]) -> None:
        for point in points:
            self.values.setdefault(point.name, {})[point.step] = point.value

    def text(self, name: str, step: int, text: str, time: datetime) -> None:
        self.texts.append((name, step, text))

    def end(self, state: RunState, time: datetime) -> None:
        self.ended = state

    def close(self) -> None:
        self.closed += 1
